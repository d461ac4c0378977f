"""Builds the C extensions, where there is a compiler; the rest is in pyproject.toml."""

from setuptools import Extension, setup

FLAGS = [
    "-std=c11",
    "-O3",
    # A sum and a product in one rounding would be other bits than XGBoost's.
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
]
# Nobody reads the exception flags of the walks: their comparisons need no branches.
WALK_FLAGS = [*FLAGS, "-fno-trapping-math"]
FOREST = [
    "core",
    "memory",
    "predict",
    "threads",
    "transform",
    "walk",
    "walk_avx2",
    "walk_avx512",
    "walk_neon",
]
ROWS = ["columns", "event", "numbers", "records", "status", "text", "tokens", "values", "words"]

setup(
    ext_modules=[
        Extension(
            "model._forest",
            sources=["model/forest.c"],
            depends=[f"model/forest_{name}.h" for name in FOREST],
            extra_compile_args=WALK_FLAGS,
            libraries=["m", "pthread"],
            optional=True,  # without it the XGBoost engine serves
        ),
        Extension(
            "model._rows",
            sources=["model/rows.c"],
            depends=["model/digits.h", *(f"model/rows_{name}.h" for name in ROWS)],
            extra_compile_args=FLAGS,
            optional=True,  # without it each request takes the general path
        ),
    ]
)

"""Builds the C extensions, where there is a compiler; the rest is in pyproject.toml."""

from setuptools import Extension, setup

FLAGS = [
    "-std=c11",
    "-O3",
    # A sum and a product in one rounding would be other bits than XGBoost's.
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",  # nobody reads the exception flags: comparisons need no branches
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
]
HEADERS = ["core", "predict", "walk", "walk_avx2", "walk_avx512"]

setup(
    ext_modules=[
        Extension(
            "model._forest",
            sources=["model/forest.c"],
            depends=[f"model/forest_{name}.h" for name in HEADERS],
            extra_compile_args=FLAGS,
            libraries=["m", "pthread"],
            optional=True,  # without it the XGBoost engine serves
        ),
        Extension(
            "model._rows",
            sources=["model/rows.c"],
            depends=["model/digits.h"],
            extra_compile_args=FLAGS,
            optional=True,  # without it each request takes the general path
        ),
    ]
)

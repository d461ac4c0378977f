"""The fuzzer's targets in the suite: their seeds everywhere, the fuzzer itself for a while.

It makes a fixed number of runs from a fixed seed, so that a red run says something about the
commit; `python -m tests.fuzz --seconds 300` fuzzes on by hand.
"""

from pathlib import Path

import pytest

from tests.fuzz.fuzzer import fuzz, is_available
from tests.fuzz.targets import PLANTED, TARGETS, read_seeds

needs_fuzzer = pytest.mark.skipif(
    not is_available(), reason="atheris has no wheel for this machine, or make setup was not run"
)

RUNS = {
    "bundle": 400,
    "configuration": 50_000,
    "eventstream": 2_500,
    "interpolation": 20_000,
    "manifest": 10_000,
    "model_file": 4_000,
    "recipe": 200,
    "reply": 30_000,
    "request": 1_500,
}
"""A few seconds of each."""


def test_every_target_has_seeds_and_runs() -> None:
    """One that was left out would be silent."""
    assert set(RUNS) == set(TARGETS)
    assert all(len(list(read_seeds(name))) > 0 for name in TARGETS)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("target", "data"),
    [
        pytest.param(target, data, id=f"{target}-{name}")
        for target in sorted(TARGETS)
        for name, data in read_seeds(target)
    ],
)
def test_seed_raises_nothing(target: str, data: bytes) -> None:
    """Good inputs, and those over which something went wrong once."""
    TARGETS[target].run(data)


@needs_fuzzer
@pytest.mark.kernel
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_fuzzer_finds_nothing(target: str, tmp_path: Path) -> None:
    """Whatever the bytes, nothing but documented errors."""
    outcome = fuzz(target, tmp_path, [f"-runs={RUNS[target]}"], seed=1)
    assert outcome.found is None, f"{outcome.found!r}\n{outcome.summary}"
    assert outcome.runs >= RUNS[target]


@needs_fuzzer
def test_fuzzer_finds_a_planted_fault(tmp_path: Path) -> None:
    """The silence of the other test says something: chance alone would not come upon it."""
    outcome = fuzz("planted", tmp_path, ["-runs=200000"], seed=1)
    assert outcome.found is not None
    assert outcome.found.startswith(b"need")
    assert "LookupError: the needle" in outcome.summary
    with pytest.raises(LookupError, match="the needle"):
        PLANTED.run(outcome.found)

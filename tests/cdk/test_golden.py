from typing import Any

import pytest

from handlers.golden import Expectation, find_difference
from model.golden import GoldenRow, difference

ROW = {"row": {"a": 1.0}, "prediction": "barolo", "probabilities": [0.25, 0.75]}
EXACT = Expectation(name="wine", version="1.0.0", exact=True)
CLOSE = Expectation(name="wine", version="1.0.0", exact=False)


def response(**body: Any) -> dict[str, Any]:
    good = {
        "model": {"name": "wine", "version": "1.0.0"},
        "predictions": ["barolo"],
        "probabilities": [[0.25, 0.75]],
    }
    return {"statusCode": 200, "body": {**good, **body}}


def test_response_as_recorded_has_no_difference() -> None:
    """Labels and probabilities alike."""
    assert find_difference([ROW], response(), EXACT) is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"errorMessage": "x"}, 'response: got {"errorMessage": "x"}, expected statusCode 200'),
        (None, "response: got null, expected statusCode 200"),
        (response(predictions=[]), "predictions: got [], expected 1"),
        (response(probabilities=[]), "probabilities: got [], expected 1 rows"),
        (response(predictions=["x"]), 'row 0, prediction: got "x", expected "barolo"'),
        (
            response(probabilities=None),
            "row 0, probabilities: got null, expected [0.25, 0.75]",
        ),
        (
            response(probabilities=[[0.25]]),
            "row 0, probabilities: got [0.25], expected [0.25, 0.75]",
        ),
        (
            response(probabilities=[[0.25, 0.7500000000000001]]),
            "row 0, probabilities: got [0.25, 0.7500000000000001], expected [0.25, 0.75]",
        ),
    ],
)
def test_difference_says_where(answer: Any, expected: str) -> None:
    """The place, what came, what was recorded."""
    assert find_difference([ROW], answer, EXACT) == expected


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (1.0, 1.0),
        (1.0, 1.0 + 5e-7),
        (1.0, 1.0 + 5e-6),
        (1.0, 1),
        (1, 1.0),
        (True, 1),
        ("1", 1),
        (0.0, 1e-13),
        (0.0, -0.0),
        (1e30, 1.0000005e30),
    ],
)
def test_rules_are_those_of_the_bundle(wanted: Any, found: Any, *, exact: bool) -> None:
    """The same verdict as of the code that the component itself uses."""
    ours = find_difference(
        [{"row": {}, "prediction": wanted}],
        response(predictions=[found], probabilities=None),
        EXACT if exact else CLOSE,
    )
    theirs = difference(GoldenRow({}, wanted), found, None, exact=exact, place="")
    assert (ours is None) == (theirs is None)

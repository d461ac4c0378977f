from dataclasses import replace
from typing import Any

import pytest

from consumer.errors import MalformedReplyError, ModelChangedError
from consumer.prediction import Likely, Prediction, join, parse_prediction

MODEL = {"name": "wine", "version": "1.0.0"}
GOOD: dict[str, Any] = {
    "model": MODEL,
    "predictions": ["a", "b"],
    "labels": ["a", "b"],
    "probabilities": [[0.75, 0.25], [0.5, 0.5]],
}


def test_good_body_is_read_whole() -> None:
    """Lists become tuples, for a prediction is a value."""
    assert parse_prediction(GOOD, 2) == Prediction(
        model="wine",
        version="1.0.0",
        predictions=("a", "b"),
        labels=("a", "b"),
        probabilities=((0.75, 0.25), (0.5, 0.5)),
    )


def test_likeliest_labels_are_read() -> None:
    """Where topK was asked there are no probabilities."""
    likely = [[{"label": "a", "probability": 0.75}], [{"label": "b", "probability": 0.5}]]
    found = parse_prediction({"model": MODEL, "predictions": ["a", "b"], "topK": likely}, 2)
    assert found.top_k == ((Likely("a", 0.75),), (Likely("b", 0.5),))
    assert found.probabilities is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "model: got no name and version, expected both as text"),
        ({"model": {"name": "x"}}, "model: got no name and version, expected both as text"),
        ({"predictions": None}, "predictions: got a NoneType, expected a list"),
        ({"predictions": ["a"]}, "predictions: got 1 items, expected one for each of 2 rows"),
        ({"labels": "ab"}, "labels: got a str, expected a list"),
        ({"probabilities": [[1]]}, "probabilities: got 1 items, expected one for each of 2 rows"),
        ({"probabilities": [1, 2]}, "probabilities: got a int as a row, expected a list"),
        (
            {"predictions": ["a", {}]},
            "predictions: got a dict, expected text, numbers or booleans",
        ),
        (
            {"labels": ["a", [], None]},
            "labels: got a NoneType and a list, expected text, numbers or booleans",
        ),
        ({"probabilities": [[1, "a"], [0.5]]}, "probabilities: got a str, expected numbers"),
        (
            {"topK": [[{"label": [], "probability": 1}], []]},
            "topK: got a list, expected labels of text, numbers or booleans",
        ),
        (
            {"topK": [[{"label": 1, "probability": True}], []]},
            "topK: got a bool, expected probabilities as numbers",
        ),
        ({"topK": [1, 2]}, "topK: got another thing, expected label and probability"),
        ({"topK": [[{}], [{}]]}, "topK: got another thing, expected label and probability"),
    ],
)
def test_body_that_is_no_answer_is_refused(change: dict[str, Any], message: str) -> None:
    """The text says where and why."""
    with pytest.raises(MalformedReplyError) as caught:
        parse_prediction({**GOOD, **change}, 2)
    assert str(caught.value) == f"reply.body.{message}"


def test_parts_are_joined_in_their_order() -> None:
    """Whatever they have by row is strung together; the labels are there once."""
    part = parse_prediction(GOOD, 2)
    other = replace(part, predictions=("b",), probabilities=((0.125, 0.875),))
    assert join([part, other]) == replace(
        part,
        predictions=("a", "b", "b"),
        probabilities=((0.75, 0.25), (0.5, 0.5), (0.125, 0.875)),
    )
    assert join([part]) == part


def test_parts_with_likeliest_labels_are_joined() -> None:
    """As the probabilities are."""
    part = Prediction(model="m", version="1", predictions=("a",), top_k=((Likely("a", 1.0),),))
    assert join([part, part]).top_k == ((Likely("a", 1.0),), (Likely("a", 1.0),))


@pytest.mark.parametrize(
    "change",
    [{"version": "2.0.0"}, {"model": "beer"}, {"labels": ("b", "a")}, {"probabilities": None}],
)
def test_parts_of_different_models_are_not_joined(change: dict[str, Any]) -> None:
    """Half a batch of each would be of neither."""
    part = parse_prediction(GOOD, 2)
    other = replace(part, **change)
    with pytest.raises(ModelChangedError) as caught:
        join([part, other])
    assert str(caught.value) == (
        f"reply: got answers of wine 1.0.0 and of {other.model} {other.version}, "
        "expected one model for the whole batch"
    )

import pandas as pd
import pytest
import xgboost

from release.cases import bad_requests, good_cases
from tests.conftest import Packed, Packer


def test_golden_rows_are_sent_in_every_form(multiclass: Packed) -> None:
    """Alone, bare, in a batch, shuffled, wrapped, and through each HTTP service."""
    groups = {case.group for case in good_cases(multiclass.bundle)}
    assert groups == {
        "golden rows, alone",
        "golden rows, as one bare object",
        "golden rows, in one batch",
        "golden rows, columns shuffled",
        "golden rows, wrapped in body",
        "golden rows, api-gateway-rest",
        "golden rows, api-gateway-http",
        "golden rows, function-url",
        "golden rows, alb",
        "golden rows, alb-multi-value",
    }


def test_shuffled_columns_are_in_another_order(multiclass: Packed) -> None:
    """The shuffle is one."""
    events = {case.group: case.event for case in good_cases(multiclass.bundle)}
    assert events["golden rows, columns shuffled"] != events["golden rows, in one batch"]


def test_policies_decide_what_is_bad(packed_from: Packer, mixed: Packed) -> None:
    """A bundle that takes absent fields as missing is not asked to refuse them."""
    lenient = packed_from(
        mixed.estimator, mixed.frame, absent_field="missing", unknown_category="missing"
    )
    strict_names = {request.name for request in bad_requests(mixed.bundle)}
    lenient_names = {request.name for request in bad_requests(lenient.bundle)}
    assert strict_names - lenient_names == {"a missing feature"}
    assert "an unknown category" in lenient_names


@pytest.mark.parametrize("name", ["body", "op"])
def test_feature_named_like_an_event_field_is_sent_in_records_alone(
    name: str, packed_from: Packer
) -> None:
    """A model with a feature called `body` is replayed, but not as a bare object."""
    frame = pd.DataFrame({name: [1.0, 2.0, 3.0, 4.0], "id": [4.0, 3.0, 2.0, 1.0]})
    model = xgboost.XGBRegressor(n_estimators=2, n_jobs=1).fit(frame, [1.0, 2.0, 3.0, 4.0])
    packed = packed_from(model, frame)
    groups = {case.group for case in good_cases(packed.bundle)}
    assert "golden rows, as one bare object" not in groups
    assert "golden rows, alone" in groups

import json

import pytest

from container.events import recognise
from container.handler import make_handler
from container.settings import Settings
from release.http_events import FORMS
from tests.conftest import Packed


@pytest.mark.parametrize("name", FORMS)
def test_form_is_answered_in_kind(name: str, multiclass: Packed) -> None:
    """Each form is recognised as HTTP, and its answer has what that service wants."""
    event = FORMS[name](json.dumps(multiclass.rows[:1]), "application/json")
    assert recognise(event).form == ("alb" if name.startswith("alb") else "api-gateway")
    response = make_handler(multiclass.bundle, Settings())(event, None)
    assert response["statusCode"] == 200
    assert isinstance(response["body"], str)
    assert response["isBase64Encoded"] is False
    if name == "alb-multi-value":
        assert response["multiValueHeaders"] == {"content-type": ["application/json"]}
    else:
        assert response["headers"] == {"content-type": "application/json"}
    assert response.get("statusDescription") == ("200 OK" if name.startswith("alb") else None)

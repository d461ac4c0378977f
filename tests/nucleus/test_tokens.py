import base64
import logging
import re

import pytest

from nucleus.personality import CLASSIC, LITE, Personality
from nucleus.tokens import Tokens


@pytest.mark.parametrize(
    ("personality", "pattern"), [(CLASSIC, "[A-Z]{16}"), (LITE, "[A-Za-z0-9+/]{16}")]
)
def test_token_has_the_form_of_its_nucleus(personality: Personality, pattern: str) -> None:
    """Nothing in it needs escaping in the client's CONNECT."""
    token = Tokens(personality).issue("A")
    assert re.fullmatch(pattern, token)
    if personality is LITE:
        assert len(base64.b64decode(token, validate=True)) == 12


def test_token_leads_to_its_component(personality: Personality) -> None:
    """And no other text does."""
    tokens = Tokens(personality)
    issued = {name: tokens.issue(name) for name in ("A", "B")}
    assert {name: tokens.component_of(token) for name, token in issued.items()} == {
        "A": "A",
        "B": "B",
    }
    assert tokens.component_of("A") is None
    assert tokens.component_of("") is None


def test_token_stays_the_same_until_the_device_restarts(personality: Personality) -> None:
    """A component that restarts gets its old one; a new device knows none of them."""
    tokens = Tokens(personality)
    assert tokens.issue("A") == tokens.issue("A")
    restarted = Tokens(personality)
    assert restarted.component_of(tokens.issue("A")) is None
    assert restarted.issue("A") != tokens.issue("A")


def test_token_is_not_logged(personality: Personality, caplog: pytest.LogCaptureFixture) -> None:
    """Not even at the lowest level."""
    caplog.set_level(logging.DEBUG)
    token = Tokens(personality).issue("A")
    assert token not in caplog.text

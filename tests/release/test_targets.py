import contextlib
import json
from pathlib import Path

import pytest

from model.errors import BundleFormatError
from release.emulator import run_emulator
from release.errors import CommandError
from release.targets import HttpTarget, Reply, open_target
from tests.conftest import Packed


def test_all_targets_give_the_same_answer(
    multiclass: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, in the emulator, by address and through boto3: one answer to one event."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-west-1")
    event = json.dumps({"records": multiclass.rows[:3], "id": 7}).encode()
    with run_emulator(multiclass.directory) as emulator:
        answers = []
        for name in ("in-process", "rie", emulator.url, f"{emulator.url}/", "lambda:function"):
            with open_target(name, multiclass.directory, emulator.url) as target:
                assert target.name == name
                answers.append(target.invoke(event).json())
    assert answers[0]["statusCode"] == 200
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("text", ["", "rye", "lambda:", "ftp://host"])
def test_unknown_target_is_refused(text: str) -> None:
    """A target of no known form is named, with the forms there are."""
    with pytest.raises(CommandError) as caught, open_target(text, None):
        pass
    expected = "in-process, rie, http://HOST:PORT or lambda:NAME"
    assert str(caught.value) == f"the target: got {text!r}, expected {expected}"


@pytest.mark.parametrize("text", ["in-process", "rie"])
def test_local_target_without_a_bundle_is_refused(text: str) -> None:
    """What serves a bundle here needs one."""
    with pytest.raises(CommandError) as caught, open_target(text, None):
        pass
    assert str(caught.value) == f"target {text}: got no bundle, expected its directory"


def test_address_where_nothing_listens_is_named() -> None:
    """A refused connection is said in one line with host and port."""
    with (
        contextlib.closing(HttpTarget("x", "http://127.0.0.1:9")) as target,
        pytest.raises(CommandError) as caught,
    ):
        target.invoke(b"{}")
    assert str(caught.value).startswith("127.0.0.1:9: got ")
    assert str(caught.value).endswith(", expected a running function")


def test_address_without_a_host_is_refused() -> None:
    """An address has a host."""
    with pytest.raises(CommandError) as caught:
        HttpTarget("x", "http://")
    assert str(caught.value) == "the target: got 'http://', expected http://HOST:PORT"


def test_function_that_is_not_there_is_named(
    multiclass: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3's own error becomes one line that names the function."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-west-1")
    with (
        run_emulator(multiclass.directory) as emulator,
        open_target("lambda:another", None, emulator.url) as target,
        pytest.raises(CommandError) as caught,
    ):
        target.invoke(b"{}")
    assert str(caught.value).startswith("lambda:another: got ")
    assert "\n" not in str(caught.value)


def test_reply_that_is_no_json_is_shown() -> None:
    """Text that no function of ours sent is quoted."""
    with pytest.raises(CommandError) as caught:
        Reply(b"<html>", 0.0).json()
    assert str(caught.value) == "the target's reply: got '<html>', expected JSON"


def test_missing_bundle_is_named(tmp_path: Path) -> None:
    """A directory that holds no bundle is named by its first missing file."""
    with pytest.raises(BundleFormatError) as caught, open_target("in-process", tmp_path):
        pass
    assert (
        str(caught.value) == f"{tmp_path}/manifest.json: got no such file, expected a bundle's file"
    )

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from release.cases import bad_requests
from release.emulator import (
    INVOCATIONS,
    Emulator,
    _session_members,
    find_binary,
    run_emulator,
)
from release.errors import CommandError
from release.targets import HttpTarget
from tests.conftest import Packed, bits, copy_bundle, in_memory


@pytest.fixture(scope="module", params=["multiclass", "binary", "regression", "mixed"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Packed, HttpTarget]]:
    packed: Packed = request.getfixturevalue(request.param)
    with serving(packed.directory) as (_, target):
        yield packed, target


@pytest.fixture(scope="module")
def wine(multiclass: Packed) -> Iterator[tuple[Emulator, HttpTarget]]:
    with serving(multiclass.directory) as both:
        yield both


@contextlib.contextmanager
def serving(directory: Path, **options: Any) -> Iterator[tuple[Emulator, HttpTarget]]:
    with (
        run_emulator(directory, **options) as emulator,
        contextlib.closing(HttpTarget("rie", emulator.url)) as target,
    ):
        yield emulator, target


def ask(target: HttpTarget, event: object) -> Any:
    content = event if isinstance(event, bytes) else json.dumps(event).encode()
    return target.invoke(content).json()


def test_batch_in_any_column_order_equals_the_model_in_memory(
    served: tuple[Packed, HttpTarget],
) -> None:
    """All rows at once, columns as they are, reversed and shuffled: the same bits as in memory."""
    packed, target = served
    predictions, probabilities = in_memory(packed, packed.frame)
    names = list(packed.frame.columns)
    for order in (names, names[::-1], list(np.random.default_rng(3).permutation(names))):
        rows = [{name: row[name] for name in order} for row in packed.rows]
        body = ask(target, {"records": rows})["body"]
        if probabilities is None:
            assert bits(body["predictions"]) == bits(predictions)
        else:
            assert body["predictions"] == predictions
            assert bits(body["probabilities"]) == bits(probabilities)


def test_single_rows_equal_the_model_in_memory(served: tuple[Packed, HttpTarget]) -> None:
    """Rows one by one give the same bits as the model in memory gives for all."""
    packed, target = served
    predictions, probabilities = in_memory(packed, packed.frame)
    for i, row in enumerate(packed.rows[:25]):
        body = ask(target, row)["body"]
        if probabilities is None:
            assert bits(body["predictions"]) == bits(predictions[i : i + 1])
        else:
            assert body["predictions"] == predictions[i : i + 1]
            assert bits(body["probabilities"]) == bits(probabilities[i : i + 1])


def test_every_bad_request_gets_its_code_from_the_same_process(
    wine: tuple[Emulator, HttpTarget], multiclass: Packed
) -> None:
    """Each is refused with place, observed and expected, and one process answers them all."""
    emulator, target = wine
    good = {"records": [multiclass.rows[0]]}
    expected = ask(target, good)
    for request in bad_requests(multiclass.bundle):
        reply = target.invoke(request.event)
        response = reply.json()
        error = (
            response["body"] if isinstance(response["body"], dict) else json.loads(response["body"])
        )
        assert error["error"]["code"] == request.code, request.name
        assert 400 <= response["statusCode"] < 600, request.name
        for detail in error["error"]["details"]:
            assert set(detail) == {"code", "place", "observed", "expected"}, request.name
        assert b"Traceback" not in reply.payload
        assert b"stackTrace" not in reply.payload
    assert ask(target, good) == expected
    assert emulator.log().count('"bundle opened"') == 1


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (
            {"hu": 1.0},
            "unknown_feature",
            "hu: got an unknown field, expected a feature of the model",
        ),
        ({"hue": "acid"}, "not_a_number", "hue: got 'acid', expected a number or null"),
        ({"hue": True}, "not_a_number", "hue: got true, expected a number or null"),
        ({"hue": [1]}, "not_a_number", "hue: got a list of 1, expected a number or null"),
        ({"hue": 1e39}, "not_a_number", "hue: got 1e+39, expected a number or null"),
    ],
)
def test_wrong_field_is_refused_with_its_place(
    wine: tuple[Emulator, HttpTarget],
    multiclass: Packed,
    changes: dict[str, object],
    code: str,
    message: str,
) -> None:
    """What is wrong with a field is said with its row and name, what came and what was expected."""
    _, target = wine
    response = ask(target, {"records": [{**multiclass.rows[0], **changes}]})
    error = response["body"]["error"]
    assert (response["statusCode"], error["code"]) == (400, code)
    assert error["message"].startswith(f"records[0].{message}")


def lacking(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def test_other_lines_of_the_error_table_say_place_observed_expected(
    wine: tuple[Emulator, HttpTarget], multiclass: Packed
) -> None:
    """Missing, no rows, too many, too large, a wrong type, too late: each in its exact words."""
    _, target = wine
    row = dict(multiclass.rows[0])
    http = {"requestContext": {"http": {}}, "headers": {"content-type": "text/xml"}, "body": "<a/>"}
    table: list[tuple[object, int, str]] = [
        (
            {"records": [lacking(row, "hue")]},
            400,
            "records[0].hue: got no such field, expected a number or null",
        ),
        ({"records": []}, 400, "records: got no rows, expected one row at least"),
        (
            {"columns": [], "data": [[]] * 10_001},
            413,
            "records: got 10001 rows, expected at most 10000",
        ),
        (
            b" " * (6 * 1024 * 1024 + 1),
            413,
            "event: got more than 6291456 bytes, expected at most 6291456",
        ),
        (b"\xff", 400, "event: got the byte 0xff at offset 0, expected UTF-8"),
        (
            http,
            415,
            "header Content-Type: got 'text/xml', expected application/json or text/csv",
        ),
    ]
    for event, status, message in table:
        response = ask(target, event)
        body = response["body"]
        error = (json.loads(body) if isinstance(body, str) else body)["error"]
        assert (response["statusCode"], error["message"]) == (status, message)
    late = ask(target, {"records": [row], "deadlineMs": time.time() * 1000 - 5_000, "id": "late"})
    assert (late["statusCode"], late["id"]) == (504, "late")
    place, _, rest = late["body"]["error"]["message"].partition(": got a deadline ")
    assert place == "deadlineMs"
    assert rest.endswith(" ms ago, expected one that is still to come")


def test_unknown_category_is_refused_with_the_known_ones(mixed: Packed) -> None:
    """A category never seen is refused; the text lists those of the manifest."""
    with serving(mixed.directory) as (_, target):
        response = ask(target, {"records": [mixed.rows[0], {**mixed.rows[1], "colour": "mauve"}]})
    known = "one of 'blue', 'green', 'red', or null"
    fault = {
        "code": "unknown_category",
        "place": "records[1].colour",
        "observed": "'mauve'",
        "expected": known,
    }
    assert response["body"]["error"] == {
        "code": "unknown_category",
        "message": f"records[1].colour: got 'mauve', expected {known}",
        "details": [fault],
    }


def test_trouble_inside_is_answered_without_its_words(multiclass: Packed) -> None:
    """A busy model gives 429 with a time, a failing one 500 in general words; the log has more."""
    command = [sys.executable, "-m", "awslambdaric", "tests.release.failing_function.handler"]
    with serving(multiclass.directory, command=command) as (emulator, target):
        busy = ask(target, {"records": [{"busy": 1}]})
        internal = target.invoke(b'{"records": [{}]}')
        log = emulator.log()
    assert busy["statusCode"] == 429
    assert busy["body"]["error"]["code"] == "busy"
    assert busy["body"]["error"]["retryAfterMs"] == 1500
    assert internal.json()["statusCode"] == 500
    assert internal.json()["body"]["error"]["code"] == "internal"
    assert b"secret" not in internal.payload
    assert "a secret of the inside" in log


def test_broken_bundle_fails_the_first_invocation(multiclass: Packed, tmp_path: Path) -> None:
    """A function that cannot open its bundle answers nothing, and the log says why."""
    directory = copy_bundle(multiclass, tmp_path)
    for file in directory.glob("model.*"):  # whichever engine is to serve
        file.write_bytes(b"")
    with serving(directory) as (emulator, target):
        try:
            answer = target.invoke(b"[]").payload.decode()
        except CommandError as error:
            answer = str(error)
        assert "predictions" not in answer
        assert re.search(r"model\.(ubj|forest): .*got 0", emulator.log())


def test_taken_port_is_refused(multiclass: Packed) -> None:
    """A port in use is named before anything starts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(CommandError) as caught:
            Emulator(multiclass.directory, port=port)
    assert str(caught.value) == f"port {port}: got one in use, expected a free one"


def test_stop_ends_every_process(multiclass: Packed) -> None:
    """After `stop`, neither emulator nor function is there; a second `stop` does nothing."""
    with serving(multiclass.directory) as (emulator, target):
        ask(target, [])
        pids = _session_members(emulator._process.pid)
        assert len(pids) == 2
        assert emulator.is_running()
    assert not any(map(is_alive, pids))
    emulator.stop()


def test_stop_ends_a_function_that_hangs(multiclass: Packed) -> None:
    """A function that takes no signal any more is ended all the same."""
    with serving(multiclass.directory) as (emulator, target):
        ask(target, [])
        _, function = sorted(_session_members(emulator._process.pid))
        os.kill(function, signal.SIGSTOP)
        assert is_alive(function)
    assert not is_alive(function)


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGINT], 0),
        ([signal.SIGTERM], 128 + signal.SIGTERM),
        ([signal.SIGHUP], 128 + signal.SIGHUP),
        ([signal.SIGINT, signal.SIGINT], None),  # in haste: whichever of the two comes to be seen
        ([signal.SIGKILL], -signal.SIGKILL),
    ],
    ids=["Ctrl-C", "kill", "hang-up", "Ctrl-C twice", "kill -9"],
)
def test_end_of_serve_leaves_nothing_behind(
    multiclass: Packed, numbers: list[signal.Signals], code: int | None
) -> None:
    """`edgexgb serve --rie` takes emulator and function along, however it ends."""
    command = [sys.executable, "-m", "release.cli", "serve", str(multiclass.directory), "--rie"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as serve:
        assert serve.stdout is not None
        assert serve.stderr is not None
        url = serve.stdout.readline().strip()
        assert url.endswith(INVOCATIONS)
        with contextlib.closing(HttpTarget("rie", url)) as target:
            assert ask(target, [])["statusCode"] == 400
        children = _children(serve.pid)
        assert len(children) == 2
        for number in numbers:
            serve.send_signal(number)
        found = serve.wait(timeout=20)
        errors = serve.stderr.read()
    assert code is None or found == code
    assert "Traceback" not in errors
    end = time.monotonic() + 10
    while any(map(is_alive, children)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(map(is_alive, children))


def test_missing_binary_says_how_to_get_one() -> None:
    """A chosen binary that is none is named."""
    with pytest.raises(CommandError) as caught:
        find_binary({"EDGEXGB_RIE": "/nowhere"})
    assert str(caught.value) == "EDGEXGB_RIE: got '/nowhere', expected an executable file"


def test_chosen_binary_comes_first() -> None:
    """`EDGEXGB_RIE` is used where it is executable."""
    assert find_binary({"EDGEXGB_RIE": sys.executable}) == Path(sys.executable)


def _children(ancestor: int) -> list[int]:
    """All living descendants of a process."""
    found = [ancestor]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found[1:]


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie, which init has yet to reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

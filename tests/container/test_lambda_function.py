"""The function's module works at import, so each test imports it in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Packed, bits, copy_bundle, in_memory

ROOT = Path(__file__).parents[2]

KEPT_OUT = [
    "pandas",
    "sklearn",
    "scipy",
    "numpy",
    "joblib",
    "xgboost",
    "awsiot",
    "awscrt",
    "matplotlib",
    "asyncio",
]
"""What the image has no room or no time for, and the serving path must not import."""

SLOW = ["typing", "dataclasses", "inspect", "pathlib", "hashlib", "datetime", "csv", "base64"]
"""Of the standard library: what would double what we add to a cold start."""


def run(
    code: str, bundle: Path, *, flags: Sequence[str] = (), **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Runs Python code with the bundle in the environment, as Lambda starts a function."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("EDGEXGB_", "AWS_"))}
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        cwd=ROOT,
        env={**inherited, "EDGEXGB_BUNDLE": str(bundle), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def report(
    code: str, bundle: Path, *, flags: Sequence[str] = (), **environment: str
) -> tuple[Any, list[dict[str, Any]]]:
    """What the code printed last, as JSON, and the log lines before it."""
    done = run(code, bundle, flags=flags, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    *log, last = done.stdout.splitlines()
    return json.loads(last), [json.loads(line) for line in log]


def test_serving_imports_no_data_science_though_it_is_installed(mixed: Packed) -> None:
    """Importing the function, opening a bundle and predicting stays a matter of milliseconds."""
    assert [name for name in KEPT_OUT if find_spec(name) is None] == []
    code = (
        "import json, sys\n"
        "from container.lambda_function import handler\n"
        f"answer = handler({json.dumps(mixed.rows).encode()!r}, None)\n"
        "print(json.dumps([answer, sorted({name.split('.')[0] for name in sys.modules})]))\n"
    )
    (answer, modules), _ = report(code, mixed.directory)
    assert answer["statusCode"] == 200
    predictions, probabilities = in_memory(mixed, mixed.frame)
    assert answer["body"]["predictions"] == predictions
    assert bits(answer["body"]["probabilities"]) == bits(probabilities)
    assert sorted(set(KEPT_OUT) & set(modules)) == []
    assert "model" in modules


@pytest.mark.kernel
def test_cold_start_loads_no_slow_module_of_the_standard_library(mixed: Packed) -> None:
    """Isolated, since the environment's own start-up files load some of them."""
    code = (
        "import json, sys\n"
        "sys.path.insert(0, '.')\n"
        "from container.lambda_function import handler\n"
        f"answer = handler({json.dumps(mixed.rows).encode()!r}, None)\n"
        f"print(json.dumps([answer['statusCode'], [it for it in {SLOW} if it in sys.modules]]))\n"
    )
    found, _ = report(code, mixed.directory, flags=["-I", "-S"])
    assert found == [200, []]


def test_opened_bundle_is_logged_as_json(multiclass: Packed) -> None:
    """One line, which names model, version and digest."""
    _, (line,) = report("import container.lambda_function\nprint(0)", multiclass.directory)
    del line["timestamp"]
    assert line == {
        "level": "INFO",
        "logger": "container.lambda_function",
        "message": "bundle opened",
        "model": "wine",
        "version": "1.2.3",
        "digest": multiclass.bundle.digest,
    }


def test_settings_come_from_the_environment(multiclass: Packed) -> None:
    """A limit is honoured, and a level silences the log."""
    code = (
        "import json\n"
        "from container.lambda_function import handler\n"
        "print(json.dumps(handler([{}, {}], None)))\n"
    )
    answer, log = report(
        code, multiclass.directory, EDGEXGB_MAX_ROWS="1", EDGEXGB_LOG_LEVEL="WARNING"
    )
    assert log == []
    assert answer["body"]["error"]["message"] == "records: got 2 rows, expected at most 1"


def test_internal_error_is_logged_as_one_line_with_its_traceback(regression: Packed) -> None:
    """A bundle that is closed under the function's feet stands for anything unexpected."""
    code = (
        "import json\n"
        "from container import lambda_function\n"
        "lambda_function._bundle.close()\n"
        f"answer = lambda_function.handler({regression.rows[0]!r}, None)\n"
        "print(json.dumps(answer))\n"
    )
    answer, (_, line) = report(code, regression.directory)
    assert (answer["statusCode"], answer["body"]["error"]["code"]) == (500, "internal")
    assert line["level"] == "ERROR"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert "Error: " in line["exception"].splitlines()[-1]


def remove_the_models(directory: Path) -> None:
    for name in ("model.ubj", "model.forest"):
        (directory / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (remove_the_models, ": got no such file"),
        (
            lambda directory: (directory / "manifest.json").write_bytes(b"{"),
            "manifest.json: got text",
        ),
    ],
)
def test_broken_bundle_fails_the_import(
    regression: Packed, tmp_path: Path, damage: Any, text: str
) -> None:
    """Lambda then reports an init error, and a component does not become RUNNING."""
    directory = copy_bundle(regression, tmp_path)
    damage(directory)
    done = run("import container.lambda_function", directory)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("model.errors.Bundle")
    assert text in last


def test_wrong_setting_fails_the_import(regression: Packed) -> None:
    """Better now than at the first request."""
    done = run("import container.lambda_function", regression.directory, EDGEXGB_MAX_ROWS="0")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "container.settings.SettingsError: EDGEXGB_MAX_ROWS: got '0', expected a whole number "
        "above 0"
    )


_MARSHALLER = """
import json, sys
import container.lambda_function as function
client = sys.modules.get("awslambdaric.lambda_runtime_client")
print(json.dumps(client and type(client.LambdaRuntimeClient.marshaller).__module__))
"""


def test_marshaller_is_installed_in_the_runtime_alone(regression: Packed) -> None:
    """Elsewhere the runtime's client is not even imported."""
    directory = regression.directory
    assert report(_MARSHALLER, directory)[0] is None
    found, _ = report(_MARSHALLER, directory, AWS_LAMBDA_RUNTIME_API="127.0.0.1:9001")
    assert found == "container.lambda_function"


def test_marshaller_hands_events_over_as_bytes_and_replies_as_strict_json(
    regression: Packed,
) -> None:
    """The handler parses events itself; a NaN never leaves the function."""
    code = (
        "import json\n"
        "from container.lambda_function import EventMarshaller\n"
        "marshaller = EventMarshaller()\n"
        "event = marshaller.unmarshal_request(b'{\"a\": 1, \"a\": 2}', 'application/json')\n"
        "found = [event.decode(), *marshaller.marshal_response({'a': [0.5, 'ü']})]\n"
        "try:\n"
        "    marshaller.marshal_response({'a': float('nan')})\n"
        "except ValueError as error:\n"
        "    found.append(type(error).__name__)\n"
        "print(json.dumps(found))\n"
    )
    assert report(code, regression.directory)[0] == [
        '{"a": 1, "a": 2}',
        '{"a":[0.5,"\\u00fc"]}',
        "application/json",
        "ValueError",
    ]

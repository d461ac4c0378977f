"""`edgexgb request` against a device that runs."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Packed, bits, change_manifest, copy_bundle, in_memory, with_golden
from tests.release.test_cli import Captured, run

N = 4


class _Stdin:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def typed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Has stdin hold this."""
    monkeypatch.setattr(sys, "stdin", _Stdin(content))


def csv_text(packed: Packed) -> str:
    text: str = packed.frame.head(N).to_csv(index=False)
    return text


def assert_predicted(printed: str, packed: Packed, n: int = N) -> None:
    body = json.loads(printed)
    predictions, probabilities = in_memory(packed, packed.frame.head(n))
    assert body["model"] == {"name": "wine", "version": "1.2.3"}
    assert body["predictions"] == predictions
    assert body["labels"] == list(packed.manifest.labels)
    assert bits(body["probabilities"]) == bits(probabilities)


# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_rows_of_a_file_are_predicted(
    suffix: str, inference_root: Path, multiclass: Packed, tmp_path: Path, capsys: Captured
) -> None:
    """To the last bit, in any of the formats."""
    rows = list(multiclass.rows[:N])
    path = tmp_path / f"rows{suffix}"
    if suffix == ".parquet":
        multiclass.frame.head(N).to_parquet(path)
    else:
        texts = {
            ".csv": csv_text(multiclass),
            ".json": json.dumps(rows),
            ".jsonl": "".join(f"{json.dumps(row)}\n" for row in rows),
        }
        path.write_text(texts[suffix])
    code, printed, errors = run(capsys, "request", path, "--root", inference_root)
    assert (code, errors) == (0, "")
    assert_predicted(printed, multiclass)


@pytest.mark.parametrize("form", ["csv", "json", "lines", "indented", "one row"])
def test_rows_on_stdin_are_predicted(
    form: str,
    inference_root: Path,
    multiclass: Packed,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They show by themselves what format they are in."""
    rows = list(multiclass.rows[:N])
    contents = {
        "csv": "\ufeff" + csv_text(multiclass),
        "json": json.dumps({"records": rows}),
        "lines": "\n".join(json.dumps(row) for row in rows),
        "indented": json.dumps(rows, indent=2),
        "one row": json.dumps(rows[0]),
    }
    typed(monkeypatch, contents[form].encode())
    code, printed, errors = run(capsys, "request", "-", "--root", inference_root)
    assert (code, errors) == (0, "")
    assert_predicted(printed, multiclass, 1 if form == "one row" else N)


def test_rows_in_the_argument_itself_are_predicted(
    inference_root: Path, multiclass: Packed, capsys: Captured
) -> None:
    """For a quick look."""
    rows = json.dumps(multiclass.rows[0])
    code, printed, _ = run(capsys, "request", rows, "--root", inference_root)
    assert code == 0
    assert_predicted(printed, multiclass, 1)


def test_likeliest_labels_are_asked_for(
    inference_root: Path, multiclass: Packed, capsys: Captured
) -> None:
    """Instead of all probabilities."""
    words = (json.dumps(multiclass.rows[0]), "--top-k", 2, "--root", inference_root)
    _, printed, _ = run(capsys, "request", *words)
    body = json.loads(printed)
    assert [len(row) for row in body["topK"]] == [2]
    assert "probabilities" not in body
    code, printed, _ = run(capsys, "request", *words, "--format", "table")
    assert code == 0
    assert "likeliest" in printed


# --- what is wrong with them ----------------------------------------------------------------------


def refused(capsys: Captured, root: Path, *words: object) -> str:
    """The one line of a refusal."""
    code, printed, errors = run(capsys, "request", *words, "--root", root)
    assert (code, printed) == (1, "")
    assert errors.startswith("edgexgb request: error: ")
    assert errors.count("\n") == 1
    return errors.removeprefix("edgexgb request: error: ").rstrip("\n")


def test_wrong_cell_is_named_by_row_and_column(
    inference_root: Path, multiclass: Packed, tmp_path: Path, capsys: Captured
) -> None:
    """As the file has it, though other cells of its column are numbers."""
    lines = csv_text(multiclass).splitlines()
    names, cells = lines[0].split(","), lines[3].split(",")
    cells[names.index("hue")] = "acid"
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([*lines[:3], ",".join(cells), *lines[4:]]))
    assert refused(capsys, inference_root, path) == (
        "not_a_number: records[2].hue: got 'acid', expected a number or null"
    )


def test_wrong_row_of_a_split_batch_has_the_files_number(
    inference_root: Path, multiclass: Packed, tmp_path: Path, capsys: Captured
) -> None:
    """A batch goes in several messages, each of which counts from 0."""
    rows = [dict(row) for row in multiclass.rows]
    rows[100]["hue"] = "acid"
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    assert refused(capsys, inference_root, path).startswith("not_a_number: records[100].hue: got")


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.csv", b"", "a.csv: got no rows, expected one row at least"),
        ("a.csv", b"x\n\xff\n", "a.csv: got the byte 0xff at offset 2, expected UTF-8"),
        ("a.csv", b"x,y\n1\n", "a.csv: line 2: got 1 cells, expected 2"),
        ("a.json", b"[NaN]", "a.json: got the constant NaN, expected JSON with rows"),
        ("a.json", b"7", "a.json: rows: got a int, expected records, a table, or one record"),
        ("a.jsonl", b"{}\n[]\n", "a.jsonl: line 2: got a list, expected an object"),
    ],
)
def test_file_without_rows_is_named(
    name: str, content: bytes, text: str, inference_root: Path, tmp_path: Path, capsys: Captured
) -> None:
    """In one line, with the place."""
    (tmp_path / name).write_bytes(content)
    assert refused(capsys, inference_root, tmp_path / name) == text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["[" * 10_000], "the rows: got JSON nested too deep, expected JSON with rows"),
        (["[]"], "no_rows: records: got no rows, expected one row at least"),
        (["/none.csv"], "/none.csv: No such file or directory"),
        (["/none.dat"], "/none.dat: got a .dat file, expected .csv, .parquet, .json, .jsonl"),
        (
            ["{}", "--result-topic", "t" * 256],
            "--result-topic: replyTo: got a topic of ",
        ),
        (
            ['{"a": 1}', "--max-message-bytes", "10"],
            "request_too_large: records[0]: got a row for a message of",
        ),
        (["{}", "--threshold", "nan"], "malformed_request: request: got a value that is not JSON"),
        (["--golden", "/none"], "/none/manifest.json: got no such directory"),
        (
            ["--golden", "/none", "--top-k", "1"],
            "--golden: got --top-k or --threshold beside it, expected neither",
        ),
    ],
)
def test_wrong_argument_is_named(
    words: list[str], text: str, inference_root: Path, capsys: Captured
) -> None:
    """In one line."""
    assert refused(capsys, inference_root, *words).startswith(text)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--timeout", "0"),
        ("--top-k", "0"),
        ("--max-message-bytes", "-1"),
        ("--threshold", "x"),
        ("--request-topic", "a/#"),
        ("--result-topic", ""),
    ],
)
def test_option_out_of_range_is_a_wrong_call(option: str, value: str, capsys: Captured) -> None:
    """Before anything is asked."""
    code, _, errors = run(capsys, "request", "{}", option, value)
    assert code == 2
    assert errors.startswith(f"edgexgb request: error: argument {option}: ")


def test_stdin_that_is_no_text_is_named(
    inference_root: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a Parquet file."""
    typed(monkeypatch, b"PAR1\xff")
    assert refused(capsys, inference_root, "-").startswith("stdin: got bytes that are no UTF-8")


# --- nobody there ---------------------------------------------------------------------------------


def test_no_device_is_said_at_once(tmp_path: Path, capsys: Captured) -> None:
    """With what starts one."""
    assert refused(capsys, tmp_path, "{}") == (
        f"{tmp_path}: got no core device that runs, expected one; `edgexgb device start` starts it"
    )


def test_no_component_is_a_timeout(shell_root: Path, capsys: Captured) -> None:
    """Nobody on a bus says that nobody is there."""
    assert refused(capsys, shell_root, '{"a": 1}', "--timeout", 0.5) == (
        "request_timeout: request: got no reply in 0.5 s, expected one; "
        "`edgexgb device status` shows whether the component runs"
    )


# --- the golden rows ------------------------------------------------------------------------------


def test_golden_rows_are_equal_over_the_bus(
    inference_root: Path, multiclass: Packed, capsys: Captured
) -> None:
    """The answers on the device are those of the notebook's model."""
    n = len(multiclass.bundle.golden)
    words = ("--golden", multiclass.directory, "--root", inference_root)
    assert run(capsys, "request", *words) == (
        0,
        f"wine 1.2.3: {n} of {n} golden rows equal to the last bit\n",
        "",
    )


def test_golden_rows_that_differ_are_listed(
    inference_root: Path, multiclass: Packed, tmp_path: Path, capsys: Captured
) -> None:
    """Each with what came and what was recorded; the exit code fails a script."""

    def change(rows: list[Any]) -> None:
        for i in (2, 5):
            rows[i] = rows[i]._replace(prediction="other")

    bundle = with_golden(multiclass, tmp_path, change)
    n = len(multiclass.bundle.golden)
    code, printed, errors = run(capsys, "request", "--golden", bundle, "--root", inference_root)
    assert code == 1
    assert printed == f"wine 1.2.3: {n - 2} of {n} golden rows equal to the last bit\n"
    rows = [line.partition(".")[0] for line in errors.splitlines()]
    assert rows == ["differs: row 2", "differs: row 5"]
    assert errors.splitlines()[0].endswith(", expected 'other'")


def test_another_version_than_the_bundles_is_told(
    inference_root: Path, multiclass: Packed, tmp_path: Path, capsys: Captured
) -> None:
    """Equal predictions alone do not show that an update has arrived."""
    bundle = copy_bundle(multiclass, tmp_path)
    change_manifest(bundle, lambda fields: fields.update(version="9.0.0"))
    code, _, errors = run(capsys, "request", "--golden", bundle, "--root", inference_root)
    assert code == 1
    assert errors == ("differs: the model: got wine 1.2.3, expected wine 9.0.0 as in the bundle\n")


def test_bundle_of_another_model_is_refused_by_the_service(
    inference_root: Path, regression: Packed, capsys: Captured
) -> None:
    """It does not have those features."""
    text = refused(capsys, inference_root, "--golden", regression.directory)
    assert text.startswith("unknown_feature: ")

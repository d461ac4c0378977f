import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import pytest

from model.golden import GoldenRow
from release.cli import main
from tests.conftest import Packed, copy_bundle, with_golden

Captured = pytest.CaptureFixture[str]


def run(capsys: Captured, *argv: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    try:
        code = main([str(word) for word in argv])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def rows_file(packed: Packed, path: Path) -> Path:
    packed.frame.to_csv(path, index=False)
    return path


# --- pack and train -------------------------------------------------------------------------------


def test_pack_prints_the_bundle_and_the_gate_passes_it(
    capsys: Captured, multiclass: Packed, tmp_path: Path
) -> None:
    """A model file and sample rows become a bundle whose directory is the last line."""
    model = tmp_path / "vino.json"
    multiclass.estimator.save_model(model)
    rows = rows_file(multiclass, tmp_path / "rows.csv")
    out = tmp_path / "bundle"
    code, printed, _ = run(
        capsys, "pack", model, "--rows", rows, "--labels", "barolo,grignolino,barbera", "--out", out
    )
    assert (code, printed.splitlines()[-1]) == (0, str(out))
    code, printed, _ = run(capsys, "inspect", out, "--json")
    fields = json.loads(printed)
    assert fields["name"] == "vino"
    assert fields["labels"] == ["barolo", "grignolino", "barbera"]
    assert run(capsys, "validate", out)[0] == 0


def test_pack_of_a_pickle_needs_trust(capsys: Captured, binary: Packed, tmp_path: Path) -> None:
    """A pickle is opened only where the user says so."""
    model = tmp_path / "model.joblib"
    joblib.dump(binary.estimator, model)
    rows = rows_file(binary, tmp_path / "rows.csv")
    words = ("pack", model, "--rows", rows, "--out", tmp_path / "bundle")
    code, _, errors = run(capsys, *words)
    assert code == 1
    assert errors == (
        f"edgexgb pack: error: {model}: got a pickled model, expected --trust, "
        "since opening such a file runs whatever code it holds\n"
    )
    assert not (tmp_path / "bundle").exists()
    assert run(capsys, *words, "--trust")[0] == 0


def test_pack_with_an_unknown_target_is_refused(
    capsys: Captured, binary: Packed, tmp_path: Path
) -> None:
    """A target that is no column is named."""
    model = tmp_path / "model.json"
    binary.estimator.save_model(model)
    rows = rows_file(binary, tmp_path / "rows.csv")
    code, _, errors = run(capsys, "pack", model, "--rows", rows, "--target", "y")
    assert code == 1
    assert errors.endswith("got no column 'y', expected the target among the rows\n")


def test_train_on_a_table_makes_a_bundle(capsys: Captured, mixed: Packed, tmp_path: Path) -> None:
    """A CSV with categories and missing values is trained, packed and passes the gate."""
    table = tmp_path / "table.csv"
    mixed.frame.assign(answer=["yes", "no"] * (len(mixed.frame) // 2)).to_csv(table, index=False)
    out = tmp_path / "bundle"
    words = ("--target", "answer", "--out", out, "--n-estimators", "5")
    code, printed, _ = run(capsys, "train", "--data", table, *words)
    assert (code, printed.splitlines()[-1]) == (0, str(out))
    assert run(capsys, "validate", out)[0] == 0


# --- inspect, events, validate --------------------------------------------------------------------


def test_inspect_shows_features_and_measurements(capsys: Captured, mixed: Packed) -> None:
    """People see what the model takes."""
    code, printed, _ = run(capsys, "inspect", mixed.directory)
    assert code == 0
    for word in ("colour", "categorical", "blue, green, red", mixed.bundle.digest[:32], "binary"):
        assert word in printed


def test_events_are_written_beside_the_bundle(
    capsys: Captured, multiclass: Packed, tmp_path: Path
) -> None:
    """Each file is printed, and there."""
    bundle = copy_bundle(multiclass, tmp_path)
    code, printed, _ = run(capsys, "events", bundle)
    files = [Path(line) for line in printed.splitlines()]
    assert code == 0
    assert {file.parent for file in files} == {tmp_path / "bundle-events"}
    assert all(file.is_file() for file in files)


def test_validate_of_a_wrong_bundle_names_row_got_and_expected(
    capsys: Captured, regression: Packed, tmp_path: Path
) -> None:
    """A bundle whose golden rows another model wrote fails: on the page, on stdout, in a line."""
    real = regression.bundle.golden[5].prediction
    assert isinstance(real, float)

    def change(rows: list[GoldenRow]) -> None:
        rows[5] = rows[5]._replace(prediction=real + 1)

    bundle = with_golden(regression, tmp_path, change)
    code, printed, errors = run(capsys, "validate", bundle)
    wanted = f"row 5: row 0.prediction: got {real!r}, expected {real + 1!r}"
    assert code == 1
    assert wanted in printed
    assert errors.splitlines()[-1].startswith("edgexgb validate: error: ")
    assert errors.splitlines()[-1].endswith(wanted)
    pages = list((tmp_path / "bundle-report").glob("*.html"))
    assert len(pages) == 1
    assert wanted in pages[0].read_text()


def test_validate_of_a_damaged_bundle_is_one_line(
    capsys: Captured, regression: Packed, tmp_path: Path
) -> None:
    """A flipped byte is named with its file before anything runs."""
    bundle = copy_bundle(regression, tmp_path)
    content = bytearray((bundle / "model.ubj").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "model.ubj").write_bytes(content)
    code, printed, errors = run(capsys, "validate", bundle, "--target", "rie")
    assert (code, printed) == (1, "")
    assert errors.startswith("edgexgb validate: error: model.ubj: got ")
    assert errors.endswith(", as in the manifest\n")
    assert errors.count("\n") == 1


def test_validate_as_json_is_json(capsys: Captured, regression: Packed, tmp_path: Path) -> None:
    """stdout holds the report and nothing else."""
    code, printed, _ = run(capsys, "validate", regression.directory, "--json", "--report", tmp_path)
    assert code == 0
    assert json.loads(printed)["passed"] is True


# --- invoke ---------------------------------------------------------------------------------------


def test_invoke_of_samples_prints_json(capsys: Captured, multiclass: Packed) -> None:
    """Golden rows are asked, and the reply comes as JSON where no person watches."""
    code, printed, _ = run(capsys, "invoke", multiclass.directory, "--sample", 2)
    reply = json.loads(printed)
    assert code == 0
    golden = multiclass.bundle.golden
    expected = [golden[0].prediction, golden[len(golden) // 2].prediction]
    assert reply["body"]["predictions"] == expected


def test_invoke_as_a_table_shows_the_true_values(capsys: Captured, multiclass: Packed) -> None:
    """People see predictions beside what was true."""
    words = ("invoke", multiclass.directory, "--sample", 2, "--format", "table")
    code, printed, _ = run(capsys, *words)
    assert code == 0
    assert "prediction" in printed
    assert "true" in printed
    assert "p(barolo)" in printed


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_invoke_of_a_file_of_rows_predicts_them(
    capsys: Captured, mixed: Packed, tmp_path: Path, suffix: str
) -> None:
    """Rows with categories and missing values are read from each format."""
    path = tmp_path / f"rows{suffix}"
    frame = mixed.frame.iloc[:20]
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=suffix == ".jsonl", double_precision=15)
    code, printed, errors = run(capsys, "invoke", mixed.directory, "--rows", path)
    assert code == 0, errors
    expected = mixed.bundle.predict(mixed.rows[:20]).predictions
    assert json.loads(printed)["body"]["predictions"] == expected


def test_invoke_of_wrong_rows_exits_with_one(
    capsys: Captured, mixed: Packed, tmp_path: Path
) -> None:
    """A refusal is printed as the function gave it; the exit code tells a script."""
    path = tmp_path / "rows.csv"
    path.write_text("colour,grade,active,count,size\nred,10,true,x,1\n")
    code, printed, _ = run(capsys, "invoke", mixed.directory, "--rows", path)
    error = json.loads(printed)["body"]["error"]
    assert code == 1
    assert error["message"] == "records[0].count: got 'x', expected a number or null"


def test_invoke_takes_an_event_inline_and_from_a_file(
    capsys: Captured, multiclass: Packed, tmp_path: Path
) -> None:
    """An event is JSON itself, or a file's content as it is."""
    event = json.dumps({"records": multiclass.rows[:1], "topK": 1})
    file = tmp_path / "event.json"
    file.write_text(event)
    inline = run(capsys, "invoke", multiclass.directory, "--event", event)
    from_file = run(capsys, "invoke", multiclass.directory, "--event", file)
    assert inline == from_file
    assert inline[0] == 0
    assert "topK" in json.loads(inline[1])["body"]


def test_invoke_options_are_sent(capsys: Captured, binary: Packed) -> None:
    """`--threshold` moves the line between the labels."""
    words = ("invoke", binary.directory, "--sample", 5, "--threshold")
    low = json.loads(run(capsys, *words, "0")[1])["body"]["predictions"]
    high = json.loads(run(capsys, *words, "1")[1])["body"]["predictions"]
    assert low == ["benign"] * 5
    assert high == ["malignant"] * 5


# --- wrong calls ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "edgexgb: error: the following arguments are required: COMMAND"),
        (("fly",), "edgexgb: error: argument COMMAND: invalid choice: 'fly'"),
        (("validate",), "edgexgb validate: error: the following arguments are required: bundle"),
        (
            ("serve", "x", "--port", "0"),
            "edgexgb serve: error: argument --port: got '0', expected a port from 1 to 65535",
        ),
    ],
)
def test_wrong_call_is_one_line_and_exits_with_two(
    capsys: Captured, words: tuple[str, ...], text: str
) -> None:
    """What is wrong with a call is said in one line that points at the help."""
    code, out, errors = run(capsys, *words)
    assert (code, out) == (2, "")
    assert errors.startswith(text)
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ("inspect", "nowhere"),
            (
                "edgexgb inspect: error: nowhere/manifest.json: got no such directory, "
                "expected a bundle's file"
            ),
        ),
        (
            ("invoke", "--event", "nowhere.json", "--target", "http://127.0.0.1:9"),
            "edgexgb invoke: error: nowhere.json: No such file or directory",
        ),
        (
            ("invoke", "--sample", "1"),
            (
                "edgexgb invoke: error: --sample: got no bundle, "
                "expected a bundle and a number above 0"
            ),
        ),
        (
            ("invoke", "--event", "{}"),
            "edgexgb invoke: error: target in-process: got no bundle, expected its directory",
        ),
        (
            ("pack", "nowhere.json", "--rows", "nowhere.csv"),
            (
                "edgexgb pack: error: nowhere.json: got No such file or directory, "
                "expected a model file"
            ),
        ),
        (
            ("train", "--data", "nowhere.csv", "--target", "y"),
            "edgexgb train: error: nowhere.csv: got no such file, expected a table",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exits_with_one(
    capsys: Captured, words: tuple[str, ...], text: str
) -> None:
    """A user's mistake is one line on stderr, without a traceback."""
    code, out, errors = run(capsys, *words)
    assert (code, out, errors) == (1, "", f"{text}\n")


@pytest.mark.parametrize(
    "command",
    ["train", "pack", "inspect", "events", "serve", "invoke", "validate", "device", "request"],
)
def test_every_command_has_help(capsys: Captured, command: str) -> None:
    """`--help` works for each, on stdout."""
    code, out, errors = run(capsys, command, "--help")
    assert (code, errors) == (0, "")
    assert f"edgexgb {command}" in out


def test_commands_that_serve_do_not_import_what_trains(multiclass: Packed) -> None:
    """`edgexgb inspect` pays for no pandas, scikit-learn or XGBoost package."""
    script = (
        "import sys; from release.cli import main; main(sys.argv[1:]); "
        "print(sorted({'pandas', 'sklearn', 'xgboost', 'scipy', 'boto3'} & set(sys.modules)))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script, "inspect", str(multiclass.directory), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.splitlines()[-1] == "[]"


def test_commands_that_look_at_a_device_import_no_sdk(tmp_path: Path) -> None:
    """`edgexgb device status` and `logs` are there at once."""
    script = (
        "import sys; from release.cli import main; main(sys.argv[1:]); "
        "print(sorted({'awscrt', 'awsiot', 'pandas', 'xgboost'} & set(sys.modules)))"
    )
    for action in ("status", "logs"):
        words = ["device", action, "--root", str(tmp_path)]
        finished = subprocess.run(
            [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
        )
        assert finished.stdout == "[]\n"


def test_what_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    """A component may log anything; the terminal need not know UTF-8."""
    log = tmp_path / "logs" / "App.log"
    log.parent.mkdir()
    log.write_text("grüß dich\n", encoding="utf-8")
    finished = subprocess.run(
        [sys.executable, "-m", "release.cli", "device", "logs", "--root", str(tmp_path)],
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout == "==> App <==\ngr\\xfc\\xdf dich\n"


def test_reader_that_leaves_early_is_no_error(multiclass: Packed, tmp_path: Path) -> None:
    """`edgexgb events … | head -1` ends without a traceback."""
    command = f"'{sys.executable}' -m release.cli inspect '{multiclass.directory}' --json | head -1"
    finished = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert finished.stdout == "{\n"
    assert finished.stderr == ""


def test_ctrl_c_says_stopped(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command with 130 and one word."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("release.cli.open_bundle", interrupted)
    code, out, errors = run(capsys, "inspect", "x")
    assert (code, out, errors) == (130, "", "edgexgb inspect: stopped\n")

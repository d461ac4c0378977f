import json
from pathlib import Path

import pytest

from consumer.chunks import Table
from consumer.rows import SAMPLES, RowsError, cut_rows, read_rows


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_samples_are_rows_of_the_wine_data_set() -> None:
    """Twelve of them, with all thirteen features, all numbers."""
    rows = read_rows(SAMPLES)
    assert isinstance(rows, list)
    assert len(rows) == 12
    assert {len(row) for row in rows} == {13}
    assert all(type(value) in {int, float} for row in rows for value in row.values())


@pytest.mark.parametrize(
    ("text", "columns", "data"),
    [
        ("x,y\n1.5,\n007,NA\n", ["x", "y"], [["1.5", ""], ["007", "NA"]]),
        ('\ufeffx,y\r\n\r\n"a,""b""","two\nlines"\r\n', ["x", "y"], [['a,"b"', "two\nlines"]]),
    ],
)
def test_csv_cells_stay_text(
    tmp_path: Path, text: str, columns: list[str], data: list[list[str]]
) -> None:
    """Only the service knows what kind a column has; an empty line is no row."""
    assert read_rows(write(tmp_path, "a.CSV", text)) == Table(columns, data, textual=True)


def test_json_of_any_form_is_read(tmp_path: Path) -> None:
    """Those of docs/requests.md, 1.1."""
    for value in ([{"x": 1}], {"records": [{"x": 1}]}, {"x": 1}):
        assert read_rows(write(tmp_path, "a.json", json.dumps(value))) == [{"x": 1}]
    split = read_rows(write(tmp_path, "a.json", '{"columns": ["x"], "data": [[1]]}'))
    assert split == Table(["x"], [[1]])


def test_json_lines_are_records(tmp_path: Path) -> None:
    """Empty lines are none; what other readers take for a line's end is not."""
    path = write(tmp_path, "a.jsonl", '{"x": 1}\n\n{"x": "a\u2028b"}\r\n')
    assert read_rows(path) == [{"x": 1}, {"x": "a\u2028b"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "a.txt: got another suffix, expected .csv, .json, .jsonl"),
        ("a.csv", b"x\n\xff\n", "a.csv: got the byte 0xff at offset 2, expected UTF-8"),
        ("a.csv", "", "a.csv: got no rows, expected one row at least"),
        ("a.csv", "x,y\n", "a.csv: got no rows, expected one row at least"),
        ("a.csv", "x,y\n1,2\n\n3\n", "a.csv: line 4: got 1 cells, expected 2"),
        (
            "a.csv",
            'x\n"a"b\n',
            "a.csv: line 2: got text that is no CSV (',' expected after '\"'), expected CSV",
        ),
        (
            "a.json",
            "[1,",
            "a.json: got text that is no JSON at line 1 column 4 (Expecting value), "
            "expected JSON with rows",
        ),
        (
            "a.json",
            '[{"x": NaN}]',
            "a.json: got the constant NaN, expected JSON with rows",
        ),
        ("a.json", "[" * 100_000, "a.json: got JSON nested too deep, expected JSON with rows"),
        ("a.json", "1" * 5000, "a.json: got a number of many digits, expected JSON with rows"),
        ("a.json", "5", "a.json: rows: got a int, expected records, a table, or one record"),
        ("a.json", "[]", "a.json: got no rows, expected one row at least"),
        ("a.jsonl", '{"x": 1}\n[1]\n', "a.jsonl: line 2: got a list, expected an object"),
        (
            "a.jsonl",
            '{"x": 1}\n{"x"',
            "a.jsonl: line 2: got text that is no JSON at line 1 column 5 "
            "(Expecting ':' delimiter), expected JSON with rows",
        ),
    ],
)
def test_file_without_rows_is_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    """The text says where and why."""
    with pytest.raises(RowsError) as caught:
        read_rows(write(tmp_path, name, content))
    assert str(caught.value) == message


def test_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is all in memory."""
    monkeypatch.setattr("consumer.rows.MAX_FILE_BYTES", 5)
    with pytest.raises(RowsError) as caught:
        read_rows(write(tmp_path, "a.csv", "x\n1234\n"))
    assert str(caught.value) == "a.csv: got more than 5 bytes, expected no more"


def test_rows_of_both_kinds_are_cut() -> None:
    """A table keeps its columns."""
    assert cut_rows([{"x": 1}, {"x": 2}], 1, 5) == [{"x": 2}]
    table = Table(["x"], [["1"], ["2"]], textual=True)
    assert cut_rows(table, 1, 5) == Table(["x"], [["2"]], textual=True)

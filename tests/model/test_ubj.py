"""The binary JSON of model files."""

import pytest

from model.ubj import parse_ubj


@pytest.mark.parametrize("integer", [b"i\x01", b"U\x01", b"I\0\x01", b"l\0\0\0\x01"])
def test_length_is_an_integer_of_any_size(integer: bytes) -> None:
    """Of names, of texts and of arrays."""
    content = (
        b"{" + integer + b"a" + b"S" + integer + b"b" + integer + b"c" + b"[#" + integer + b"Z}"
    )
    assert parse_ubj(content) == {"a": "b", "c": [None]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"{" * 100_000, "byte 1: got b'{', expected the mark of an integer"),
        (b"S" * 100_000, "byte 1: got b'S', expected the mark of an integer"),
        (b"[#" * 100_000, "byte 2: got b'[', expected the mark of an integer"),
        (b"[$d#" * 100_000, "byte 4: got b'[', expected the mark of an integer"),
        (b"[" * 100_000, "byte 65: got deeper nesting, expected 64 levels"),
        (b"SC\x01a", "byte 1: got b'C', expected the mark of an integer"),
        (b"ST", "byte 1: got b'T', expected the mark of an integer"),
        (b"Si\xff", "byte 3: got -1, expected a length"),
        (b"Si\x02a", "byte 3: got the end, expected 2 bytes more"),
    ],
)
def test_what_is_no_document_is_refused(content: bytes, text: str) -> None:
    """However deep it would go: the reader's own stack is bounded."""
    with pytest.raises(ValueError) as caught:
        parse_ubj(content)
    assert str(caught.value) == text

"""UBJ, the binary JSON of XGBoost's model files, read without XGBoost.

Source: ubjson.org, draft 12; xgboost 3.2, src/common/json.cc, `UBJReader`: the subset that XGBoost
writes, with numbers in big-endian order.
"""

import struct
import sys
from array import array
from typing import Any

_MAX_DEPTH = 64
_SCALARS = {
    marker: struct.Struct(f">{code}")
    for marker, code in {
        b"i": "b", b"U": "B", b"I": "h", b"l": "i", b"L": "q", b"d": "f", b"D": "d",
    }.items()
}  # fmt: skip
_ARRAYS = {b"i": "b", b"U": "B", b"I": "h", b"l": "i", b"L": "q", b"d": "f", b"D": "d"}
_INTEGERS = frozenset({b"i", b"U", b"I", b"l", b"L"})
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}


def parse_ubj(content: bytes) -> Any:
    """The document in the bytes; arrays of one type become `array.array`.

    Raises:
        ValueError: the bytes are no such document.
    """
    reader = _Reader(content)
    document = reader.value(reader.take(1), _MAX_DEPTH)
    if reader.at != len(content):
        raise ValueError(f"byte {reader.at}: got {len(content) - reader.at} more, expected the end")
    return document


class _Reader:
    """A position in the bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def take(self, n_bytes: int) -> bytes:
        end = self.at + n_bytes
        if not 0 <= n_bytes <= len(self._content) - self.at:
            raise ValueError(f"byte {self.at}: got the end, expected {n_bytes} bytes more")
        taken = self._content[self.at : end]
        self.at = end
        return taken

    def value(self, marker: bytes, depth: int) -> Any:
        if depth == 0:
            raise ValueError(f"byte {self.at}: got deeper nesting, expected {_MAX_DEPTH} levels")
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if scalar := _SCALARS.get(marker):
            return scalar.unpack(self.take(scalar.size))[0]
        match marker:
            case b"S":
                return self._text()
            case b"C":
                return self.take(1)[0]
            case b"{":
                return self._object(depth)
            case b"[":
                return self._array(depth)
            case _:
                raise ValueError(f"byte {self.at - 1}: got {marker!r}, expected the mark of a type")

    def _length(self, marker: bytes) -> int:
        # Never another value: a name's length would be an object, with a name, and so on.
        if marker not in _INTEGERS:
            text = f"byte {self.at - 1}: got {marker!r}, expected the mark of an integer"
            raise ValueError(text)
        number: int = self.value(marker, 1)
        if number < 0:
            raise ValueError(f"byte {self.at}: got {number}, expected a length")
        return number

    def _text(self) -> str:
        return self.take(self._length(self.take(1))).decode(errors="surrogateescape")

    def _object(self, depth: int) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        while (marker := self.take(1)) != b"}":
            name = self.take(self._length(marker)).decode(errors="surrogateescape")
            fields[name] = self.value(self.take(1), depth - 1)
        return fields

    def _array(self, depth: int) -> Any:
        marker = self.take(1)
        if marker == b"$":
            code = _ARRAYS.get(self.take(1))
            if code is None or self.take(1) != b"#":
                raise ValueError(f"byte {self.at - 1}: got another mark, expected a typed array")
            return self._typed_array(code, self._length(self.take(1)))
        if marker == b"#":
            n = self._length(self.take(1))
            return [self.value(self.take(1), depth - 1) for _ in range(n)]
        values = []
        while marker != b"]":
            values.append(self.value(marker, depth - 1))
            marker = self.take(1)
        return values

    def _typed_array(self, code: str, n: int) -> "array[Any]":
        values = array(code)
        values.frombytes(self.take(n * values.itemsize))
        if sys.byteorder == "little":
            values.byteswap()
        return values

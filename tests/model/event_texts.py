"""JSON texts of requests, good, odd and broken, for comparing the ways to read them."""

import json
from collections.abc import Sequence

from hypothesis import strategies as st

from model.manifest import Feature

NUMBERS = (
    "0", "-0", "0.0", "-0.0", "1", "-1", "10", "1.5", "-2.25", "10.0", "1e1", "1E+2", "2e-3",
    "0e5", "3.4028234663852886e38", "3.4028235e38", "3.5e38", "-3.5e38", "1e999", "-1e999",
    "1e-46", "5e-324", "1e-45", "1.1754943508222875e-38", "7e-46", "0.1", "0.30000000000000004",
    "123456789.123456789", "16777217", "16777217.0", "16777217.000000001",
    "1.00000005960464477539062500", "1.00000005960464477539062501", "1.000000178813934326171875",
    "1.00000017881393432617187499", "9007199254740993", "9007199254740993.0",
    "1152921573326323713", "-1152921573326323713", "999999999999999999", "1000000000000000000",
    "9223372036854775808", "1" + "0" * 38, "1" + "0" * 39, "1" + "0" * 5000,
    "0." + "0" * 30 + "1", "0." + "1" * 25, "1." + "0" * 40 + "1", "1e0000000005", "1e100005",
    "1e-100005", "1e99999999999", "0e99999999999", "4.35", "1e22", "1e23", "8.5e-23",
)  # fmt: skip
"""Numbers at the borders of int, float64 and float32, and of what fits 64 bits."""

BROKEN_NUMBERS = (
    "01", "-01", "+1", ".5", "1.", "1.e5", "1e", "1e+", "-", "--1", "0x10", "1_0", "NaN",
    "Infinity", "-Infinity", "nan", "inf", "1.5.5", "1e5e5", "1 2", "\uff11", "1f", "-a", "00",
    "0e", "1-", "1\x00",
)  # fmt: skip
"""What is no number in JSON, though some of it is in Python or C."""

OTHER_VALUES = (
    "null", "true", "false", "nul", "nulll", "True", "tru", "falsey", '""', '"red"',
    '"gr\\u00fcn"', '"grün"', '"r\\u0065d"', '"red', '"1"', "[]", "{}", "[1]", '{"a":1}', "",
    "\x00", '"\x01"', '"\x7f"', '"violet"', '"\ud800"', '"a\\"b"', '"a\\\\b"',
)  # fmt: skip
"""Other values, and what only looks like one."""

ODD_NAMES = (
    '"', '""', '"unknown"', '"s\\u0069ze"', '"Size"', "size", '"size', '"size "', '"\x00"',
    '"records"', '"body"', '"\\ud800"', '"requestContext"', '"columns"', '"data"',
)  # fmt: skip

FIELDS = ("id", "replyTo", "deadlineMs", "topK", "threshold")

_FIELD_VALUES = (
    '"abc"', '"ä"', '"\\u00e4"', '""', "1", "0", "-0", "0.5", "2", "-1", "1.5", "1e400", "true",
    "null", '"2"', '"0.5"', "[1]", "9999999999999", "1" * 18, "1" * 19, "1" * 30,
    '"' + "x" * 300 + '"', '"a/b"', "0.9999999999999999999", "1e-400",
)  # fmt: skip

_ODD_BYTES = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00")

_SPACES = ("", "", "", "", " ", "\n", "\t\r\n ", "\x0b", "\ufeff", "\xa0")


def good_values(feature: Feature) -> tuple[str, ...]:
    """Texts of values that the feature takes."""
    match feature.kind:
        case "bool":
            return "true", "false", "null", "0", "1"
        case "categorical":
            return "null", *(json.dumps(it, ensure_ascii=False) for it in feature.categories)
        case _:
            return "null", *NUMBERS[:15]


class _Author:
    """Writes one request, with at most so many oddities."""

    def __init__(self, draw: st.DrawFn, features: Sequence[Feature], oddities: int) -> None:
        self._draw = draw
        self._features = features
        self._left = draw(st.integers(0, oddities))

    def odd(self, share: int = 30) -> bool:
        if self._left == 0 or self._draw(st.integers(0, share)) != 0:
            return False
        self._left -= 1
        return True

    def pick(self, items: Sequence[str]) -> str:
        return self._draw(st.sampled_from(items))

    def space(self) -> str:
        return self.pick(_SPACES if self.odd() else _SPACES[:7])

    def value(self, feature: Feature) -> str:
        if self.odd():
            return self.pick(BROKEN_NUMBERS + OTHER_VALUES)
        return self.pick(NUMBERS if feature.kind in {"int", "float"} else good_values(feature))

    def name(self, text: str) -> str:
        return self.pick(ODD_NAMES) if self.odd() else json.dumps(text, ensure_ascii=self.odd())

    def pair(self, key: str, text: str) -> str:
        return f"{self.space()}{key}{self.space()}:{self.space()}{text}{self.space()}"

    def joined(self, opening: str, items: Sequence[str], closing: str) -> str:
        comma = self.pick((",,", "", ";", ",")) if self.odd() else ","
        end = self.pick(("]", "}", "", ",]", ",}", "\x00")) if self.odd() else closing
        return f"{opening}{self.space()}{comma.join(items)}{end}"

    def row(self) -> str:
        chosen = list(self._features)
        if self._draw(st.booleans()):
            chosen = self._draw(st.permutations(chosen))
        if self.odd():
            chosen = chosen[:-1]
        if self.odd():
            chosen = [*chosen, *chosen[:1]]
        return self.joined(
            "{", [self.pair(self.name(it.name), self.value(it)) for it in chosen], "}"
        )

    def rows(self) -> str:
        count = self._draw(st.integers(0 if self.odd() else 1, 3))
        return self.joined("[", [self.row() + self.space() for _ in range(count)], "]")

    def request(self) -> str:
        fields = [it for it in FIELDS if self.odd(4)]
        if self.odd():
            fields += fields[:1]
        pairs = [self.pair(self.name(it), self.pick(_FIELD_VALUES)) for it in fields]
        pairs.insert(self._draw(st.integers(0, len(pairs))), self.pair('"records"', self.rows()))
        if self.odd():
            pairs.append(self.pair(self.pick(ODD_NAMES), "1"))
        return self.joined("{", pairs, "}")

    def event(self) -> bytes:
        shape = self._draw(st.sampled_from((self.request, self.request, self.rows, self.row)))
        end = self.pick(("]", "}", "x", "\x00", "{}")) if self.odd() else ""
        text = f"{self.space()}{shape()}{self.space()}{end}"
        event = text.encode(errors="surrogatepass")
        if self.odd():
            at = self._draw(st.integers(0, len(event)))
            event = event[:at] + self._draw(st.sampled_from(_ODD_BYTES)) + event[at:]
        return event[: self._draw(st.integers(0, len(event)))] if self.odd() else event


@st.composite
def event_texts(draw: st.DrawFn, features: Sequence[Feature], oddities: int = 2) -> bytes:
    """A request with at most so many oddities; with none it is one that everybody takes."""
    return _Author(draw, features, oddities).event()

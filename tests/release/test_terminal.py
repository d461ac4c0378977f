import pytest

from release.terminal import printable, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("größe 😀 ▁▄█\t…", "größe 😀 ▁▄█\t…"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("a\nb\rc\x00\x7f\x9b", r"a\nb\rc\x00\x7f\x9b"),
        ("\u2028\u2029\u202e\u200b\ufeff", r"\u2028\u2029\u202e\u200b\ufeff"),
        ("\ud83d", r"\ud83d"),
    ],
)
def test_what_would_steer_a_terminal_is_shown_as_an_escape(text: str, expected: str) -> None:
    """All else stands as it is."""
    assert printable(text) == expected
    expected.encode()


def test_marks_of_rich_are_text() -> None:
    """A label may be called as they are."""
    assert shown("[red]x[/red]\x1b") == r"\[red]x\[/red]\x1b"

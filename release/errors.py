"""What stops a command; the text is the one line that its user sees."""


class CommandError(Exception):
    """A command cannot go on: place, observed, expected, in one line."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split()))

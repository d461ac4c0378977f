"""What stops a command; the text is the one line that its user sees."""


class CommandError(Exception):
    """A command cannot go on: place, observed, expected."""

"""Errors of the app: one line, for a person."""


class OptionsError(ValueError):
    """A value of the context, or a file that it names, cannot be used."""

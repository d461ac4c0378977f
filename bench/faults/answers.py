"""What must come back; apart from what makes it, so that askers stay small."""

import json
from pathlib import Path
from typing import Any

Answer = tuple[Any, list[float]]
"""A prediction, and the probabilities of all labels."""


class Answers:
    """Knows what must come back."""

    def __init__(self, path: Path) -> None:
        fields = json.loads(path.read_bytes())
        self.rows: list[dict[str, Any]] = fields["rows"]
        self._answers: dict[str, list[Answer]] = fields["answers"]

    def difference(
        self, version: str, picked: list[int], predictions: Any, probabilities: Any
    ) -> str:
        """What is wrong with an answer; empty where it is right to the last bit."""
        expected = self._answers.get(version)
        if expected is None:
            return f"version: got {version!r}, expected one of {', '.join(self._answers)}"
        # `repr` tells each double from all others, and 0.0 from -0.0.
        wanted = repr([[expected[at][0] for at in picked], [expected[at][1] for at in picked]])
        got = repr([list(predictions), [list(it) for it in probabilities or ()]])
        return "" if got == wanted else f"rows {picked}: got {got[:200]}, expected {wanted[:200]}"

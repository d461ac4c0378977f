"""What stands in the way of a budget that is not met: one sentence each, written by hand.

A remark is shown where a run misses its budget, and nowhere else. Name the evidence: a stage's
share, an import, a line of a profile.
"""

from collections.abc import Iterable, Iterator, Mapping

from bench.budgets import Verdict

REMARKS: Mapping[tuple[str, str], str] = {}
"""By the budget's key and the model, or `""` for all models."""

_NONE = "nobody has said yet what stands in the way; bench/remarks.py is the place"


def explain(
    verdicts: Iterable[Verdict], remarks: Mapping[tuple[str, str], str] = REMARKS
) -> Iterator[str]:
    """A sentence for each budget that was missed."""
    for verdict in verdicts:
        if verdict.met is False:
            why = remarks.get((verdict.key, verdict.model)) or remarks.get((verdict.key, ""), _NONE)
            yield f"{verdict.what}, model {verdict.model}: {why}"

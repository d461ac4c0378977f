"""What stands in the way of a budget that is not met: one sentence each, written by hand.

A remark is shown where a run misses its budget, and nowhere else. Name the evidence: a stage's
share, an import, a line of a profile.
"""

from collections.abc import Iterable, Iterator, Mapping

from bench.budgets import Verdict

_TURNS = (
    "threads of one interpreter take turns of 5 ms, and even those that only count get but 0.96 of "
    "what one does (the rows `interpreter`); at each turn a request of a few µs finds the trees in "
    "the other core's cache. No door has such callers: a Lambda has one, consumers on the bus are "
    "processes (the next row), and batches get up to twice as much done"
)
_BUS = (
    "of some 100 µs beside the echo, the answer itself is 8 to 35 when warm; the rest is a process "
    "that slept, whose caches are cold, and the accounts of the queue (a profile of the component "
    "shows no other place); before requests were answered by the thread that reads them it was 200"
)

REMARKS: Mapping[tuple[str, str], str] = {
    ("concurrency", ""): _TURNS,
    ("cold", ""): (
        "seven starts with an interquartile range of a quarter of their median; of what we add, "
        "imports are 6 ms, and a forest of 3 MB is 4: to map it, check its CRC-32 (1.2) and each "
        "of its 376 000 nodes (2.3)"
    ),
    ("bus", ""): _BUS,
}
"""By the budget's key and the model, or `""` for all models."""

_NONE = "nobody has said yet what stands in the way; bench/remarks.py is the place"


def explain(
    verdicts: Iterable[Verdict], remarks: Mapping[tuple[str, str], str] = REMARKS
) -> Iterator[str]:
    """A sentence for each budget that was missed, once for all models that it is true of."""
    models: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        if verdict.met is False:
            why = remarks.get((verdict.key, verdict.model)) or remarks.get((verdict.key, ""), _NONE)
            models.setdefault((verdict.what, why), []).append(verdict.model)
    for (what, why), those in models.items():
        yield f"{what}, model{'s' * (len(those) > 1)} {', '.join(those)}: {why}"

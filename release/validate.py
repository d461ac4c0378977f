"""The gate: replays a bundle's golden rows against a target, and tries what has to be refused."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from model.bundle import Bundle
from release.cases import Case, bad_cases, good_cases
from release.errors import CommandError
from release.targets import Target

TIMED_REQUESTS = 300
MAX_FAILURES = 20
"""Failures listed for each group; the rest are counted."""

_COLD_START = """
import sys
from container import lambda_function
lambda_function.handler(sys.stdin.buffer.read(), None)
"""


@dataclass(slots=True)
class Group:
    """The cases of one kind, counted.

    Attributes:
        name: the kind.
        passed: cases as they have to be.
        failed: the others.
        failures: what was wrong, for the first `MAX_FAILURES`.
    """

    name: str
    passed: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, case: Case, problem: str | None) -> None:
        """Counts a case; `problem` is None where it passed."""
        if problem is None:
            self.passed += 1
            return
        self.failed += 1
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(f"{case.name}: {problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the gate saw.

    Attributes:
        name: the model's.
        version: the model's.
        digest: the bundle's.
        target: as the user named it.
        created: when, ISO 8601 in UTC.
        machine: the architecture of the machine that asked.
        exact: whether every bit had to be equal (the architecture that packed the bundle).
        groups: what was tried, and how it went.
        skipped: cases that this target's own API does not let through.
        first_invocation_ms: process start, init phase and first prediction together; for a target
            that was running before, its first answer.
        init_ms: the init phase as the platform reports it, None where it does not.
        latency_ms: `(n_requests,)` of warm requests of one row.
    """

    name: str
    version: str
    digest: str
    target: str
    created: str
    machine: str
    exact: bool
    groups: Sequence[Group]
    skipped: int
    first_invocation_ms: float
    init_ms: float | None
    latency_ms: Sequence[float]

    @property
    def passed(self) -> bool:
        """Whether nothing differed."""
        return self.n_failed == 0

    @property
    def n_checks(self) -> int:
        """How many cases were tried."""
        return sum(group.passed + group.failed for group in self.groups)

    @property
    def n_failed(self) -> int:
        """How many of them did not go as they have to."""
        return sum(group.failed for group in self.groups)

    @property
    def p50_ms(self) -> float:
        """The median of the warm requests."""
        return statistics.median(self.latency_ms)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the warm requests."""
        return statistics.quantiles(self.latency_ms, n=100)[98]

    def to_json(self) -> str:
        """The report for programs."""
        fields = {
            **asdict(self),
            "passed": self.passed,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
        }
        return json.dumps(fields, indent=1, ensure_ascii=False)


def all_cases(bundle: Bundle) -> list[Case]:
    """Every case of the gate for a bundle, the good ones first."""
    return [*good_cases(bundle), *bad_cases(bundle)]


def validate(
    bundle: Bundle,
    target: Target,
    cases: Sequence[Case],
    *,
    cold_start_of: Path | None = None,
    on_request: Callable[[], object] = lambda: None,
) -> Report:
    """The report of the gate on a target.

    Args:
        bundle: whose golden rows are replayed.
        target: who has to answer them.
        cases: `all_cases(bundle)`.
        cold_start_of: a bundle's directory, to measure the first invocation in a fresh process
            here, where the target itself is this process.
        on_request: called after each case and each of the `TIMED_REQUESTS`.

    Raises:
        CommandError: the target does not answer at all.
    """
    event = json.dumps({"records": [bundle.golden[0].row]}).encode()
    first_ms = target.invoke(event).seconds * 1000
    init_ms = target.cold_start_ms()
    if cold_start_of is not None:
        first_ms = _fresh_process_ms(cold_start_of, event)
    groups: dict[str, Group] = {}
    skipped = 0
    for case in cases:
        if case.is_json or target.takes_any_bytes:
            group = groups.setdefault(case.group, Group(case.group))
            group.add(case, _try(target, case))
        else:
            skipped += 1
        on_request()
    latency_ms = []
    for _ in range(TIMED_REQUESTS):
        latency_ms.append(target.invoke(event).seconds * 1000)
        on_request()
    return Report(
        name=bundle.manifest.name,
        version=bundle.manifest.version,
        digest=bundle.digest,
        target=target.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=platform.machine(),
        exact=bundle.is_exact,
        groups=list(groups.values()),
        skipped=skipped,
        first_invocation_ms=first_ms,
        init_ms=init_ms,
        latency_ms=latency_ms,
    )


def _try(target: Target, case: Case) -> str | None:
    try:
        return case.check(target.invoke(case.event).json())
    except CommandError as error:
        return str(error)


def _fresh_process_ms(bundle_path: Path, event: bytes) -> float:
    """From the start of a new interpreter to its first prediction."""
    start = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, "-c", _COLD_START],
        env={**os.environ, "EDGEXGB_BUNDLE": str(bundle_path.resolve())},
        input=event,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if finished.returncode:
        raise CommandError(f"a fresh process: got exit code {finished.returncode}, expected 0")
    return (time.perf_counter() - start) * 1000

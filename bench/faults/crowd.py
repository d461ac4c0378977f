"""Processes that ask, and those that only make trouble, as seen from the bench."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from bench.faults.asker import CONNECTIONS
from bench.faults.ledger import Ledger
from bench.models import ROOT

_STOP_S = 20.0


class Child:
    """A module of the bench in a process of its own; its orders are lines on stdin."""

    def __init__(self, module: str, specification: dict[str, Any], errors: Path) -> None:
        with errors.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"bench.faults.{module}", json.dumps(specification)],
                cwd=ROOT,
                env={**os.environ, **specification.get("environment", {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )

    def order(self, **fields: object) -> None:
        """Sends a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(fields)}\n")
        self.process.stdin.flush()

    def wait_ready(self) -> None:
        """Returns when it has said its first line, or ended."""
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def end(self) -> str:
        """Ends it in peace; what it said that nobody has read yet."""
        try:
            said, _ = self.process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            said, _ = self.process.communicate()
        return said


class Asker:
    """A consumer, which is started again when it is killed.

    Attributes:
        name: in the ledger, with a number that each start has.
        child: its process.
    """

    def __init__(
        self, name: str, ledger: Ledger, specification: dict[str, Any], errors: Path
    ) -> None:
        self.name = name
        self._base = name
        self._ledger = ledger
        self._specification = specification
        self._errors = errors
        self._n_starts = 0
        self._is_ending = False
        self.start()

    def start(self) -> None:
        """Starts it, again."""
        self._n_starts += 1
        self.name = f"{self._base}.{self._n_starts}"
        seed = 100 * self._specification["seed"] + self._n_starts
        self.child = Child("asker", {**self._specification, "seed": seed}, self._errors)
        self._reader = threading.Thread(
            target=self._read, args=(self.child, self.name), daemon=True, name=self.name
        )
        self._reader.start()

    def connections(self) -> list[str]:
        """Those who ask in it, as the ledger calls them."""
        return [f"{self.name} {who}" for who in CONNECTIONS]

    def kill(self) -> int:
        """SIGKILL; how many of its requests have nobody any more who waits."""
        self.child.process.kill()
        self.child.process.wait()
        self._reader.join(_STOP_S)
        for stream in (self.child.process.stdin, self.child.process.stdout):
            if stream is not None:
                stream.close()
        return sum(map(self._ledger.gone, self.connections()))

    def end(self) -> None:
        """Ends it once its last requests have ended."""
        self._is_ending = True
        process = self.child.process
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018
        process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self._ledger.violate("hung", 0.0, f"{self.name} did not end")
        self._reader.join(_STOP_S)
        process.stdout.close()

    def _read(self, child: Child, name: str) -> None:
        assert child.process.stdout is not None
        for line in child.process.stdout:
            try:
                kind, who, *fields = json.loads(line)
            except ValueError:  # it was killed in the middle of a line
                continue
            if kind == "begin":
                self._ledger.begin(f"{name} {who}", *fields)
            elif kind == "end":
                self._ledger.end(f"{name} {who}", *fields)
            elif kind == "probed":
                self._ledger.probed(f"{name} {who}", *fields)
            elif kind == "queue":
                self._ledger.queue(*fields)
            elif kind == "odd":
                what, at_s, text = fields
                self._ledger.odd(what, at_s, f"{name}: {text}")
            else:
                self._ledger.note(*fields)

"""Section 6: request to reply over the bus of a core device on this machine.

Consumers are raw: they publish bytes, and wait for the bytes of the reply. So the ratio to the echo
component is what inference adds to the bus, with no client's own cost in both of its terms.
"""

import contextlib
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from bench.device import ECHO, OURS, UNBATCHED, BusDevice, run_device
from bench.models import SPECS, build
from bench.plan import Plan
from bench.progress import Progress
from bench.spread import quantiles, spread
from bench.ways import Ours

_TIMEOUT_S = 30.0


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """By model and component: `latency` by consumers, and `window` by requests in flight."""
    progress.begin(len(plan.bus_models) * (1 + len(plan.consumers) + len(plan.windows)))
    return {model: _measure_model(plan, progress, model) for model in plan.bus_models}


def _measure_model(plan: Plan, progress: Progress, model: str) -> dict[str, Any]:
    progress.step(f"model {model}, the core device starts")
    directory = build(SPECS[model])
    records = [json.loads(line) for line in _lines(directory)]
    body = json.loads(Ours(directory, 1).answer(json.dumps(records[0])))["body"]
    encoded = (body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))).encode()
    found: dict[str, Any] = {
        name: {"latency": {}, "window": {}} for name in (ECHO, OURS, UNBATCHED)
    }
    with run_device(directory / "bundle", encoded) as device, contextlib.ExitStack() as stack:
        consumers = {
            name: [
                stack.enter_context(_Consumer(device, name, number, records))
                for number in range(max(plan.consumers))
            ]
            for name in found
        }
        for those in consumers.values():
            _ask_together(those, 20)  # warms up
        for n in plan.consumers:
            progress.step(f"model {model}, consumers {n}")
            _measure_latency(plan, consumers, found, n)
        for window in plan.windows:
            progress.step(f"model {model}, requests in flight {window}")
            _measure_window(plan, consumers, found, window)
    return found


_Consumers = dict[str, "list[_Consumer]"]


def _measure_latency(plan: Plan, consumers: _Consumers, found: dict[str, Any], n: int) -> None:
    turns: dict[str, list[list[float]]] = {name: [] for name in found}
    rates: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(plan.bus_rounds):
        for name, those in consumers.items():
            start = time.perf_counter()
            turns[name].append(_ask_together(those[:n], plan.bus_requests))
            rates[name].append(n * plan.bus_requests / (time.perf_counter() - start))
    for name, entry in found.items():
        entry["latency"][f"consumers_{n}"] = {
            "us": spread(turns[name]).to_json(),
            "quantiles": quantiles(turns[name]),
            "per_second": spread([rates[name]]).p50,
        }


def _measure_window(plan: Plan, consumers: _Consumers, found: dict[str, Any], window: int) -> None:
    floods: dict[str, list[dict[str, float]]] = {name: [] for name in found}
    for _ in range(min(3, plan.bus_rounds)):
        for name, those in consumers.items():
            floods[name].append(those[0].flood(plan.flood, window))
    for name, entry in found.items():
        entry["window"][f"in_flight_{window}"] = {
            key: spread([[flood[key] for flood in floods[name]]]).p50
            for key in ("answered_per_second", "busy_share")
        }


def _lines(directory: Path) -> list[str]:
    return (directory / "requests-1.jsonl").read_text().splitlines()


class _Consumer:
    """A connection that asks one component."""

    def __init__(
        self, device: BusDevice, component: str, number: int, records: Sequence[Any]
    ) -> None:
        self._topic = f"{component}/requests"
        reply_to = f"{component}/results/{number}"
        self._bodies = [
            json.dumps({"records": rows, "replyTo": reply_to}, separators=(",", ":")).encode()[:-1]
            for rows in records
        ]
        self._replies: SimpleQueue[bytes] = SimpleQueue()
        self._next = 0
        self._bus = device.connect()
        self._bus.subscribe(reply_to, self._replies.put, lambda _error: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.close()

    def ask(self, n: int) -> list[float]:
        """Microseconds from request to reply, of so many requests one after the other.

        Raises:
            RuntimeError: a reply is none.
        """
        found = []
        for _ in range(n):
            start = time.perf_counter()
            self._send()
            reply = self._replies.get(timeout=_TIMEOUT_S)
            found.append((time.perf_counter() - start) * 1e6)
            if b'"statusCode":200' not in reply.replace(b" ", b""):
                raise RuntimeError(f"{self._topic}: got {reply[:200]!r}, expected a prediction")
        return found

    def flood(self, n: int, window: int) -> dict[str, float]:
        """Requests of which so many are without a reply at any time; what became of them."""
        n_busy = in_flight = 0
        start = time.perf_counter()
        for number in range(n + window):
            if number < n:
                self._send()
                in_flight += 1
            if in_flight and (in_flight >= window or number >= n):
                reply = self._replies.get(timeout=_TIMEOUT_S)
                n_busy += b'"busy"' in reply
                in_flight -= 1
        seconds = time.perf_counter() - start
        return {"answered_per_second": (n - n_busy) / seconds, "busy_share": n_busy / n}

    def _send(self) -> "Future[None]":
        self._next += 1
        body = self._bodies[self._next % len(self._bodies)]
        return self._bus.publish(self._topic, b'%b,"id":%d}' % (body, self._next))


def _ask_together(consumers: Sequence[_Consumer], n: int) -> list[float]:
    """Microseconds of all requests of consumers that ask at once, each in a thread.

    Raises:
        RuntimeError: a consumer failed.
    """
    if len(consumers) == 1:
        return consumers[0].ask(n)
    found: list[float] = []
    failures: list[BaseException] = []

    def ask(consumer: _Consumer) -> None:
        try:
            found.extend(consumer.ask(n))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(one,), daemon=True) for one in consumers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"a consumer failed: {failures[0]}") from failures[0]
    return found

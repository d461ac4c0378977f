"""How much to measure: everything, little in a few minutes, or just enough to see that it works."""

from dataclasses import dataclass

WAYS = ("sample", "inplace", "capi", "ours", "onnx", "tl2cgen", "mlserver")
"""In the order of the tables; see `bench.ways` and `bench.competitors`."""

COMPETITORS = frozenset({"onnx", "tl2cgen", "mlserver"})
"""Those that run in an environment of their own, where it is there."""

CONVERTED = frozenset({"onnx", "tl2cgen"})
"""Those that make a file of their own from a model, once."""

LONG_ROWS = 100_000
"""From here on a batch takes seconds."""

LONG_WAYS = frozenset({"inplace", "capi", "ours", "onnx", "tl2cgen"})
"""Those that get long batches: the others end in the same call of XGBoost as `inplace`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run measures.

    Attributes:
        name: of the plan.
        sections: to measure where none is asked for.
        models: to measure, by the names in `bench.models.SPECS`.
        ways: to compare.
        rounds: turns of each way, where a turn takes at least `turn_s`.
        turn_s: seconds of one turn.
        batch_rows: sizes of batches.
        batch_rounds: turns of each batch.
        threads: counts of threads that predict batches.
        callers: how many call at once, one first.
        caller_rows: in each of their calls.
        caller_rounds: turns of callers.
        caller_s: seconds of one of these turns.
        starts: process starts of each way.
        start_ways: to start.
        imports: to break down by package, by the names in `bench.starts`.
        cold: first invocations of each function.
        warm: invocations of each warm function, in each of `rounds` turns.
        bus_requests: of each consumer in each turn.
        bus_rounds: turns on the bus.
        consumers: how many ask at once.
        windows: requests without an answer yet, by which the bus is filled.
        bus_models: to measure on the bus.
        flood: requests of one turn that fills the bus.
        growth: how many sizes models grow to, in each dimension.
    """

    name: str
    sections: tuple[str, ...] = (
        *("rows", "batches", "concurrency", "starts", "invocations", "bus", "growth"),
    )
    models: tuple[str, ...] = ("a", "b", "c")
    ways: tuple[str, ...] = WAYS
    rounds: int = 20
    turn_s: float = 0.03
    batch_rows: tuple[int, ...] = (1, 10, 100, 1_000, 10_000, LONG_ROWS)
    batch_rounds: int = 5
    threads: tuple[int, ...] = (1, 2)
    callers: tuple[int, ...] = (1, 2, 4)
    caller_rows: tuple[int, ...] = (1, 100, 10_000)
    caller_rounds: int = 9
    caller_s: float = 0.1
    starts: int = 7
    start_ways: tuple[str, ...] = WAYS
    imports: tuple[str, ...] = ("Lambda", "device", "sample")
    cold: int = 7
    warm: int = 25
    bus_requests: int = 100
    bus_rounds: int = 7
    consumers: tuple[int, ...] = (1, 2, 4, 8)
    windows: tuple[int, ...] = (1, 4, 16, 64, 128, 256)
    bus_models: tuple[str, ...] = ("a", "b", "c")
    flood: int = 1_000
    growth: int = 5


FULL = Plan(name="full")

QUICK = Plan(
    name="quick",
    sections=("rows", "batches", "concurrency", "starts", "invocations", "bus"),
    ways=("sample", "inplace", "capi", "ours", "onnx"),
    rounds=7,
    turn_s=0.01,
    batch_rows=(1, 100, 1_000, 10_000),
    batch_rounds=2,
    threads=(1,),
    callers=(1, 4),
    caller_rounds=4,
    caller_s=0.05,
    starts=2,
    start_ways=("sample", "capi", "ours"),
    cold=2,
    warm=15,
    bus_requests=40,
    bus_rounds=3,
    consumers=(1, 8),
    windows=(1, 64, 256),
    bus_models=("a",),
    flood=300,
    growth=0,
)

SMOKE = Plan(
    name="smoke",
    sections=("rows", "batches", "concurrency", "starts"),
    models=("tiny",),
    ways=("capi", "ours"),
    rounds=2,
    turn_s=0.0,
    batch_rows=(1, 1_000),
    batch_rounds=1,
    threads=(1,),
    callers=(1, 2),
    caller_rows=(1, 10),
    caller_rounds=2,
    caller_s=0.0,
    starts=1,
    start_ways=("ours",),
    imports=("Lambda",),
    cold=1,
    warm=2,
    bus_requests=5,
    bus_rounds=1,
    consumers=(1, 2),
    windows=(1, 4),
    bus_models=("tiny",),
    flood=20,
    growth=1,
)

PLANS = {plan.name: plan for plan in (FULL, QUICK, SMOKE)}

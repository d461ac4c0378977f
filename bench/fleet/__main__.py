"""A fleet on one machine: a bad model ends at the canaries, a good one reaches all.

python -m bench.fleet                       20 devices, 2 of them canaries
python -m bench.fleet --write-docs          the same, as docs/fleet.md

Exit codes: 0; 1 where an expectation is not met, or something failed; 130 when interrupted.
"""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from bench.fleet.bundles import Bundles, make_bundles
from bench.fleet.devices import DevicePlan, Fleet, end_leftovers, plan_devices
from bench.fleet.document import write_document
from bench.fleet.expect import Check, check_bad, check_good, check_lost, describe_gaps
from bench.fleet.phase import GAP_S, Phase, run_phase
from bench.fleet.screen import Screen
from bench.fleet.settings import Settings
from bench.fleet.traffic import Traffic
from bench.machine import describe_run
from bench.models import ROOT
from model.errors import BundleError
from nucleus.errors import DeviceError
from release.device import whole
from release.errors import CommandError

INTERRUPTED = 130
"""The exit code after a Ctrl-C. Source: bash(1), 128 and the number of SIGINT."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

BAD, GOOD = "a bad model: the canaries refuse it", "a good one: it reaches all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    parser = _parser()
    words = parser.parse_args(arguments)
    if words.canaries + words.lite >= words.devices:
        parser.error(
            f"--devices: got {words.devices}, expected more than --canaries and --lite together"
        )
    settings = Settings(
        devices=words.devices,
        canaries=words.canaries,
        lite=words.lite,
        minute_s=words.minute,
        at_once=words.at_once,
        pause_s=words.pause,
    )
    screen = Screen(Console(highlight=False))
    run = describe_run("fleet")
    start = time.monotonic()
    try:
        bundles = make_bundles(words.out / "bundles", is_new=not words.reuse_bundles)
        with _folder(words.root) as folder:
            phases, checks = _run(folder, bundles, settings, screen)
    except (BundleError, CommandError, DeviceError, OSError) as error:
        print(f"bench.fleet: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; every device was stopped", file=sys.stderr)
        return INTERRUPTED
    met = sum(check.is_met for check in checks)
    seconds = time.monotonic() - start
    screen.say(f"{met} of {len(checks)} expectations met, in {seconds:.0f} s")
    # It takes a second to import, and a device is up in less.
    from bench.fleet.plot import draw_timeline

    picture = words.out / "fleet.png"
    draw_timeline(phases, picture)
    found = {title: asdict(phase) for title, phase in phases.items()}
    (words.out / "fleet.json").write_text(json.dumps({**run, "phases": found}, indent=1))
    print(picture)
    if words.docs is not None:
        facts = [
            f"{run['started']}, {seconds:.0f} s, commit {run['commit']}",
            f"{run['machine']['cpu']}, {run['machine']['cores']} cores, {run['machine']['kernel']}",
            f"load before it, of others' work: {run['machine']['load']:g} (1 minute)",
            f"Python {run['python']}",
        ]
        write_document(
            words.docs,
            picture,
            screen.lines,
            facts,
            words=_shown(words),
            gap_s=GAP_S,
            **asdict(settings),
        )
        print(words.docs)
    return 0 if met == len(checks) else 1


def _run(
    folder: Path, bundles: Bundles, settings: Settings, screen: Screen
) -> tuple[dict[str, Phase], list[Check]]:
    """The two updates, and what was expected of them.

    Raises:
        BundleError: what was packed cannot be opened.
        CommandError: something does not start, or answer.
        DeviceError: a device has ended, or one of an earlier run still runs.
        OSError: a file cannot be written.
    """
    for word, bundle in (("runs", bundles.old), ("bad ", bundles.bad), ("good", bundles.good)):
        screen.say(f"{word}  {bundle}")
    plans = plan_devices(folder, settings.devices, settings.lite)
    leftovers: list[str] = []
    with _stopped(plans, bundles, leftovers, screen) as fleet:
        _start(fleet, plans, settings, screen)
        phases, checks = _update_twice(plans, bundles, settings, screen)
        used = fleet.resident_bytes() / 1e9
        screen.say(f"{used:.1f} GB are resident in all processes, shared pages counted for each")
    text = f"{len(leftovers)} processes were left behind {leftovers or ''}".rstrip()
    checks.append(Check(not leftovers, text))
    screen.say(str(checks[-1]), "red" if leftovers else "")
    return phases, checks


@contextlib.contextmanager
def _stopped(
    plans: Sequence[DevicePlan], bundles: Bundles, leftovers: list[str], screen: Screen
) -> Iterator[Fleet]:
    """A fleet that is stopped at the end, and nothing of it left, whatever is pressed meanwhile."""
    fleet = Fleet(plans, bundles.old.path)
    try:
        yield fleet
    finally:
        with _uninterrupted():
            start = time.monotonic()
            fleet.stop()
            leftovers += end_leftovers(plan.root for plan in plans)
            screen.say(f"all devices stopped after {time.monotonic() - start:.0f} s")


def _start(fleet: Fleet, plans: Sequence[DevicePlan], settings: Settings, screen: Screen) -> None:
    start = time.monotonic()
    with screen.live():
        fleet.start(settings.at_once, lambda n: screen.show_start(n, len(plans)))
    lite = f", {settings.lite} of them as nucleus lite" if settings.lite else ""
    screen.say(f"{len(plans)} devices run{lite}, after {time.monotonic() - start:.0f} s")


def _update_twice(
    plans: Sequence[DevicePlan], bundles: Bundles, settings: Settings, screen: Screen
) -> tuple[dict[str, Phase], list[Check]]:
    phases: dict[str, Phase] = {}
    checks: list[Check] = []
    traffic = Traffic(plans, bundles.old.rows, settings.pause_s)

    def expect(phase: Phase, found: list[Check]) -> None:
        screen.say(f"over after {phase.seconds:.1f} s")
        for check in found:
            screen.say(str(check), "" if check.is_met else "red")
        screen.say(describe_gaps(phase))
        checks.extend(found)

    with traffic.run():
        for title, bundle in ((BAD, bundles.bad), (GOOD, bundles.good)):
            screen.say("")
            screen.say(f"{bundles.old.model} -> {bundle.model}, {title}", "bold")
            with screen.live():
                phases[title] = run_phase(
                    plans,
                    traffic,
                    (bundles.old, bundle),
                    settings=settings,
                    show=screen.show_states,
                )
            if title == BAD:
                expect(phases[BAD], list(check_bad(phases[BAD])))
            else:
                n_told = sum(device.told_s is not None for device in phases[BAD].devices)
                expect(phases[GOOD], list(check_good(phases[GOOD], n_told)))
    screen.say("")
    n_answers = sum(watched.n_answers for watched in traffic.watched.values())
    lost = check_lost(sum(watched.n_lost for watched in traffic.watched.values()), n_answers)
    screen.say(str(lost), "" if lost.is_met else "red")
    return phases, [*checks, lost]


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """The directory of the devices; a temporary one in place of none, with a short path."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="edgexgb-fleet-") as name:
        yield Path(name)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Whoever presses Ctrl-C once more has to wait: the devices are stopping already."""
    old = [signal.signal(number, signal.SIG_IGN) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(_SIGNALS, old, strict=True):
            signal.signal(number, handler)


def _interrupt(*_: object) -> NoReturn:
    """Ends the run; once, for whatever is cleaned up then has to come to its end."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _shown(words: argparse.Namespace) -> str:
    """The options that are not the defaults', for the document's command line."""
    names = ("devices", "canaries", "lite", "minute", "at_once", "pause")
    defaults = _parser().parse_args([])
    return "".join(
        f" --{name.replace('_', '-')} {getattr(words, name):g}"
        for name in names
        if getattr(words, name) != getattr(defaults, name)
    )


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 86_400:
            return float(text)
    raise argparse.ArgumentTypeError(f"got {text!r}, expected a number of seconds above 0")


def _none_or_more(text: str) -> int:
    if not text.isdigit() or int(text) >= 10**6:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter

    def add(name: str, kind: Any, default: float, text: str) -> None:
        parser.add_argument(
            name, type=kind, default=default, metavar="N", help=f"{text} (default: {default:g})"
        )

    add("--devices", whole, defaults.devices, "core devices")
    add("--canaries", whole, defaults.canaries, "of them, the first")
    add("--lite", _none_or_more, defaults.lite, "of them, the last, as nucleus lite")
    add("--minute", _seconds, defaults.minute_s, "seconds that a minute of the rules lasts here")
    add("--at-once", whole, defaults.at_once, "devices that start, or are updated, at a time")
    add("--pause", _seconds, defaults.pause_s, "seconds from an answer to the next request")
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIRECTORY",
        help="of the devices, whose logs stay there (default: a temporary one)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "build" / "fleet",
        metavar="DIRECTORY",
        help="where bundles, JSON and the picture go (default: build/fleet)",
    )
    parser.add_argument(
        "--reuse-bundles",
        action="store_true",
        help="take those of an earlier run from there (default: they are trained anew)",
    )
    parser.add_argument(
        "--write-docs",
        dest="docs",
        type=Path,
        nargs="?",
        const=ROOT / "docs" / "fleet.md",
        metavar="FILE",
        help="write the run as Markdown, with the picture beside it (default: docs/fleet.md)",
    )
    return parser


if __name__ == "__main__":
    for wanted in _SIGNALS:
        signal.signal(wanted, _interrupt)
    sys.exit(main())

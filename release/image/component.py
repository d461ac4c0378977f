"""The gate at the image's second door: the component, as its recipe runs it, on a core device.

The device is in this process, and its directory is a temporary one. Both end with the gate.
"""

import asyncio
import contextlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from container.handler import make_handler
from container.settings import LAMBDA_PAYLOAD_BYTES, Settings
from model.bundle import Bundle, open_bundle
from nucleus.device import Device, Placement
from nucleus.personality import PERSONALITIES
from nucleus.recipe import parse_recipe
from nucleus.root import DeviceRoot
from release.bus import connected
from release.cases import Case
from release.components import CONTAINER, INFERENCE, image_recipe
from release.device import look
from release.errors import CommandError
from release.image.facts import find_image
from release.image.lockdown import Problem, inspect_container, is_container, look_at
from release.image.target import BusTarget, payload_limit
from release.targets import InProcess
from release.validate import Group, Report, all_cases, validate

LITE_MESSAGE_BYTES = 6144
"""Of a reply, as in the recipe."""

_START_S = 300.0
_STOP_S = 120.0
_POLL_S = 0.02


def validate_component(  # noqa: PLR0913  (the keywords are settings with defaults)
    image: str,
    bundle: Path,
    *,
    personality: str = "classic",
    configuration: Mapping[str, Any] | None = None,
    on_cases: Callable[[Sequence[Case]], object] = lambda _: None,
    on_request: Callable[[], object] = lambda: None,
) -> Report:
    """The report of the gate on an image as the component.

    Besides what `validate` tries there are two groups: whether the container is shut in as the
    recipe says, and whether anything of it is left once the device has stopped it. Cases whose
    event or reply no message of that nucleus can hold count as skipped.

    Args:
        image: of this machine, by tag or digest.
        bundle: the directory of the bundle that it was built of.
        personality: the nucleus: `classic` or `lite`.
        configuration: merged into the component's own, such as `{"memory": "256m"}`.
        on_cases: called once with the cases that will be tried.
        on_request: see `validate`.

    Raises:
        BundleError: the bundle cannot be opened.
        CommandError: there is no such image, docker or daemon; the component does not run or does
            not answer; or a container of its name runs, of another device.
    """
    is_lite = personality == "lite"
    max_reply_bytes = LITE_MESSAGE_BYTES if is_lite else LAMBDA_PAYLOAD_BYTES
    merged = {"maxMessageBytes": str(max_reply_bytes), **(configuration or {})}
    with contextlib.closing(open_bundle(bundle)) as opened:
        every = all_cases(opened)
        cases = _fitting(opened, every, personality, max_reply_bytes)
        on_cases(cases)
        with running_component(image, personality=personality, configuration=merged) as component:
            with connected(component.root) as device:
                name = f"component:{personality}"
                target = BusTarget(name, device, lambda: component.ready_ms)
                report = validate(opened, target, cases, on_request=on_request)
            locked = _group("locked down", component.look())
    left = _group("nothing left behind", [("container", _leftover())])
    return replace(
        report,
        groups=[*report.groups, locked, left],
        skipped=report.skipped + len(every) - len(cases),
    )


@dataclass(slots=True)
class ImageComponent:
    """The component while it runs in its container.

    Attributes:
        root: the device's directory.
        image: the digest of the component's image.
        limits: the component's configuration.
        ready_ms: from the start of the recipe's script to RUNNING.
    """

    root: DeviceRoot
    image: str
    limits: Mapping[str, Any]
    ready_ms: float = 0.0

    def look(self) -> list[Problem]:
        """Each thing that keeps the container in, and what is wrong with it.

        Raises:
            CommandError: there is no container any more.
        """
        client = psutil.Process(_status(self.root)["pid"])
        token = client.environ()["SVCUID"]
        log = self.root.log(INFERENCE).read_text(errors="replace")
        arguments = [word for process in psutil.process_iter() for word in _words(process)]
        container = inspect_container(INFERENCE)
        return [
            *look_at(container, self.image, self.limits, token),
            ("token in the log", "got it, expected none" if token in log else None),
            ("token in arguments", "got it, expected none" if token in str(arguments) else None),
        ]


@contextlib.contextmanager
def running_component(
    image: str,
    *,
    personality: str = "classic",
    configuration: Mapping[str, Any] | None = None,
) -> Iterator[ImageComponent]:
    """The component of an image, RUNNING on a core device of its own.

    Raises:
        CommandError: there is no such image, docker or daemon; the component does not run; or a
            container of its name runs, of another device.
    """
    # What it has to say of a recipe's steps on lite is nothing for those who ask for a report.
    logging.getLogger("nucleus").addHandler(logging.NullHandler())
    digest = find_image(image).id
    if is_container(INFERENCE):
        expected = f"none: stop its device, or `docker rm --force {INFERENCE}`"
        raise CommandError(f"{INFERENCE}: got a container of that name, expected {expected}")
    place, text = image_recipe(digest)
    defaults = parse_recipe(text, place).configuration
    with tempfile.TemporaryDirectory(prefix="edgexgb-") as folder:
        device = _ThreadedDevice(
            Path(folder) / "device", Placement(place=place, recipe=text), personality, configuration
        )
        limits = {**defaults, **(configuration or {})}
        component = ImageComponent(root=device.root, image=digest, limits=limits)
        with device.running():
            component.ready_ms = device.wait_ready_ms()
            yield component


@dataclass(slots=True)
class _Moments:
    """When the component was first said to be in each state, in seconds of `time.perf_counter`."""

    seen: dict[str, float] = field(default_factory=dict)

    def show(self, line: str) -> None:
        """Takes a line that the device has for people."""
        if line.startswith(f"{INFERENCE} "):
            state = line.partition(" is ")[2].partition(":")[0]
            self.seen.setdefault(state, time.perf_counter())


class _ThreadedDevice:
    """A core device whose event loop has a thread of this process."""

    def __init__(
        self,
        path: Path,
        placement: Placement,
        personality: str,
        configuration: Mapping[str, Any] | None,
    ) -> None:
        self.root = DeviceRoot(path)
        self._moments = _Moments()
        self._device = Device(
            self.root,
            [placement],
            configurations={INFERENCE: configuration or {}},
            personality=PERSONALITIES[personality],
            platform={"runtime": CONTAINER},
            show=self._moments.show,
        )
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="core device", daemon=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Has it run, and stops its component afterwards."""
        self._thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_STOP_S)

    def wait_ready_ms(self) -> float:
        """What the component took from the start of its script to RUNNING.

        Raises:
            CommandError: it does not run.
        """
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self._error is None:
            status = _status(self.root)
            if status.get("state") == "BROKEN":
                why = status["last_error"]
                raise CommandError(f"{INFERENCE}: got BROKEN ({why}), expected it to run")
            seen = self._moments.seen
            if "RUNNING" in seen:
                return (seen["RUNNING"] - seen["STARTING"]) * 1000
            time.sleep(_POLL_S)
        observed = "no start" if self._error is None else str(self._error)
        raise CommandError(f"{INFERENCE}: got {observed}, expected it to run") from self._error

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._device.run(self._stop))
        except BaseException as error:
            self._error = error
        finally:
            self._loop.close()


def _status(root: DeviceRoot) -> Mapping[str, Any]:
    """The component's status; empty before there is one."""
    components, _ = look(root, os.getpid())
    return next((it for it in components if it["name"] == INFERENCE), {})


def _fitting(
    bundle: Bundle, cases: Sequence[Case], personality: str, max_reply_bytes: int
) -> list[Case]:
    """The cases that a message of that nucleus can hold, and its reply, too."""
    limit = payload_limit(PERSONALITIES[personality].max_packet_bytes)
    free = InProcess(make_handler(bundle, Settings()))
    bound = InProcess(make_handler(bundle, Settings(max_reply_bytes=max_reply_bytes)))

    def fits(case: Case) -> bool:
        if len(case.event) > limit:
            return False
        replies = [target.invoke(case.event).json() for target in (free, bound)]
        return bool(replies[0]["statusCode"] == replies[1]["statusCode"])

    return [case for case in cases if fits(case)]


def _leftover() -> str | None:
    return "got one, expected none" if is_container(INFERENCE) else None


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error, OSError):
        return process.cmdline()
    return []


def _group(name: str, problems: Sequence[Problem]) -> Group:
    """Checks that are no requests, as a group of the report."""
    group = Group(name)
    for what, problem in problems:
        if problem is None:
            group.passed += 1
        else:
            group.failed += 1
            group.failures.append(f"{what}: {problem}")
    return group

"""The same rig with the component in a container, and what can only happen to it there."""

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import psutil

from bench.faults.bundles import VERSIONS
from bench.faults.fault import EVERYWHERE, Fault
from bench.faults.rig import Rig, RigError
from release.components import INFERENCE
from release.errors import CommandError
from release.image.build import build_image
from release.image.docker import run_docker
from release.image.facts import ImageFacts
from release.image.lockdown import is_container
from release.rollout.update import Update, image_update

_ON_HOST = ("--network", "host")
"""Build steps reach what this machine reaches, also where the daemon makes no bridges."""

_MEMORY = "80m"
"""Of the container: far more than the component takes under these faults, but for one of them."""

_FILL = """
with open("/dev/shm/ballast", "wb", buffering=0) as file:
    while file.write(bytes(65536)):
        pass
"""
"""Takes what is left of a container's memory; the component is the largest of its processes."""

_PYTHON = "/usr/bin/python3"
"""Of the image."""

_KILL_S = 10.0


class ContainerRig(Rig):
    """A rig whose device runs images, built of the same bundles; deployments are new images."""

    def prepare(self, stack: ExitStack) -> None:  # no clock: what makes it jump is in no image
        if os.geteuid() != 0:
            raise RigError("the user: got another than root, expected root: it stops containers")
        self._images: dict[str, ImageFacts] = {}
        self._found: tuple[int, psutil.Process] | None = None
        try:
            if is_container(INFERENCE):
                expected = f"none: stop its device, or `docker rm --force {INFERENCE}`"
                raise RigError(f"{INFERENCE}: got a container of that name, expected {expected}")
            stack.callback(self._remove)
            for version in VERSIONS:
                tag = f"edgexgb-faults-{os.getpid()}:{version}"
                bundle = self.material.bundles[version]
                self._images[version] = build_image(bundle, tag=tag, options=_ON_HOST)
        except CommandError as error:
            raise RigError(str(error)) from error

    def program(self) -> list[str]:
        return ["--image", self._images[VERSIONS[0]].id]

    def configuration(self) -> Mapping[str, Any]:
        return {**super().configuration(), "memory": _MEMORY}

    def update(self, version: str) -> Update:
        return image_update(self._images[version].id)

    def server(self) -> psutil.Process | None:
        """The component's process as this machine sees it: the child of the container's init."""
        client = super().server()
        if client is None:
            return None
        if self._found is None or self._found[0] != client.pid or not self._found[1].is_running():
            self._found = None
            with contextlib.suppress(CommandError, ValueError, psutil.Error):
                init = int(run_docker("inspect", "--format", "{{.State.Pid}}", INFERENCE))
                (process,) = psutil.Process(init).children()
                self._found = (client.pid, process)
        return None if self._found is None else self._found[1]

    def _remove(self) -> None:
        with contextlib.suppress(CommandError):
            run_docker("rm", "--force", INFERENCE)
            run_docker("image", "rm", "--force", *(it.reference for it in self._images.values()))


class ContainerOutOfMemory(Fault):
    """The container meets its memory limit, and the kernel kills the component."""

    name = "container killed for memory"
    restarts_on = EVERYWHERE
    takes_time = True
    expected = "the container ends with it, and the nucleus starts another, which says why"

    def inject(self, rig: Rig) -> str:
        if not isinstance(rig, ContainerRig):
            return "there is no container"
        began = f"{time.time():.6f}"
        done = subprocess.run(
            ["docker", "exec", INFERENCE, _PYTHON, "-IS", "-c", _FILL],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if "No such container" in done.stderr or "is not running" in done.stderr:
            return "nobody was there"
        rig.wait(lambda: _kills_since(began), "a kill for memory", _KILL_S)
        return f"no room in {_MEMORY}: the kernel has killed it"


def _kills_since(began: str) -> str:
    """Docker's events of a kill for memory; empty where there is none."""
    filters = ("--filter", f"container={INFERENCE}", "--filter", "event=oom")
    until = f"{time.time():.6f}"
    return run_docker("events", "--since", began, "--until", until, *filters)

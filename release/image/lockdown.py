"""Whether a container is shut in as the recipe says, as docker itself tells."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from release.image.docker import run_docker

Problem = tuple[str, str | None]
"""What was looked at, and what is wrong with it; None where nothing is."""

_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def inspect_container(name: str) -> Any:
    """What docker knows of a container.

    Raises:
        CommandError: there is none, or no docker or daemon.
    """
    return json.loads(run_docker("container", "inspect", name))[0]


def is_container(name: str) -> bool:
    """Whether there is a container of that name, running or not.

    Raises:
        CommandError: there is no docker or daemon.
    """
    form = ("--all", "--filter", f"name=^/{name}$", "--format", "{{.Names}}")
    return bool(run_docker("container", "ls", *form).strip())


def look_at(
    container: Mapping[str, Any], image: str, limits: Mapping[str, Any], secret: str
) -> Iterator[Problem]:
    """Each thing that keeps the container in, and what is wrong with it.

    Args:
        container: see `inspect_container`.
        image: its image's digest.
        limits: the component's configuration: `memory`, `cpus`, `pids`.
        secret: what must not be in `container`: the component's token.
    """
    host, config = container["HostConfig"], container["Config"]
    memory_bytes = to_bytes(str(limits["memory"]))
    for name, got, expected in (
        ("image", container["Image"], image),
        ("network", host["NetworkMode"], "none"),
        ("read-only root", host["ReadonlyRootfs"], True),
        ("temporary files", host["Tmpfs"], {"/tmp": "size=16m"}),  # noqa: S108
        ("capabilities", (host["CapDrop"], host["CapAdd"]), (["ALL"], None)),
        ("new privileges", host["SecurityOpt"], ["no-new-privileges"]),
        ("privileged", host["Privileged"], False),
        ("init", host["Init"], True),
        ("removed at its end", host["AutoRemove"], True),
        ("restarted by docker", host["RestartPolicy"]["Name"], "no"),
        ("a second log", host["LogConfig"]["Type"], "none"),
        ("memory", (host["Memory"], host["MemorySwap"]), (memory_bytes, memory_bytes)),
        ("processors", host["NanoCpus"], round(float(limits["cpus"]) * 1e9)),
        ("processes", host["PidsLimit"], int(limits["pids"])),
        ("ports", host["PortBindings"] or {}, {}),
        ("devices", host["Devices"] or [], []),
        ("volumes", [_mount(it) for it in container["Mounts"]], [("bind", "/greengrass", False)]),
    ):
        yield name, None if got == expected else f"got {got!r}, expected {expected!r}"
    user = config["User"].partition(":")[0]
    is_good = user not in {"", "0", "root"}
    yield "user", None if is_good else f"got {config['User']!r}, expected one without rights"
    is_there = secret in json.dumps(container)
    yield "token in docker inspect", "got it, expected none" if is_there else None


def _mount(mount: Mapping[str, Any]) -> tuple[str, str, bool]:
    return mount["Type"], mount["Destination"], mount["RW"]


def to_bytes(text: str) -> int:
    """Docker's `128m` as bytes.

    Source: docker/go-units, `RAMInBytes`: units of 1024, in either case, with or without a `b`.
    """
    lower = text.strip().lower()
    stem = lower.removesuffix("b") if lower[-2:-1].isalpha() else lower
    factor = _UNITS.get(stem[-1:], 1)
    return int(float(stem.rstrip("bkmg")) * factor)

"""An image as a Lambda: in a container of its own, behind AWS's emulator, on loopback.

The emulator is none of the image's: it is mounted, and starts the image's own entry point as Lambda
does. What Lambda denies a function is denied here: a root to write to, rights, more memory than
asked for, the user that the image names.

Source: aws-lambda-runtime-interface-emulator, README.
"""

import argparse
import contextlib
import http.client
import re
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from release.emulator import INVOCATIONS, find_binary
from release.errors import CommandError
from release.image.docker import explain, image_command, run_docker
from release.image.facts import OurImage, find_image
from release.image.owner import OWNER, owner, remove, remove_orphans, signals_held, start_client

DOOR = "edgexgb.door"
"""The label that says what a container is for."""

NOBODY = "12345:54321"
"""A user and a group that no image knows; Lambda's own are not the image's either."""

_EMULATOR = "/emulator"
_PORT = 8080
_START_S = 30.0
_STOP_S = 10
_GRACE_S = 2
_KEPT_LINES = 1000
_DOCKER_FAILED = 125
"""The exit code of `docker run` where docker itself failed. Source: docker run, exit status."""

_HINT = re.compile("(See|Run) 'docker ")
_TAKEN = re.compile("port is already allocated|address already in use")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a function may use.

    Attributes:
        memory_mb: as Lambda counts it, here with the emulator's own ten; there is no swap.
        cpus: processors; Lambda gives one at 1769 MB. Source: AWS Lambda, memory and CPU.
        pids: processes and threads.
        user: `UID` or `UID:GID`.
    """

    memory_mb: int = 128
    cpus: float = 1.0
    pids: int = 64
    user: str = NOBODY


class LambdaContainer:
    """A container that runs; `url` takes invocations until `stop`.

    Attributes:
        name: docker's name of it.
        url: of the emulator, without a path.
        image: the digest of the image that it runs, as docker says of the container itself.
    """

    def __init__(
        self,
        image: OurImage,
        *,
        port: int | None = None,
        limits: Limits | None = None,
        show_log: bool = False,
    ) -> None:
        """Starts it; the function itself starts with the first invocation.

        Args:
            image: what to run.
            port: on loopback; a free one where None.
            limits: of the container.
            show_log: whether what emulator and function write goes to our stderr, too.

        Raises:
            CommandError: no emulator, docker or daemon here, the port is taken, or no start.
        """
        remove_orphans()
        self.name = f"edgexgb-lambda-{secrets.token_hex(4)}"
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._stopped = False
        self._shows = False  # before the start it is docker that speaks, and we say it in one line
        command = lambda_command(image, name=self.name, port=port, limits=limits or Limits())
        self._client: subprocess.Popen[str] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        try:
            with signals_held():
                self._client = start_client(command)
            self._reader.start()
            self.url = self._wait_until_listening(port)
            self.image = self._ask("{{.Image}}").strip()
            self._shows = show_log
        except BaseException:
            self.stop()
            raise

    def log(self) -> str:
        """The last that emulator and function have written."""
        return "\n".join(self._lines)

    def is_running(self) -> bool:
        """Whether docker's client, and so the container, is still there."""
        return self._client is not None and self._client.poll() is None

    def stop(self) -> None:
        """Ends and removes the container; a second call does nothing."""
        if self._stopped or self._client is None:
            return
        end = time.monotonic() + _STOP_S
        # What docker is about to create can be removed only when it is there.
        while self.is_running() and not self._exists() and time.monotonic() < end:
            time.sleep(0.02)
        with contextlib.suppress(CommandError):
            run_docker("stop", "--time", str(_GRACE_S), self.name)
        remove(self.name)
        try:
            self._client.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._client.kill()
            self._client.wait()
        if self._reader.is_alive():
            self._reader.join(_GRACE_S)
        if self._client.stdout is not None:
            self._client.stdout.close()
        self._stopped = True

    def _read(self) -> None:
        assert self._client is not None
        assert self._client.stdout is not None
        with self._client.stdout as output:
            for line in output:
                self._lines.append(line.rstrip())
                if self._shows:
                    with contextlib.suppress(OSError):  # nobody reads any more
                        print(line, end="", file=sys.stderr, flush=True)

    def _exists(self) -> bool:
        with contextlib.suppress(CommandError):
            self._ask("{{.Id}}")
            return True
        return False

    def _ask(self, form: str) -> str:
        return run_docker("container", "inspect", "--format", form, self.name)

    def _wait_until_listening(self, port: int | None) -> str:
        """The emulator's address, once it answers there."""
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if not self.is_running():
                raise self._explain_end(port)
            with contextlib.suppress(CommandError, OSError, http.client.HTTPException):
                # One of a container that runs; each line is an address.
                address = run_docker("port", self.name, f"{_PORT}/tcp").split()[0]
                # Docker itself takes the connection, so that only an answer says anything. The
                # emulator knows no such path, and starts no function for it.
                connection = http.client.HTTPConnection(address, timeout=1)
                with contextlib.closing(connection):
                    connection.request("GET", "/")
                    connection.getresponse()
                    return f"http://{address}"
            time.sleep(0.01)
        raise CommandError(f"the container: got no answer in {_START_S:.0f} s, expected a start")

    def _explain_end(self, port: int | None) -> CommandError:
        assert self._client is not None
        self._reader.join(_GRACE_S)
        lines = [line for line in self._lines if line.strip()] or ["no output"]
        if port is not None and _TAKEN.search("\n".join(lines)):
            return CommandError(f"port {port}: got one in use, expected a free one")
        if self._client.returncode == _DOCKER_FAILED:
            why = [line for line in lines if not _HINT.match(line)]
            return explain(["run", self.name], [line.removeprefix("docker: ") for line in why])
        return CommandError(f"the container: got an early exit ({lines[-1]}), expected a start")


def lambda_command(
    image: OurImage, *, name: str, port: int | None, limits: Limits
) -> tuple[str, ...]:
    """The command that runs an image as a Lambda, locked down as Lambda does it.

    Raises:
        CommandError: there is no emulator for this machine.
    """
    memory = f"{limits.memory_mb}m"
    return image_command(
        image.id,
        *("--log-level", "error", "--runtime-interface-emulator-address", f"0.0.0.0:{_PORT}"),
        *image.entrypoint,
        network="bridge",  # of which nothing is published but one port on loopback
        options=(
            *("--name", name, "--label", f"{OWNER}={owner()}", "--label", f"{DOOR}=lambda"),
            *("--publish", f"127.0.0.1:{'' if port is None else port}:{_PORT}"),
            *("--user", limits.user, "--memory", memory, "--memory-swap", memory),
            *("--cpus", str(limits.cpus), "--pids-limit", str(limits.pids)),
            # Docker would keep what the function writes in a file of its own, without a bound.
            *("--log-driver", "none"),
            *("--env", "AWS_LAMBDA_FUNCTION_NAME=function"),
            *("--env", "AWS_LAMBDA_FUNCTION_TIMEOUT=60"),
            *("--env", f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={limits.memory_mb}"),
            # Not --volume, which makes a directory of what is not there.
            *("--mount", f"type=bind,source={find_binary().resolve()},target={_EMULATOR},readonly"),
            *("--entrypoint", _EMULATOR),
        ),
    )


@contextlib.contextmanager
def run_lambda(
    image: OurImage,
    *,
    port: int | None = None,
    limits: Limits | None = None,
    show_log: bool = False,
) -> Iterator[LambdaContainer]:
    """A `LambdaContainer` that is removed at the end of the block, however it ends."""
    container = LambdaContainer(image, port=port, limits=limits, show_log=show_log)
    try:
        yield container
    finally:
        container.stop()


# --- the command ----------------------------------------------------------------------------------


def read_limits(arguments: argparse.Namespace) -> Limits:
    """The limits in a command's arguments."""
    return Limits(memory_mb=arguments.memory, cpus=arguments.cpus, user=arguments.user)


def run(arguments: argparse.Namespace) -> int:
    """Runs `edgexgb image run`; the exit code.

    Raises:
        CommandError: there is no such image, or it does not run, or not until a Ctrl-C.
    """
    image = find_image(arguments.image)
    with run_lambda(
        image, port=arguments.port, limits=read_limits(arguments), show_log=True
    ) as container:
        if arguments.json:
            print(_to_json(container), flush=True)
        else:
            print(f"{container.url}{INVOCATIONS}", flush=True)
        _say(f"{image.reference} runs as a Lambda in the container {container.name}; Ctrl-C stops")
        _say(f"ask it: edgexgb invoke --target {container.url} --rows FILE.csv")
        with contextlib.suppress(KeyboardInterrupt):
            while container.is_running():
                time.sleep(0.2)
            raise CommandError("the container: got an exit, expected it to run until Ctrl-C")
    _say("stopped")
    return 0


def _to_json(container: LambdaContainer) -> str:
    import json

    fields = {"url": f"{container.url}{INVOCATIONS}", "container": container.name}
    return json.dumps({**fields, "image": container.image})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

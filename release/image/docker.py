"""Docker's command line, with errors that say what to do.

The command line and not its socket: it finds the daemon as the user's own commands do, with their
contexts and rights.
"""

import contextlib
import os
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from release.errors import CommandError

_LAST_LINES = 20
_NO_DAEMON = ("Cannot connect to the Docker daemon", "error during connect", "Is the docker daemon")
_NO_RIGHT = ("permission denied while trying to connect", "dial unix: permission denied")
_NO_BASE = (
    "pull access denied",
    "manifest unknown",
    "manifest for ",
    "failed to resolve source metadata",
    "Client.Timeout exceeded",
    "dial tcp",
    "no such host",
)
_NO_IMAGE = ("No such image", "No such object", "no such image")


class BuildError(CommandError):
    """A build failed.

    Attributes:
        lines: the last of what it wrote.
    """

    def __init__(self, text: str, lines: Sequence[str]) -> None:
        super().__init__(text)
        self.lines = list(lines)


def run_docker(*arguments: str) -> str:
    """What `docker ARGUMENTS` prints.

    Raises:
        CommandError: there is no docker, no daemon, or docker refuses.
    """
    with _translated():
        done = subprocess.run(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode != 0:
        raise explain(arguments, done.stderr.splitlines())
    return done.stdout


def build(
    context: Path,
    *,
    tag: str,
    build_arguments: Mapping[str, str],
    options: Sequence[str] = (),
    on_line: Callable[[str], object],
) -> str:
    """Builds an image of a directory with a Dockerfile; its id.

    Args:
        context: the directory, which is sent whole.
        tag: what to call the image.
        build_arguments: values of the Dockerfile's ARGs.
        options: more options of `docker build`.
        on_line: gets each line that the build writes.

    Raises:
        BuildError: a step failed.
        CommandError: there is no docker, no daemon, or no base image.
    """
    command = ["docker", "build", "--force-rm", "--tag", tag, *options]
    for name, value in build_arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    environment = {
        **os.environ,
        "BUILDKIT_PROGRESS": "plain",
        # Beside an attestation the image would be an index, which Lambda refuses.
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    }
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with (
        _translated(),
        subprocess.Popen(
            [*command, str(context)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last.append(line.rstrip())
                on_line(line.rstrip())
        except BaseException:
            process.terminate()  # the daemon gives the build up with its client
            raise
    if process.returncode != 0:
        raise _explain_build(list(last), build_arguments.get("BASE_IMAGE"))
    return image_id(tag)


def image_id(reference: str) -> str:
    """The image's digest, `sha256:…`, which pins it on this machine.

    Raises:
        CommandError: there is no such image, no docker, or no daemon.
    """
    return run_docker("image", "inspect", "--format", "{{.Id}}", reference).strip()


def image_command(
    reference: str, *arguments: str, network: str = "none", options: Sequence[str] = ()
) -> tuple[str, ...]:
    """The command that runs an image as a device would: locked down, removed when it ends.

    Args:
        reference: of the image, best its digest.
        arguments: none for the Lambda, `component`, or `--self-test`.
        network: docker's name of it; `none` for a component.
        options: more options of `docker run`.
    """
    return (
        *("docker", "run", "--rm", "--init", "--network", network, "--read-only"),
        *("--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),  # noqa: S108
        *options,
        reference,
        *arguments,
    )


def explain(arguments: Sequence[str], lines: Sequence[str]) -> CommandError:
    """The error of a docker command that failed, from what it wrote."""
    text = "\n".join(lines)
    if any(sign in text for sign in _NO_RIGHT):
        return CommandError(
            "docker: got no right to reach the daemon, expected to be root or in the group docker"
        )
    if any(sign in text for sign in _NO_DAEMON):
        return CommandError(
            "docker: got no daemon, expected one that runs: start it with `systemctl start docker`"
        )
    if any(sign in text for sign in _NO_IMAGE):
        return CommandError(
            f"{arguments[-1]}: got no such image here, expected one that was built or pulled"
        )
    last = next((line for line in reversed(lines) if line.strip()), "no reason given")
    return CommandError(f"docker {arguments[0]}: got a failure ({last.strip()}), expected none")


def _explain_build(lines: Sequence[str], base: str | None) -> CommandError:
    text = "\n".join(lines)
    # The base is the only image that is ever asked for, by the first step, from a registry.
    if base is not None and "FROM ${BASE_IMAGE}" in text and any(sign in text for sign in _NO_BASE):
        return CommandError(
            f"{base}: got no base image, expected one here: `docker pull {base}`, "
            "or name another with --base"
        )
    general = explain(["build"], lines)
    if "docker build: " not in str(general):
        return general
    reason = next((line for line in reversed(lines) if _says_why(line)), "no reason given")
    return BuildError(f"docker build: got a failed step ({reason}), expected an image", lines)


def _says_why(line: str) -> bool:
    noise = ("The command '", "Removing intermediate", "---> ", "------", "Dockerfile:", "WARNING")
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith(noise)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise CommandError(
            "docker: got no such command, expected Docker's: install the package docker.io, "
            "or Docker Desktop"
        ) from error

"""The image's entry: the Lambda, the component, or the self-test.

Nothing is imported here before it is known which of them is to run: a cold start should not pay for
what only the others need.
"""

import os
import sys
from collections.abc import Sequence

HANDLER = "container.lambda_function.handler"

_RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"
_TOKEN = "SVCUID"  # noqa: S105  (its name)
_MAX_TOKEN_BYTES = 1024
_FINISH_S = 8.0


def main(arguments: Sequence[str]) -> int:
    """Runs what the arguments name; its exit code, 2 where they name nothing.

    Args:
        arguments: none for the Lambda, `component`, or `--self-test`.
    """
    match list(arguments):
        case []:
            return _serve_lambda()
        case ["component"]:
            return _run_component()
        case ["--self-test"]:
            from container.self_test import main as test

            return test()
    expected = "nothing (the Lambda), component, or --self-test"
    return _refuse(f"arguments: got {' '.join(arguments)!r}, expected {expected}")


def _serve_lambda() -> int:
    """Serves invocations until the runtime goes away."""
    if _RUNTIME_API not in os.environ:
        expected = "the address that Lambda or its emulator sets; else say component or --self-test"
        return _refuse(f"{_RUNTIME_API}: got nothing, expected {expected}")
    _end_on_sigterm()
    import gc

    gc.disable()  # until the function is loaded: there is no garbage among what is imported
    from awslambdaric.__main__ import main as serve

    # The client takes its arguments as a process does: its own name first.
    serve(["awslambdaric", HANDLER])
    return 0


def _run_component() -> int:
    """Runs the component; its token is in the environment, or the first line of stdin."""
    if _TOKEN not in os.environ and (token := _read_token()):
        # What is put in here is seen by nobody outside: neither `docker inspect` nor /proc has it.
        os.environ[_TOKEN] = token
        _end_with_stdin()
    from container.__main__ import main as run

    return run()


def _read_token() -> str:
    """The first line of stdin; empty where there is none, and at a terminal."""
    line = b""
    try:
        if not os.isatty(0):
            while len(line) <= _MAX_TOKEN_BYTES and not line.endswith(b"\n"):
                if not (byte := os.read(0, 1)):
                    break
                line += byte
    except OSError:  # it is closed
        return ""
    return line.decode(errors="replace").strip() if line.endswith(b"\n") else ""


def _end_with_stdin() -> None:
    """Ends the process as SIGTERM would, once nobody holds the other end of stdin any more.

    That is docker's client. Where it is killed, its container would go on as before, and answer
    beside the one that the nucleus starts in its place.

    Source: moby, container/stream/attach.go: stdin is closed when its only client goes.
    """
    import signal
    import threading
    import time

    def wait() -> None:
        try:
            while os.read(0, 4096):
                pass
        except OSError:  # as good as its end
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_FINISH_S)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, name="stdin", daemon=True).start()


def _end_on_sigterm() -> None:
    """Lets SIGTERM and SIGINT end the process, also as a container's first process.

    The first process of a container gets no signal that it does not ask for, and a handler would
    wait for the client's blocking call: a thread takes the signals instead. No request is lost,
    as Lambda freezes a function before it sends one.
    """
    import signal
    import threading

    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def wait() -> None:
        signal.sigwait(signals)
        sys.stdout.flush()
        os._exit(0)

    threading.Thread(target=wait, name="signals", daemon=True).start()


def _refuse(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

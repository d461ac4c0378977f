"""The image's entry: the Lambda, the component, or the self-test.

Nothing is imported here before it is known which of them is to run: a cold start should not pay for
what only the others need.
"""

import os
import sys
from collections.abc import Sequence

HANDLER = "container.lambda_function.handler"

_RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"


def main(arguments: Sequence[str]) -> int:
    """Runs what the arguments name; its exit code, 2 where they name nothing.

    Args:
        arguments: none for the Lambda, `component`, or `--self-test`.
    """
    match list(arguments):
        case []:
            return _serve_lambda()
        case ["component"]:
            from container.__main__ import main as run_component

            return run_component()
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

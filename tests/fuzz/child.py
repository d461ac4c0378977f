"""One target under the fuzzer, in a process that the fuzzer ends: `python -m tests.fuzz.child`.

Apart from the rest because atheris counts coverage only in what is imported under its eyes.
"""

import sys

import atheris

WATCHED = ["consumer", "container", "interface", "model", "nucleus", "semantic_version"]
"""What counts. YAML's parser does not: watched, it takes ten times as long."""


def main(arguments: list[str]) -> None:
    """Fuzzes a target until libFuzzer has had enough; never returns.

    Args:
        arguments: the target's name, then libFuzzer's own.
    """
    name, *options = arguments
    with atheris.instrument_imports(include=[*WATCHED, "tests.fuzz"], enable_loader_override=False):
        from tests.fuzz.targets import PLANTED, TARGETS
    atheris.enabled_hooks.add("RegEx")
    atheris.enabled_hooks.add("str")
    target = PLANTED if name == "planted" else TARGETS[name]
    atheris.Setup(["fuzz", f"-max_len={target.max_bytes}", *options], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])

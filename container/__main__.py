"""`python -m container`: the component, as the recipe starts it."""

import contextlib
import logging
import os
import signal
import sys

from container.component import STOPPED, Component
from container.settings import Settings, SettingsError, read_settings
from interface.greengrass import connect
from interface.logs import configure_logging
from interface.memory import return_memory
from model.bundle import check_replay, open_bundle
from model.errors import BundleError

_log = logging.getLogger("container")


def main() -> int:
    """Runs the component; its exit code."""
    return_memory()
    configure_logging("INFO")
    logging.getLogger("awsiot").setLevel(logging.WARNING)  # it has a line for each connection
    for number in (signal.SIGTERM, signal.SIGINT):  # until there is something to finish
        signal.signal(number, lambda *_: sys.exit(STOPPED))
    try:
        return _run(read_settings(os.environ))
    except (SettingsError, BundleError) as error:
        _log.error("giving up", extra={"error": str(error)})
    except Exception:  # also this as a line of the log
        _log.exception("giving up")
    return 1


def _run(settings: Settings) -> int:
    """Runs the component once its bundle has proved good; the exit code.

    Raises:
        BundleError: it is not.
    """
    with contextlib.closing(open_bundle(settings.bundle, n_threads=settings.n_threads)) as bundle:
        facts = {"model": bundle.manifest.name, "version": bundle.manifest.version}
        _log.info("bundle opened", extra={**facts, "digest": bundle.digest})
        check_replay(bundle)
        _log.info("golden rows replayed", extra={"rows": len(bundle.golden)})
        component = Component(bundle, settings, connect)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: component.stop())
        return component.run()


if __name__ == "__main__":
    sys.exit(main())

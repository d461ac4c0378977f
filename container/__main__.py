"""`python -m container`: the component, as the recipe starts it."""

import contextlib
import logging
import os
import signal
import sys

from container.component import Component
from container.logs import configure_logging
from container.settings import SettingsError, read_settings
from interface.greengrass import connect
from model.bundle import check_replay, open_bundle
from model.errors import BundleError


def main() -> int:
    """Runs the component; its exit code."""
    configure_logging("INFO")
    logging.getLogger("awsiot").setLevel(logging.WARNING)  # it has a line for each connection
    log = logging.getLogger("container")
    try:
        settings = read_settings(os.environ)
        bundle = open_bundle(settings.bundle, n_threads=settings.n_threads)
    except (SettingsError, BundleError) as error:
        log.error("giving up", extra={"error": str(error)})  # noqa: TRY400  (no traceback)
        return 1
    with contextlib.closing(bundle):
        facts = {"model": bundle.manifest.name, "version": bundle.manifest.version}
        log.info("bundle opened", extra={**facts, "digest": bundle.digest})
        try:
            check_replay(bundle)
        except BundleError as error:
            log.error("giving up", extra={"error": str(error)})  # noqa: TRY400
            return 1
        log.info("golden rows replayed", extra={"rows": len(bundle.golden)})
        component = Component(bundle, settings, connect)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: component.stop())
        return component.run()


if __name__ == "__main__":
    sys.exit(main())

"""Whether what is here predicts what the notebook predicted: one line of JSON, and an exit code."""

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from container.settings import SettingsError, read_settings
from model.bundle import check_replay, open_bundle
from model.errors import BundleError


def main() -> int:
    """Prints what the self-test found; 0 where it passed, 1 where it did not."""
    facts = self_test(os.environ)
    print(json.dumps(facts, ensure_ascii=False))
    return 0 if facts["selfTest"] == "passed" else 1


def self_test(environment: Mapping[str, str]) -> dict[str, Any]:
    """Opens the bundle and replays its golden rows.

    Returns:
        `selfTest` is `passed`, with the model's name, version and digest, the engine, the number of
        rows and whether each bit was compared; or `failed`, with `error`.
    """
    try:
        settings = read_settings(environment)
        with contextlib.closing(
            open_bundle(settings.bundle, n_threads=settings.n_threads)
        ) as bundle:
            check_replay(bundle)
            return {
                "selfTest": "passed",
                "model": bundle.manifest.name,
                "version": bundle.manifest.version,
                "digest": bundle.digest,
                "engine": bundle.engine,
                "goldenRows": len(bundle.golden),
                "exact": bundle.is_exact,
            }
    except (SettingsError, BundleError) as error:
        found = str(error)
    except Exception as error:  # a library that does not load, say: also that is a finding
        found = f"{type(error).__name__}: {error}"
    return {"selfTest": "failed", "error": " ".join(found.split())}

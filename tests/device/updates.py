"""Updates of the inference component, and requesters that take no timeout for an answer."""

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from consumer.errors import RequestTimeoutError
from release.components import INFERENCE
from tests.conftest import Packed
from tests.device.recipes import recipe_text
from tests.device.running import RunningDevice
from tests.device.traffic import Answers
from tests.device.waiting import wait_until
from tests.release.devices import edgexgb

HANG = "sleep 1000 & wait"

_TRY_S = 1.0
_MAX_TRIES = 120


def write_update(folder: Path, version: str, script: str = "", **startup: Any) -> Path:
    """A directory with the inference component's recipe in another version, or another script."""
    text = recipe_text("container").replace(
        'ComponentVersion: "0.1.0"', f"ComponentVersion: {version}"
    )
    if script:
        lifecycle = json.dumps({"startup": {"Script": script, **startup}})
        head = text.partition("Manifests:")[0]
        manifest = f'  - Platform: {{os: linux, runtime: "*"}}\n    Lifecycle: {lifecycle}\n'
        text = f"{head}Manifests:\n{manifest}"
    return write_recipe_text(folder, text)


def write_recipe_text(folder: Path, text: str) -> Path:
    """A directory of one recipe."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(text)
    return folder


def deploy(
    device: RunningDevice, recipes: Path, version: str, *reset: str, **merge: Any
) -> tuple[int, dict[str, Any], str]:
    """Exit code, record and stderr of `edgexgb device deploy`.

    Args:
        device: that runs.
        recipes: a directory.
        version: of the inference component.
        reset: pointers into its configuration.
        merge: into its configuration.
    """
    config = recipes.parent / "config.json"
    config.write_text(json.dumps({INFERENCE: {"MERGE": merge, "RESET": reset}}))
    code, printed, errors = edgexgb(
        *("device", "deploy", "--root", device.root.path, "--recipe-dir", recipes, "--json"),
        *("--add", f"{INFERENCE}={version}", "--config", config),
    )
    assert printed, errors
    return code, json.loads(printed), errors


def predict_version(device: RunningDevice, packed: Packed) -> str:
    """Which model version answers."""
    with device.client() as client:
        return client.predict(packed.rows[0], 30.0).version


class Persistent(threading.Thread):
    """Asks one request after the other, each again and again until it is answered.

    Attributes:
        versions: of the model, one for each answer.
        failures: of what must not be.
    """

    def __init__(self, device: RunningDevice, packed: Packed, seed: int) -> None:
        super().__init__(daemon=True)
        self.versions: list[str] = []
        self.failures: list[BaseException] = []
        self.is_over = threading.Event()
        self._device, self._packed, self._number = device, packed, seed

    def run(self) -> None:
        try:
            with self._device.client() as client:
                expected = Answers(self._packed)
                while not self.is_over.is_set():
                    self._number += 1
                    row = self._number % len(expected.rows)
                    got = None
                    for _ in range(_MAX_TRIES):
                        with contextlib.suppress(RequestTimeoutError):
                            got = client.predict(expected.rows[row], _TRY_S)
                            break
                    assert got is not None, f"got no answer in {_MAX_TRIES} tries"
                    expected.check([row], got)
                    self.versions.append(got.version)
        except BaseException as error:
            self.failures.append(error)


class Askers:
    """Several of them."""

    def __init__(self, askers: Sequence[Persistent]) -> None:
        self._askers = askers

    def wait_for_more(self, n_each: int) -> None:
        """Waits until each has so many answers more than now."""
        before = [len(it.versions) for it in self._askers]

        def have_more() -> bool:
            assert self.failures() == []
            counts = zip(self._askers, before, strict=True)
            return all(len(it.versions) >= n + n_each for it, n in counts)

        wait_until(have_more, f"{n_each} more answers for each")

    def versions(self) -> list[list[str]]:
        """The model versions that have answered each, in order."""
        return [it.versions for it in self._askers]

    def failures(self) -> list[BaseException]:
        """Of all."""
        return [failure for it in self._askers for failure in it.failures]


@contextlib.contextmanager
def persistent_askers(device: RunningDevice, packed: Packed, n_askers: int) -> Iterator[Askers]:
    """Askers that ask until the block ends; each request was answered, and rightly."""
    threads = [Persistent(device, packed, 50 * i) for i in range(n_askers)]
    askers = Askers(threads)
    for thread in threads:
        thread.start()
    try:
        yield askers
    finally:
        for thread in threads:
            thread.is_over.set()
        for thread in threads:
            thread.join(60.0)
    assert not [thread for thread in threads if thread.is_alive()]
    assert askers.failures() == []

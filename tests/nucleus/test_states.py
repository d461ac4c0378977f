"""States of a device on disk."""

import json
from pathlib import Path

import pytest
from semantic_version import Version

from nucleus.composition import Chosen, Composer, Placement
from nucleus.configuration import ConfigurationStore
from nucleus.deployments.states import DeviceState, StateStore, digest_of
from nucleus.errors import DeviceError
from nucleus.personality import CLASSIC
from nucleus.platforms import this_platform
from nucleus.root import DeviceRoot
from nucleus.tokens import Tokens
from tests.nucleus.deploying import placement

URI = [{"URI": "s3://bucket/file"}]


def choose(root: Path, *placements: Placement) -> list[Chosen]:
    composer = Composer(
        DeviceRoot(root), CLASSIC, this_platform(CLASSIC), "laptop", Tokens(CLASSIC)
    )
    return list(composer.choose(placements).values())


def components(folder: Path, content: str = "one") -> list[Chosen]:
    """One component with one artifact."""
    path = folder / "files" / "A" / "1.0.0" / "file"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return choose(folder, placement("A", artifacts=URI, directory=folder / "files"))


def write(store: StateStore, name: str, chosen: list[Chosen]) -> DeviceState:
    configuration = ConfigurationStore()
    configuration.open("A").merge((), {"x": name}, 7)
    return store.write(
        name,
        chosen,
        roots={"A": Version("1.0.0")},
        platform={"runtime": "process"},
        began_with="digest",
        configuration=configuration,
    )


def test_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Recipes to the byte, with artifacts and configuration of its own."""
    store, chosen = StateStore(tmp_path / "d"), components(tmp_path)
    write(store, "s1", chosen)
    store.commit("s1")
    (tmp_path / "files" / "A" / "1.0.0" / "file").write_text("changed")
    found = StateStore(tmp_path / "d").current()
    assert found is not None
    assert (found.id, found.began_with) == ("s1", "digest")
    assert (found.roots, found.platform) == ({"A": Version("1.0.0")}, {"runtime": "process"})
    assert found.configuration["A"].value() == {"x": "s1"}
    [kept] = found.placements
    assert (kept.place, kept.recipe) == (chosen[0].placement.place, chosen[0].placement.recipe)
    assert kept.artifacts is not None
    assert (kept.artifacts / "A" / "1.0.0" / "file").read_text() == "one"


def test_state_is_the_current_one_once_it_is_committed(tmp_path: Path) -> None:
    """Until then the one before is."""
    store = StateStore(tmp_path / "d")
    assert store.current() is None
    write(store, "s1", components(tmp_path))
    assert store.current() is None
    store.commit("s1")
    write(store, "s2", components(tmp_path))
    assert store.current_id() == "s1"
    store.commit("s2")
    assert store.current_id() == "s2"
    store.prune({"s2"})
    assert [it.name for it in (tmp_path / "d" / "states").iterdir()] == ["s2"]


def test_unchanged_artifacts_are_on_the_disk_once(tmp_path: Path) -> None:
    """From one state to the next; they outlive the first."""
    store = StateStore(tmp_path / "d")
    first = write(store, "s1", components(tmp_path))
    second = write(store, "s2", choose(tmp_path, *first.placements))
    files = [
        it.artifacts / "A" / "1.0.0" / "file"
        for s in (first, second)
        for it in s.placements
        if it.artifacts is not None
    ]
    assert files[0].stat().st_ino == files[1].stat().st_ino
    store.prune({"s2"})
    assert files[1].read_text() == "one"


def test_digest_tells_what_differs(tmp_path: Path) -> None:
    """Recipes, artifacts, configurations and the platform, and nothing else."""
    chosen = components(tmp_path)
    first = digest_of(chosen, {}, {})
    assert digest_of(components(tmp_path), {}, {}) == first
    others = [
        digest_of([], {}, {}),
        digest_of(chosen, {"A": {"x": 1}}, {}),
        digest_of(chosen, {}, {"os": "linux"}),
        digest_of(components(tmp_path, "two"), {}, {}),
    ]
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("state.json", "{"),
        ("state.json", json.dumps({"format": 2})),
        ("state.json", json.dumps({"format": 1})),
        ("configuration.json", "[]"),
        ("configuration.json", json.dumps({"A": 1})),
    ],
)
def test_state_that_is_none_is_named(file: str, content: str, tmp_path: Path) -> None:
    """With the file that holds it."""
    store = StateStore(tmp_path / "d")
    write(store, "s1", components(tmp_path))
    store.commit("s1")
    (tmp_path / "d" / "states" / "s1" / file).write_text(content)
    with pytest.raises(DeviceError, match=rf"^{tmp_path}/d/states/s1/\w+.json: got "):
        store.current()

import argparse
import json
import sys
from pathlib import Path

import pytest

from model.errors import BundleError
from nucleus.recipe import parse_recipe
from release.components import CONSUMER, INFERENCE, Selection, select
from release.device import add_device
from release.errors import CommandError
from tests.conftest import Packed


def chosen(*words: object) -> Selection:
    """What `edgexgb device start` with these words runs."""
    parser = argparse.ArgumentParser()
    add_device(parser)
    return select(parser.parse_args(["start", *map(str, words)]))


def refused(*words: object) -> str:
    with pytest.raises(CommandError) as caught:
        chosen(*words)
    return str(caught.value)


def names(selection: Selection) -> list[str]:
    return [parse_recipe(it.recipe, it.place).name for it in selection.placements]


def test_bundle_is_run_by_the_inference_component(binary: Packed) -> None:
    """With this very interpreter, and an absolute path: a component runs elsewhere."""
    selection = chosen(binary.directory)
    assert names(selection) == [INFERENCE]
    assert selection.configurations == {
        INFERENCE: {"python": sys.executable, "bundle": str(binary.directory)}
    }
    assert selection.platform == {"runtime": "process"}
    assert Path(str(selection.configurations[INFERENCE]["bundle"])).is_absolute()


def test_consumer_is_run_beside_it(binary: Packed) -> None:
    """The sample component, by its own recipe."""
    selection = chosen(binary.directory, "--consumer")
    assert names(selection) == [INFERENCE, CONSUMER]
    assert selection.configurations[CONSUMER] == {"python": sys.executable}


def test_recipes_of_the_user_are_run(tmp_path: Path) -> None:
    """As many as are named; a byte order mark is no part of them."""
    paths = []
    for name in ("A", "B"):
        content = {
            "RecipeFormatVersion": "2020-01-25",
            "ComponentName": name,
            "ComponentVersion": "1.0.0",
            "Manifests": [{"Lifecycle": {"run": "true"}}],
        }
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(content), encoding="utf-8-sig")
    selection = chosen("--recipe", paths[0], "--recipe", paths[1], "--artifacts", tmp_path)
    assert names(selection) == ["A", "B"]
    assert [it.place for it in selection.placements] == [str(path) for path in paths]
    assert {it.artifacts for it in selection.placements} == {tmp_path}


def test_configurations_are_merged_key_by_key(binary: Packed) -> None:
    """As a deployment merges: objects are, lists and the rest are replaced."""
    first = {"maxRows": 5, "deep": {"a": 1, "b": [1, 2], "c": {"d": 1}}}
    second = {"python": "python3.13", "deep": {"b": [3], "c": {"e": 2}}}
    selection = chosen(
        binary.directory,
        *("--configure", f"{INFERENCE}={json.dumps(first)}"),
        *("--configure", f"{INFERENCE}={json.dumps(second)}"),
        *("--configure", 'Other={"x": "a=b"}'),
    )
    assert selection.configurations == {
        INFERENCE: {
            "python": "python3.13",
            "bundle": str(binary.directory),
            "maxRows": 5,
            "deep": {"a": 1, "b": [3], "c": {"d": 1, "e": 2}},
        },
        "Other": {"x": "a=b"},
    }


def test_platform_is_overridden(binary: Packed) -> None:
    """Attribute by attribute."""
    words = ("--platform", "os=plan9", "--platform", "runtime=*")
    assert chosen(binary.directory, *words).platform == {"runtime": "*", "os": "plan9"}


def test_nothing_to_run_is_refused() -> None:
    """An empty device is of no use."""
    assert refused() == (
        "nothing to run: got no component, expected a bundle, an --image or a --recipe"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "--configure: got 'a', expected COMPONENT=JSON"),
        ("={}", "--configure: got '={}', expected COMPONENT=JSON"),
        ("a=[]", "--configure a: got a list, expected an object"),
        (
            "a={",
            "--configure a: got text that is no JSON (Expecting property name enclosed in double "
            "quotes: line 1 column 2 (char 1)), expected an object",
        ),
        (
            'a={"x": NaN}',
            "--configure a: got text that is no JSON (the constant NaN), expected an object",
        ),
    ],
)
def test_configuration_that_is_none_is_refused(text: str, expected: str, binary: Packed) -> None:
    """With the component's name where there is one."""
    assert refused(binary.directory, "--configure", text) == expected


def test_deeply_nested_configuration_is_refused(binary: Packed) -> None:
    """However deep: no traceback."""
    text = refused(binary.directory, "--configure", "a=" + '{"a":' * 100_000)
    assert text.startswith("--configure a: got text that is no JSON (")


def test_platform_that_is_no_pair_is_refused(binary: Packed) -> None:
    """With what was given."""
    text = refused(binary.directory, "--platform", "linux")
    assert text == "--platform: got 'linux', expected KEY=VALUE"


def test_directory_of_artifacts_must_be_there(binary: Packed, tmp_path: Path) -> None:
    """Else each artifact would be missing for no visible reason."""
    assert refused(binary.directory, "--artifacts", tmp_path / "none") == (
        f"{tmp_path}/none: got no such directory, expected one of artifacts"
    )


def test_recipe_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Such as an image by mistake."""
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe")
    assert refused("--recipe", path) == f"{path}: got bytes that are no UTF-8, expected a recipe"


def test_bundle_that_cannot_be_opened_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """What is wrong is better said here than in a component's log."""
    with pytest.raises(BundleError):
        chosen(tmp_path)

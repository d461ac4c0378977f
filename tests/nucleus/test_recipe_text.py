import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus.errors import RecipeError
from nucleus.recipe_text import Section, describe, parse_text


def parse(text: str, *, exact_keys: bool = False, only_text: bool = False) -> Section:
    return parse_text(text, "r.yaml", exact_keys=exact_keys, only_text=only_text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "r.yaml: got nothing, expected an object"),
        ("- a", "r.yaml: got a list, expected an object"),
        ("just text", "r.yaml: got 'just text', expected an object"),
        ("a: b: c", "r.yaml: got mapping values are not allowed here in line 1, expected YAML"),
        ("a: 1\nb: 2\na: 3", "r.yaml: got the key 'a' twice in line 3, expected YAML"),
        ("a: &x 1\nb: *x", "r.yaml: got an alias in line 1, expected YAML"),
        ("? [a]\n: b", "r.yaml: got a key that is no text in line 1, expected YAML"),
        (
            "a: !!python/name:os.system x",
            "r.yaml: got the tag 'tag:yaml.org,2002:python/name:os.system' in line 1, "
            "expected YAML",
        ),
        ("a: !mine x", "r.yaml: got the tag '!mine' in line 1, expected YAML"),
        ("a: 1\n---\nb: 2", "r.yaml: got another document in line 2, expected YAML"),
        ("a: \x07", None),
        ('{"a": 1, "a": 2}', "r.yaml: got the key 'a' twice, expected JSON or YAML"),
        ('{"a": NaN}', "r.yaml: got NaN, which is no JSON, expected JSON or YAML"),
        ('{"a": 1', None),
        ("[" * 5000, "r.yaml: got too many levels, expected a recipe of a few"),
        ('{"a":' + "[" * 100_000, "r.yaml: got too many levels, expected a recipe of a few"),
        (
            '{"a":' * 101 + "1" + "}" * 101,
            "r.yaml: got more than 100 levels, expected a recipe of a few",
        ),
        ("- " * 101 + "1", "r.yaml: got a list, expected an object"),
        (
            "a:\n " + "- " * 100 + "1",
            "r.yaml: got more than 100 levels, expected a recipe of a few",
        ),
        ('a: "\\Uffffffff"', None),
    ],
)
def test_text_that_is_no_recipe_is_refused(text: str, error: str | None) -> None:
    """Each with a line that says what is wrong; where YAML's own words vary, one line at least."""
    with pytest.raises(RecipeError) as caught:
        parse(text)
    assert str(caught.value).startswith("r.yaml: got ")
    assert "\n" not in str(caught.value)
    if error is not None:
        assert str(caught.value) == error


def test_hundred_levels_are_taken() -> None:
    """As many as what reads recipes is sure to follow."""
    assert parse('{"a":' * 100 + "1" + "}" * 100).fields.keys() == {"a"}
    assert parse("a:\n " + "- " * 99 + "1").fields.keys() == {"a"}


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Nothing but a RecipeError comes out of a recipe's text."""
    try:
        assert isinstance(parse(text).fields, dict)
    except RecipeError as error:
        assert error.place == "r.yaml"


@given(
    st.dictionaries(
        st.text(alphabet="abc", min_size=1),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_json_and_flow_yaml_are_one_tree(tree: dict[str, object]) -> None:
    """JSON text gives the value it stands for."""
    assert parse(json.dumps(tree)).fields == tree


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("TRUE", True),
        ("false", False),
        ("~", None),
        ("", None),
        ("2020-01-25", "2020-01-25"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("17", 17),
        ("-1.5", -1.5),
        (".nan", ".nan"),
        ("'17'", "17"),
        ("!!str 17", "17"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_yaml_scalars_are_read_as_the_nucleus_reads_them(written: str, value: object) -> None:
    """Only what JSON has too is more than text: no dates, no `yes` and `no`."""
    assert parse(f"a: {written}").fields["a"] == value
    assert type(parse(f"a: {written}").fields["a"]) is type(value)


def test_scalars_where_only_text_is_wanted_stay_text() -> None:
    """Nucleus lite keeps numbers and truths of YAML as text."""
    assert parse("{a: 1}".replace("{", "").replace("}", ""), only_text=True).fields == {"a": "1"}
    assert parse("a: true\nb: null", only_text=True).fields == {"a": "true", "b": None}


def test_key_in_another_case_is_found_unless_keys_are_exact() -> None:
    """The classic nucleus folds cases; nucleus lite does not."""
    assert parse("componentname: a").text("ComponentName") == "a"
    with pytest.raises(RecipeError) as caught:
        parse("componentname: a", exact_keys=True).text("ComponentName")
    assert str(caught.value) == "r.yaml: ComponentName: got nothing, expected text"


def test_two_keys_that_differ_in_case_are_refused() -> None:
    """Nobody could say which one counts."""
    with pytest.raises(RecipeError) as caught:
        parse("Name: a\nname: b").value("Name")
    assert str(caught.value) == "r.yaml: got both 'Name' and 'name', expected one of them"


def test_places_show_keys_as_written() -> None:
    """Whoever reads the error looks for the key in the recipe."""
    root = parse("manifests: [{lifecycle: {Run: 1}}]")
    lifecycle = root.sections("Manifests")[0].section("Lifecycle")
    assert lifecycle.place_of("run") == "r.yaml: manifests[0].lifecycle.Run"


@pytest.mark.parametrize(
    ("text", "read", "error"),
    [
        ("a: 1", lambda s: s.text("a"), "r.yaml: a: got the number 1, expected text"),
        ("a: ''", lambda s: s.text("a"), "r.yaml: a: got '', expected text"),
        ("a: [1]", lambda s: s.optional_text("a"), "r.yaml: a: got a list, expected text"),
        ("a: true", lambda s: s.section("a"), "r.yaml: a: got true, expected an object"),
        (
            "a: {}",
            lambda s: s.sections("a"),
            "r.yaml: a: got an object, expected a list of objects",
        ),
        ("a: [x]", lambda s: s.sections("a"), "r.yaml: a[0]: got 'x', expected an object"),
        ("a: x", lambda s: list(s.members()), "r.yaml: a: got 'x', expected an object"),
    ],
)
def test_field_of_another_kind_is_refused(text: str, read: object, error: str) -> None:
    """With its place and what it is."""
    assert callable(read)
    with pytest.raises(RecipeError) as caught:
        read(parse(text))
    assert str(caught.value) == error


def test_absent_field_is_empty() -> None:
    """Null is as good as absent."""
    root = parse("a: null")
    assert root.optional_text("a", "x") == "x"
    assert root.section("a").fields == {}
    assert root.sections("b") == []


def test_unknown_field_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A nucleus ignores it; most are misspelt."""
    with caplog.at_level(logging.WARNING):
        parse("Nmae: a\nNAME: b").warn_of_others(frozenset({"Name"}))
    assert caplog.messages == ["r.yaml: Nmae: got a field no nucleus knows; it is ignored"]


def test_long_text_is_shortened_in_an_error() -> None:
    """A script does not fill the screen."""
    assert describe("x" * 100) == repr("x" * 60 + "…")

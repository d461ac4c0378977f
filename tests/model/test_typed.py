from collections.abc import Sequence

import pytest

from model import typed
from model.features import Matrix, Table
from model.manifest import Data, Feature, Kind


def test_named_tuple_has_names_defaults_and_methods() -> None:
    """As one that typing makes: by position, by name, compared by value, shown with its fields."""
    data = Data(source="wine.csv", sha256="0" * 64, rows=178)
    assert data == Data("wine.csv", "0" * 64, 178)
    assert repr(data) == f"Data(source='wine.csv', sha256='{'0' * 64}', rows=178)"
    assert data._replace(rows=2).rows == 2
    assert (Table((), ()).place, Table((), (), "rows").place) == ("data", "rows")
    assert Data.__doc__ is not None
    assert Data.__module__ == "model.manifest"


def test_named_tuple_without_a_field_is_refused() -> None:
    """A field without a default has to be given."""
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'n_rows'"):
        Matrix(values=None)  # type: ignore[arg-type, call-arg]


def test_fields_of_a_named_tuple_cannot_be_set() -> None:
    """What was parsed stays as it was."""
    feature = Feature("age", "int")
    with pytest.raises(AttributeError):
        feature.name = "size"  # type: ignore[misc]


def test_literal_tells_its_values() -> None:
    """At run time too, where parsers compare with them."""
    assert typed.get_args(Kind) == ("float", "int", "bool", "categorical")


def test_forms_stand_in_unions() -> None:
    """Annotations are evaluated, whatever stands in them."""

    def function(kind: Kind | None, other: Sequence[str] | Kind) -> "typed.TypeGuard[float]":
        raise NotImplementedError

    assert set(function.__annotations__) == {"kind", "other", "return"}

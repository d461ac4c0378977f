"""A trained model and sample rows to a bundle, proved before it is there. Not shipped.

`pack` is what the notebook, `train` and the command share. It writes beside the destination, opens
what it wrote with the engine that will serve it, replays the golden rows, and only then moves the
bundle into place.
"""

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import xgboost

from model.bundle import check_replay, open_bundle
from model.errors import SourceError
from model.forest import UnsupportedForestError, encode_forest
from model.forest_engine import ForestEngine, is_available, recorded_crc
from model.golden import GoldenRow, encode_golden
from model.manifest import (
    FOREST,
    GOLDEN,
    MANIFEST,
    MODEL,
    NAME,
    VERSION,
    Data,
    Feature,
    Forest,
    Kind,
    Manifest,
    Policy,
    Scalar,
    encode_manifest,
)
from model.proof import first_difference, thresholds_of
from model.source import TrainedModel, inspect_model, stored_categories
from model.tables import (
    choose_golden,
    describe_feature,
    fingerprint,
    to_records,
    to_scalar,
    to_scalars,
    with_kinds,
    with_names,
)
from model.xgboost_engine import XGBoostEngine, library_version

_PROVING_THREADS = os.cpu_count() or 1


def pack(  # noqa: PLR0913  (a bundle is described by this much; all but four have defaults)
    model: Any,
    rows: pd.DataFrame,
    *,
    name: str,
    out: Path,
    version: str = "1.0.0",
    target: Sequence[Any] | None = None,
    labels: Sequence[Scalar] | None = None,
    categories: Mapping[str, Sequence[Scalar]] | None = None,
    metrics: Mapping[str, float] | None = None,
    data: Data | None = None,
    absent_field: Policy = "error",
    unknown_category: Policy = "error",
) -> Path:
    """The directory of the new bundle.

    Args:
        model: a trained model in memory, or what `model.source.load_model` read.
        rows: sample rows, `(n, n_features)` or more columns; they give types, ranges, categories
            and golden rows, so they should cover what the model will meet.
        name: the model's name: letters, digits, `-`, `_`, `.`.
        out: the bundle's directory; an older bundle there is replaced.
        version: the model's semantic version.
        target: the true values of the rows, `(n,)`, where known; kept with the golden rows.
        labels: the class labels in the order of XGBoost's class numbers; the numbers themselves
            where not given.
        categories: of categorical features, in the order of their codes in training, where neither
            the model file nor the rows' own type says it.
        metrics: what training measured.
        data: where the rows come from.
        absent_field: whether a request may leave a feature out.
        unknown_category: whether a category never seen counts as missing.

    Raises:
        SourceError: the model or the rows cannot become a bundle; says what and why.
        BundleError: the bundle does not predict what the model predicted; nothing is left behind.
    """
    trained = model if isinstance(model, TrainedModel) else inspect_model(model)
    check_identity(name, version)
    check_destination(out)
    frame = _align(trained, _checked(rows, target), categories or {})
    features = _features(trained, frame)
    names = _labels(trained, labels)
    golden = _golden(trained, frame, features, names, target)
    booster = _used_trees(trained, features)
    files = {MODEL: _saved(booster, "ubj"), GOLDEN: encode_golden(golden)}
    manifest = Manifest(
        name=name,
        version=version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=platform.machine(),
        task=trained.task,
        objective=trained.objective,
        labels=names,
        features=features,
        absent_field=absent_field,
        unknown_category=unknown_category,
        tree_range=trained.tree_range,
        xgboost_version=library_version(),
        metrics=dict(metrics or {}),
        data=data or fingerprint(rows, source="a table in memory"),
        files=_digests(files),
    )
    forest, compact = _forest(manifest, booster, files[MODEL])
    if compact is not None:
        files[FOREST] = compact
    manifest = manifest._replace(files=_digests(files), forest=forest)
    return _write(out, {MANIFEST: encode_manifest(manifest), **files})


def check_identity(name: str, version: str) -> None:
    """Refuses a name or a version that a bundle cannot have.

    Raises:
        SourceError: says which, and what it may be.
    """
    if not NAME.fullmatch(name):
        expected = "letters, digits, '-', '_' and '.', at most 128"
        raise SourceError(f"the name: got {name!r}, expected {expected}")
    if not VERSION.fullmatch(version) or len(version) > 64:
        raise SourceError(
            f"the version: got {version!r}, expected a semantic version such as 1.0.0"
        )


def check_destination(out: Path) -> None:
    """Refuses a place that holds something else than a bundle.

    Raises:
        SourceError: the place is in use.
    """
    if out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise SourceError(f"{out}: got something that is no bundle, expected a bundle or nothing")


def _checked(rows: pd.DataFrame, target: Sequence[Any] | None) -> pd.DataFrame:
    """The sample with names as text, once it is one that can be described."""
    if rows.empty:
        raise SourceError("the sample rows: got no rows, expected one at least")
    rows = with_names(rows, "the sample rows")
    if target is not None and len(target) != len(rows):
        expected = f"{len(rows)}, one for each row"
        raise SourceError(f"the target: got {len(target)} values, expected {expected}")
    return rows


def _align(
    trained: TrainedModel, rows: pd.DataFrame, categories: Mapping[str, Sequence[Scalar]]
) -> pd.DataFrame:
    """The rows with the model's columns in the model's order, and its types."""
    wanted = trained.booster.feature_names
    if wanted is None:
        if rows.shape[1] != trained.booster.num_features():
            expected = (
                f"{trained.booster.num_features()}: the model file has no names to pick them by"
            )
            raise SourceError(f"the sample rows: got {rows.shape[1]} columns, expected {expected}")
        wanted = list(rows.columns)
    if lacking := [name for name in wanted if name not in rows.columns]:
        expected = f"every feature of the model; it has {len(wanted)}"
        raise SourceError(f"the sample rows: got no column {lacking[0]!r}, expected {expected}")
    types = dict(zip(wanted, trained.booster.feature_types or [], strict=False))
    stored = stored_categories(trained.booster)
    columns = {}
    for name in wanted:
        column = rows[name]
        if types.get(name) == "c":
            known = stored.get(name) or categories.get(name)
            columns[name] = _as_category(name, column, known)
        else:
            columns[name] = column
    frame = with_kinds(pd.DataFrame(columns, index=rows.index))
    for name in wanted:
        is_category = isinstance(frame[name].dtype, pd.CategoricalDtype)
        if is_category and types.get(name) != "c":
            raise SourceError(
                f"column {name!r}: got text, expected numbers, as the model was trained on"
            )
    return frame


def _as_category(name: str, column: pd.Series, known: Sequence[Scalar] | None) -> pd.Series:
    """The column with the categories in the order of the model's codes.

    Guessing that order from the values would predict wrong numbers without a sign of it.
    """
    if known is None:
        if isinstance(column.dtype, pd.CategoricalDtype):
            return column
        raise SourceError(
            f"column {name!r}: got values whose category codes the model file does not tell, "
            "expected Parquet with the training's category type, or the categories in training "
            "order (--categories)"
        )
    strange = column.dropna()[~column.dropna().isin(list(known))]
    if len(strange):
        raise SourceError(
            f"column {name!r}: got {strange.iloc[0]!r}, expected one of {list(known)}"
        )
    return column.astype(object).astype(pd.CategoricalDtype(list(known)))


def _features(trained: TrainedModel, frame: pd.DataFrame) -> tuple[Feature, ...]:
    types = trained.booster.feature_types or [None] * frame.shape[1]
    return tuple(
        describe_feature(name, column, _kind(column, known))
        for (name, column), known in zip(frame.items(), types, strict=True)
    )


def _kind(column: pd.Series, known: str | None) -> Kind:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "categorical"
    if known == "i" or pd.api.types.is_bool_dtype(column.dtype):
        return "bool"
    return "int" if pd.api.types.is_integer_dtype(column.dtype) else "float"


def _labels(trained: TrainedModel, labels: Sequence[Scalar] | None) -> tuple[Scalar, ...]:
    if labels is None:
        return tuple(range(trained.n_classes))
    if len(labels) != trained.n_classes:
        what = f"{trained.n_classes} classes" if trained.n_classes else "regression, which has none"
        raise SourceError(f"the labels: got {len(labels)}, expected {trained.n_classes}: {what}")
    names = tuple(to_scalars(labels))
    if len({json.dumps(label) for label in names}) < len(names):
        raise SourceError(f"the labels: got {list(names)}, expected each label once")
    return names


def _golden(
    trained: TrainedModel,
    frame: pd.DataFrame,
    features: Sequence[Feature],
    labels: Sequence[Scalar],
    target: Sequence[Any] | None,
) -> list[GoldenRow]:
    """Rows of the sample with what the original object predicts for them."""
    positions = choose_golden(frame)
    chosen = frame.iloc[positions]
    predictions, probabilities = trained.predict(chosen, labels)
    records = to_records(chosen, {feature.name: feature.kind for feature in features})
    values = None if target is None else list(target)
    actual = None if values is None else _actual([values[at] for at in positions], labels)
    return [
        GoldenRow(
            row=record,
            prediction=predictions[i],
            probabilities=probabilities[i] if probabilities else None,
            actual=actual[i] if actual else None,
        )
        for i, record in enumerate(records)
    ]


def _actual(target: Sequence[Any], labels: Sequence[Scalar]) -> list[Scalar | None]:
    """True values as the user wrote them, None where missing; class numbers become their labels."""
    values = [None if pd.api.types.is_scalar(v) and pd.isna(v) else to_scalar(v) for v in target]
    known = [value for value in values if value is not None]
    if not labels or set(known) <= set(labels):
        return values
    if all(type(value) is int and 0 <= value < len(labels) for value in known):
        return [None if value is None else labels[int(value)] for value in values]
    strange = next(value for value in known if value not in labels)
    raise SourceError(f"the target: got {strange!r}, expected one of {list(labels)}")


def _used_trees(trained: TrainedModel, features: Sequence[Feature]) -> xgboost.Booster:
    """The trees that are used, with names and types even where the file had none."""
    booster = trained.booster[: trained.tree_range[1]]
    booster.feature_names = [feature.name for feature in features]
    if trained.booster.feature_types is None:
        booster.feature_types = [{"bool": "i", "int": "int"}.get(f.kind, "float") for f in features]
    else:
        booster.feature_types = trained.booster.feature_types
    return booster


def _saved(booster: xgboost.Booster, form: str) -> bytes:
    return bytes(booster.save_raw(raw_format=form))


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def _forest(
    manifest: Manifest, booster: xgboost.Booster, model: bytes
) -> tuple[Forest, bytes | None]:
    """The compact form of the model, once it has proved itself; else why there is none."""
    try:
        compact = encode_forest(model)
    except UnsupportedForestError as error:
        return Forest(refusal=str(error)), None
    if not is_available():
        return Forest(refusal="no compiled kernel was there to prove it with"), None
    n_features = len(manifest.features)
    with (
        closing(XGBoostEngine(manifest, model, n_threads=_PROVING_THREADS)) as reference,
        closing(ForestEngine(manifest, compact, n_threads=1)) as candidate,
    ):
        rows, difference = first_difference(
            reference,
            candidate,
            manifest.features,
            thresholds_of(_saved(booster, "json"), n_features),
        )
    if difference:
        return Forest(refusal=f"it does not predict what XGBoost predicts: {difference}"), None
    return Forest(proved_rows=rows, crc32=recorded_crc(compact)), compact


def _write(out: Path, files: Mapping[str, bytes]) -> Path:
    """Writes a proved bundle, or nothing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        fresh = Path(folder) / "bundle"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        _prove(fresh)
        old = Path(folder) / "old"
        if out.exists():
            out.rename(old)
        try:
            fresh.rename(out)
        except BaseException:
            if old.exists():
                old.rename(out)
            raise
    return out


def _prove(directory: Path) -> None:
    with closing(open_bundle(directory)) as bundle:
        check_replay(bundle)

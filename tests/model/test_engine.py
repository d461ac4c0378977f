from array import array

import pytest

from model.bundle import Bundle
from model.engine import open_engine
from model.errors import BundleFormatError, BundleMismatchError, BundleVersionError
from model.forest import encode_forest
from model.forest_engine import ForestEngine
from model.xgboost_engine import XGBoostEngine, library_version
from tests.conftest import Packed, bits


def files_of(packed: Packed) -> dict[str, bytes]:
    """The files of a bundle, by name."""
    return {name: (packed.directory / name).read_bytes() for name in packed.manifest.files}


@pytest.mark.kernel
def test_forest_serves_where_there_is_one(regression: Packed) -> None:
    """And XGBoost is not asked, not even whether it is new enough."""
    manifest = regression.manifest._replace(xgboost_version=(99, 0, 0))
    engine = open_engine(manifest, files_of(regression), n_threads=1)
    assert type(engine) is ForestEngine
    assert Bundle(manifest, "digest", list, engine).engine == "forest"
    engine.close()


def test_xgboost_serves_without_a_kernel(
    regression: Packed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no compiler was, nothing else changes; the log says so."""
    caplog.set_level("INFO", "model.engine")
    monkeypatch.setattr("model.forest_engine._forest", None)
    files = {**files_of(regression), "model.forest": encode_forest(regression.model)}
    engine = open_engine(regression.manifest, files, n_threads=1)
    assert type(engine) is XGBoostEngine
    engine.close()
    assert Bundle(regression.manifest, "digest", list, engine).engine == "xgboost"
    assert caplog.messages == ["this installation has no compiled kernel; XGBoost serves"]


def test_opened_engine_predicts_what_the_wrapper_does(regression: Packed) -> None:
    """The port carries the outputs through unchanged."""
    engine = open_engine(regression.manifest, files_of(regression), n_threads=1)
    n_rows = len(regression.frame)
    matrix = array("f", regression.frame.to_numpy(dtype="float32").ravel().tolist())
    assert engine.n_outputs == 1
    found = engine.predict(matrix, n_rows)
    assert bits(found) == bits(regression.estimator.predict(regression.frame))
    engine.close()


@pytest.mark.parametrize("bump", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_model_of_a_newer_library_is_refused(
    regression: Packed, bump: tuple[int, int, int]
) -> None:
    """An older library would load it without complaint and predict wrong numbers."""
    runtime = library_version()
    newer = (runtime[0] + bump[0], runtime[1] + bump[1], runtime[2] + bump[2])
    manifest = regression.manifest._replace(xgboost_version=newer)
    with pytest.raises(BundleVersionError) as caught:
        open_engine(manifest, {"model.ubj": regression.model}, n_threads=1)
    assert str(caught.value) == (
        f"manifest.json: xgboost_version: got a model written by XGBoost "
        f"{newer[0]}.{newer[1]}.{newer[2]}, expected at most "
        f"{runtime[0]}.{runtime[1]}.{runtime[2]}, the version installed here"
    )


@pytest.mark.parametrize("version", [(0, 0, 0), (1, 6, 2), library_version()])
def test_model_of_an_older_or_the_same_library_is_opened(
    regression: Packed, version: tuple[int, int, int]
) -> None:
    """XGBoost reads what its older releases wrote."""
    manifest = regression.manifest._replace(xgboost_version=version)
    open_engine(manifest, {"model.ubj": regression.model}, n_threads=1).close()


def test_version_is_audited_before_the_model_is_read(regression: Packed) -> None:
    """A file of the future need not even parse to be refused for the right reason."""
    manifest = regression.manifest._replace(xgboost_version=(99, 0, 0))
    with pytest.raises(BundleVersionError):
        open_engine(manifest, {"model.ubj": b"a format of the future"}, n_threads=1)


def test_unreadable_and_foreign_models_are_refused(regression: Packed, binary: Packed) -> None:
    """The audit of the engine itself is part of opening."""
    with pytest.raises(BundleFormatError):
        open_engine(regression.manifest, {"model.ubj": b"no model"}, n_threads=1)
    with pytest.raises(BundleMismatchError):
        open_engine(regression.manifest, {"model.ubj": binary.model}, n_threads=1)

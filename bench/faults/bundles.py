"""Two versions of a small model, rows to ask for, and what each version must answer."""

import json
from dataclasses import dataclass
from pathlib import Path

from model.bundle import open_bundle
from model.pack import pack
from model.tables import to_records

VERSIONS = ("1.0.0", "2.0.0")
NAME = "faults"


@dataclass(frozen=True, slots=True)
class Material:
    """What is asked, and what must come back.

    Attributes:
        bundles: directories, by version.
        path: of the file with rows and answers, for the askers.
    """

    bundles: dict[str, Path]
    path: Path


def make_material(folder: Path) -> Material:
    """Trains, packs, and predicts without a bus."""
    import xgboost
    from sklearn.datasets import load_wine

    data = load_wine(as_frame=True)
    bundles, answers, rows = {}, {}, to_records(data.data)
    for n_trees, version in zip((20, 25), VERSIONS, strict=True):
        estimator = xgboost.XGBClassifier(n_estimators=n_trees, max_depth=3, n_jobs=1)
        estimator.fit(data.data, data.target)
        labels = ["barolo", "grignolino", "barbera"]
        bundles[version] = pack(
            estimator, data.data, out=folder / version, name=NAME, version=version, labels=labels
        )
        bundle = open_bundle(bundles[version])
        try:
            found = bundle.predict(list(rows))
        finally:
            bundle.close()
        assert found.probabilities is not None
        answers[version] = [
            [prediction, list(probabilities)]
            for prediction, probabilities in zip(
                found.predictions, found.probabilities, strict=True
            )
        ]
    path = folder / "answers.json"
    path.write_text(json.dumps({"rows": list(rows), "answers": answers}))
    return Material(bundles, path)

"""A bundle that lies: whole in every file, but its model never predicted what it has on record."""

import json
import shutil
from pathlib import Path

from model.bundle import open_bundle
from model.digest import sha256
from model.golden import encode_golden
from model.manifest import GOLDEN, MANIFEST


def sabotage(bundle: Path, out: Path, version: str) -> Path:
    """Writes a copy of a bundle in which one golden row records another prediction; gives `out`.

    All checksums fit, so that only a replay of the golden rows finds out.

    Args:
        bundle: the directory of a good bundle, of a model whose predictions are not all the same.
        out: the copy's directory; replaced where it is there.
        version: of the model, as the copy says.

    Raises:
        BundleError: the bundle cannot be opened.
        OSError: a file cannot be read or written.
    """
    opened = open_bundle(bundle)
    golden = list(opened.golden)
    opened.close()
    other = next(row.prediction for row in golden if row.prediction != golden[0].prediction)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(bundle, out)
    content = encode_golden([golden[0]._replace(prediction=other), *golden[1:]])
    (out / GOLDEN).write_bytes(content)
    manifest = json.loads((out / MANIFEST).read_bytes())
    manifest["version"] = version
    manifest["files"][GOLDEN] = sha256(content)
    (out / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return out

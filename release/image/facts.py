"""What an image is made of, read from `docker save`: nothing in it is run."""

import json
import re
import tarfile
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from release.errors import CommandError
from release.image.docker import run_docker
from release.image.packages import Package, is_record, read_packages

MODEL_NAME = "edgexgb.model.name"
MODEL_VERSION = "edgexgb.model.version"
MODEL_DIGEST = "edgexgb.model.digest"
ENGINE = "edgexgb.engine"

_CHUNK_BYTES = 1 << 20
_CONTENTS = {
    "opt/bundle/": "model",
    "opt/edgexgb/": "our code",
    "opt/packages/": "packages",
    "usr/": "interpreter and libraries",
}
"""By where a layer's first file is; the most particular first."""

_PARTS = (
    ("interpreter", re.compile(r"usr/bin/.*")),
    ("standard library", re.compile(r"usr/lib/python3[^/]*/.*")),
    ("licences and records", re.compile(r"(usr/share/doc|var/lib/dpkg|etc)/.*|.*\.dist-info/.*")),
    ("shared libraries", re.compile(r"(usr/)?lib.*")),
    ("awscrt", re.compile(r"opt/packages/(_awscrt|awscrt).*")),
    ("awsiotsdk", re.compile(r"opt/packages/awsiot/.*")),
    ("XGBoost's library", re.compile(r"opt/packages/xgboost.*")),
    ("awslambdaric", re.compile(r"opt/packages/.*")),
    ("our code", re.compile(r"opt/edgexgb/.*")),
    ("model", re.compile(r"opt/bundle/.*")),
)
"""The parts of an image that its size is told by; the first that a path matches counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OurImage:
    """An image that `edgexgb image build` has made, as docker records it.

    Attributes:
        reference: what it was asked for by.
        id: its digest on this machine, `sha256:…`; the same for both doors.
        platform: `linux/amd64`, say.
        labels: as they are.
        entrypoint: what docker starts in it.
        layers: their digests, from the first to the last.
    """

    reference: str
    id: str
    platform: str
    labels: Mapping[str, str]
    entrypoint: tuple[str, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer of an image.

    Attributes:
        digest: of its uncompressed tar, `sha256:…`: the same wherever it is pulled from.
        size_bytes: of its files.
        pull_bytes: about what a device pulls: the tar, compressed as registries keep it.
        content: what it holds, in words.
    """

    digest: str
    size_bytes: int
    pull_bytes: int
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What an image is made of.

    Attributes:
        reference: what it was asked for by.
        id: its digest on this machine, `sha256:…`; the same for both doors.
        platform: `linux/amd64`, say.
        labels: as they are.
        layers: from the first to the last, which is the model's.
        parts: part to bytes, where the image is one of ours.
        packages: by kind and name.
    """

    reference: str
    id: str
    platform: str
    labels: Mapping[str, str]
    layers: list[Layer]
    parts: Mapping[str, int]
    packages: list[Package] = field(repr=False)

    @property
    def size_bytes(self) -> int:
        """Of all files, uncompressed."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def update(self) -> Layer:
        """What a device pulls for another model: the last layer."""
        return self.layers[-1]


def find_image(reference: str) -> OurImage:
    """An image of ours that is on this machine.

    Raises:
        CommandError: it is not, or there is no docker or daemon; or it is none of ours.
    """
    found = json.loads(run_docker("image", "inspect", reference))[0]
    config = found["Config"]
    labels = config.get("Labels") or {}
    if MODEL_DIGEST not in labels:
        raise CommandError(
            f"{reference}: got an image without the label {MODEL_DIGEST}, expected one that "
            "`edgexgb image build` has made"
        )
    return OurImage(
        reference=reference,
        id=found["Id"],
        platform=f"{found['Os']}/{found['Architecture']}",
        labels=dict(sorted(labels.items())),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        layers=tuple(found["RootFS"]["Layers"]),
    )


def read_image(reference: str) -> ImageFacts:
    """The facts of an image that is on this machine.

    Raises:
        CommandError: it is not, or there is no docker or daemon; or it is none of ours.
    """
    found = find_image(reference)
    with tempfile.TemporaryDirectory(prefix="edgexgb-image-") as folder:
        saved = Path(folder) / "image.tar"
        run_docker("image", "save", "--output", str(saved), reference)
        contents = read_saved(saved)
    records = {name: text for content in contents for name, text in content.records.items()}
    return ImageFacts(
        reference=reference,
        id=found.id,
        platform=found.platform,
        labels=found.labels,
        layers=[
            content.layer(digest) for digest, content in zip(found.layers, contents, strict=True)
        ],
        parts=_parts(contents),
        packages=read_packages(records),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerContent:
    """What is in a layer.

    Attributes:
        files: path, without a leading `/`, to size in bytes.
        records: the text of those files that tell of packages.
        pull_bytes: see `Layer`.
    """

    files: Mapping[str, int]
    records: Mapping[str, str]
    pull_bytes: int

    def layer(self, digest: str) -> Layer:
        """The layer, of which only the digest is recorded elsewhere."""
        return Layer(
            digest=digest,
            size_bytes=sum(self.files.values()),
            pull_bytes=self.pull_bytes,
            content=_describe(self.files),
        )


def read_saved(path: Path) -> list[LayerContent]:
    """The contents of an image's layers, first to last, of an archive by `docker save`.

    Source: moby, `image/spec`: `manifest.json` names the layers' archives, in either layout.
    """
    with tarfile.open(path) as saved:
        manifest = json.load(_member(saved, "manifest.json"))[0]
        return [_read_layer(_member(saved, name)) for name in manifest["Layers"]]


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    assert found is not None, name  # only a directory has no content
    return found


def _read_layer(file: IO[bytes]) -> LayerContent:
    pull_bytes = _compressed_bytes(file)
    files: dict[str, int] = {}
    records: dict[str, str] = {}
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if member.isdir():
                continue
            files[name] = member.size or len(member.linkname)  # as docker counts them
            if member.isfile() and is_record(name):
                records[name] = _member(archive, member.name).read().decode(errors="replace")
    return LayerContent(files=files, records=records, pull_bytes=pull_bytes)


def _compressed_bytes(file: IO[bytes]) -> int:
    """The size of a layer's archive as a registry would keep it."""
    start = file.read(2)
    file.seek(0)
    if start == b"\x1f\x8b":  # as it is kept here, too
        return sum(len(chunk) for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""))
    deflate = zlib.compressobj()
    n_bytes = sum(
        len(deflate.compress(chunk)) for chunk in iter(lambda: file.read(_CHUNK_BYTES), b"")
    )
    return n_bytes + len(deflate.flush())


def _describe(files: Mapping[str, int]) -> str:
    for folder, content in _CONTENTS.items():
        if any(name.startswith(folder) for name in files):
            return content
    return "other files"


def _parts(contents: Iterable[LayerContent]) -> dict[str, int]:
    """Part to bytes, the greatest first."""
    sizes: Counter[str] = Counter()
    for content in contents:
        for name, size in content.files.items():
            part = next(
                (part for part, pattern in _PARTS if pattern.fullmatch(name)), "other files"
            )
            sizes[part] += size
    return dict(sizes.most_common())

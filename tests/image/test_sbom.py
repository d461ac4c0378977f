import json
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from release.image.facts import ImageFacts, Layer
from release.image.packages import Package
from release.image.sbom import write_sbom

DIGEST = "ab" * 32
FACTS = ImageFacts(
    reference="edgexgb-wine:1.2.3",
    id=f"sha256:{DIGEST}",
    platform="linux/amd64",
    labels={
        "edgexgb.model.name": "wine",
        "edgexgb.model.version": "1.2.3",
        "edgexgb.model.digest": DIGEST,
    },
    layers=[Layer(digest="sha256:1", size_bytes=3, pull_bytes=2, content="model")],
    parts={"model": 3},
    packages=[
        Package(
            name="libc6",
            version="2.41-12",
            kind="debian",
            licence="LGPL-2.1-or-later",
            source="glibc",
            architecture="amd64",
        ),
        Package(name="odd", version="1", kind="debian", licence="Some words", architecture="amd64"),
        Package(name="simplejson", version="4.3.0", kind="python", licence="MIT OR AFL-2.1"),
        Package(name="dark", version="1", kind="python", licence="unknown"),
    ],
)


def written(tmp_path: Path) -> str:
    write_sbom(FACTS, tmp_path / "sbom.json")
    return (tmp_path / "sbom.json").read_text()


def test_sbom_holds_to_the_schema(tmp_path: Path) -> None:
    """CycloneDX's own, strictly."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written(tmp_path)) is None


def test_sbom_names_every_package_with_version_licence_and_place(tmp_path: Path) -> None:
    """Debian's and Python's, each by the URL that scanners compare, and the model."""
    found = json.loads(written(tmp_path))
    components = {entry["name"]: entry for entry in found["components"]}
    assert components["libc6"]["purl"] == "pkg:deb/debian/libc6@2.41-12?arch=amd64"
    assert components["libc6"]["licenses"][0]["license"]["id"] == "LGPL-2.1-or-later"
    assert components["odd"]["licenses"][0]["license"]["name"] == "Some words"
    assert components["simplejson"]["purl"] == "pkg:pypi/simplejson@4.3.0"
    assert components["simplejson"]["licenses"] == [{"expression": "MIT OR AFL-2.1"}]
    assert "licenses" not in components["dark"]
    assert components["wine"]["type"] == "machine-learning-model"
    assert components["wine"]["hashes"] == [{"alg": "SHA-256", "content": DIGEST}]
    assert found["metadata"]["component"]["version"] == f"sha256:{DIGEST}"
    depends = {entry["ref"]: entry.get("dependsOn", []) for entry in found["dependencies"]}
    assert len(depends["image"]) == len(components)

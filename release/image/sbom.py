"""An image's bill of materials: CycloneDX, by the project's own library for it."""

from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from release.image.facts import MODEL_DIGEST, MODEL_NAME, MODEL_VERSION, ImageFacts
from release.image.packages import UNKNOWN, Package

_COPYRIGHT = "usr/share/doc/{}/copyright"


def write_sbom(facts: ImageFacts, path: Path) -> None:
    """Writes the bill of materials of an image, as JSON.

    Raises:
        OSError: the file cannot be written.
    """
    writer = make_outputter(make_bom(facts), OutputFormat.JSON, SchemaVersion.V1_6)
    path.write_text(writer.output_as_string(indent=2) + "\n", encoding="utf-8")


def make_bom(facts: ImageFacts) -> Bom:
    """The bill of materials: the image, its packages, and the model."""
    bom = Bom()
    image = Component(
        name=facts.reference,
        version=facts.id,
        type=ComponentType.CONTAINER,
        bom_ref="image",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=facts.id.removeprefix("sha256:"))],
        properties=[Property(name=name, value=value) for name, value in facts.labels.items()],
    )
    bom.metadata.component = image
    parts = [_component(package) for package in facts.packages]
    parts.append(
        Component(
            name=facts.labels[MODEL_NAME],
            version=facts.labels[MODEL_VERSION],
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref="model",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=facts.labels[MODEL_DIGEST])],
        )
    )
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(image, parts)
    return bom


def _component(package: Package) -> Component:
    if package.kind == "debian":
        purl = PackageURL(
            type="deb",
            namespace="debian",
            name=package.name,
            version=package.version,
            qualifiers={"arch": package.architecture},
        )
    else:
        purl = PackageURL(type="pypi", name=package.name.lower(), version=package.version)
    licences = (
        [] if package.licence == UNKNOWN else [LicenseFactory().make_from_string(package.licence)]
    )
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        purl=purl,
        licenses=licences,
    )

"""Packages in an image, from what Debian and pip recorded of them, with their licences."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import PurePosixPath

UNKNOWN = "unknown"

_STATUS = "var/lib/dpkg/status.d/"
_COPYRIGHT = re.compile(r"usr/share/doc/([^/]+)/copyright")
_METADATA = re.compile(r"opt/packages/[^/]+\.dist-info/METADATA")

_DECLARED = {
    "libgcc-s1": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgomp1": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libpython3-minimal": "PSF-2.0",
    "libpython3-stdlib": "PSF-2.0",
    "libstdc++6": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libuuid1": "BSD-3-Clause",
    "python3-minimal": "PSF-2.0",
}
"""Of Debian packages whose copyright file says it in prose, or says it of another part.

The names are without the minor version of Python. Source: the copyright files themselves.
"""

_SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD-3-clause": "BSD-3-Clause",
    "BSD-2-clause": "BSD-2-Clause",
    "Expat": "MIT",
    "MIT License": "MIT",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package, or what is left of it, in an image.

    Attributes:
        name: as its own world has it.
        version: likewise.
        kind: whose world that is: `debian` or `python`.
        licence: an SPDX expression where the package's words can be read as one; else those words,
            or `unknown`.
        source: the Debian source package, empty for Python.
        architecture: Debian's name of it, empty for Python.
    """

    name: str
    version: str
    kind: str
    licence: str
    source: str = ""
    architecture: str = ""


def is_record(name: str) -> bool:
    """Whether a file of an image, by its path without a leading `/`, tells of a package."""
    return bool(name.startswith(_STATUS) or _COPYRIGHT.fullmatch(name) or _METADATA.fullmatch(name))


def read_packages(records: Mapping[str, str]) -> list[Package]:
    """The packages that records tell of, by kind and name.

    Args:
        records: path to text, of each file that `is_record`.
    """
    found = []
    for name, text in records.items():
        if name.startswith(_STATUS):
            plain = PurePosixPath(name).name
            copyright_file = records.get(f"usr/share/doc/{plain}/copyright", "")
            found.append(_debian(HeaderParser().parsestr(text), copyright_file))
        elif _METADATA.fullmatch(name):
            found.append(_python(HeaderParser().parsestr(text)))
    return sorted(found, key=lambda package: (package.kind, package.name.lower()))


def _debian(fields: Message, copyright_file: str) -> Package:
    name = str(fields["Package"])
    return Package(
        name=name,
        version=str(fields["Version"]),
        kind="debian",
        licence=_DECLARED.get(re.sub(r"(python3)\.\d+", r"\1", name)) or _main(copyright_file),
        source=str(fields.get("Source", name)).split(" ")[0],
        architecture=str(fields["Architecture"]),
    )


def _main(copyright_file: str) -> str:
    """The licence of most files, where the copyright file is in Debian's machine-readable form."""
    for paragraph in re.split(r"\n\s*\n", copyright_file):
        fields = HeaderParser().parsestr(paragraph.strip())
        if fields.get("Files", "").split()[:1] == ["*"] and fields.get("License"):
            return _to_spdx(str(fields["License"]).splitlines()[0])
    return UNKNOWN


def _python(fields: Message) -> Package:
    classifiers = [str(value) for value in fields.get_all("Classifier", [])]
    named = [value.split(" :: ")[-1] for value in classifiers if value.startswith("License ::")]
    text = str(fields.get("License-Expression") or fields.get("License") or "")
    first = text.strip().splitlines()[0].split(" :: ")[-1] if text.strip() else ""
    return Package(
        name=str(fields["Name"]),
        version=str(fields["Version"]),
        kind="python",
        licence=_to_spdx(first or (named[0] if named else UNKNOWN)),
    )


def _to_spdx(licence: str) -> str:
    """Debian's and the classifiers' usual names as SPDX has them; others as they are."""
    licence = licence.strip()
    if known := _SPDX.get(licence):
        return known
    if " or " in licence:
        return " OR ".join(_to_spdx(one) for one in licence.split(" or "))
    if found := re.fullmatch(r"((?:L|A)?GPL)-(\d)(\.\d)?(\+?)", licence):
        family, major, minor, later = found.groups()
        return f"{family}-{major}{minor or '.0'}-{'or-later' if later else 'only'}"
    return licence

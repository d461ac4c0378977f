import pytest

from release.image.packages import Package, is_record, read_packages

STATUS = "var/lib/dpkg/status.d/"


def debian(name: str, copyright_file: str = "", **fields: str) -> Package:
    record = {"Package": name, "Version": "1:2-3", "Architecture": "arm64", **fields}
    text = "".join(f"{key}: {value}\n" for key, value in record.items())
    documents = f"usr/share/doc/{name}/copyright"
    return read_packages({f"{STATUS}{name}": text, documents: copyright_file})[0]


def python(text: str) -> Package:
    return read_packages({"opt/packages/a-1.dist-info/METADATA": f"Name: A\nVersion: 1\n{text}\n"})[
        0
    ]


@pytest.mark.parametrize(
    ("written", "licence"),
    [
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("GPL-3+", "GPL-3.0-or-later"),
        ("Expat", "MIT"),
        ("BSD-3-clause or GPL-2", "BSD-3-Clause OR GPL-2.0-only"),
        ("Zlib", "Zlib"),
    ],
)
def test_debian_licence_is_that_of_most_files(written: str, licence: str) -> None:
    """The paragraph of `*` counts, in SPDX's words; that of single files does not."""
    text = (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
        "Files: debian/*\nLicense: Other\n\n"
        f"Files: *\nCopyright: 2020 Someone\nLicense: {written}\n with more text\n"
    )
    assert debian("liba", text) == Package(
        name="liba",
        version="1:2-3",
        kind="debian",
        licence=licence,
        source="liba",
        architecture="arm64",
    )


def test_debian_licence_in_prose_is_known_for_what_an_image_has() -> None:
    """Python's own minor version does not matter; what nobody declared is unknown."""
    assert debian("python3.13-minimal").licence == "PSF-2.0"
    assert debian("libstdc++6").licence == "GPL-3.0-or-later WITH GCC-exception-3.1"
    assert debian("libb", "Written by hand.").licence == "unknown"


def test_debian_source_is_without_its_version() -> None:
    """`Source` has the version in brackets where it differs."""
    assert debian("libb", Source="b (1.0)").source == "b"


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("License-Expression: MIT OR AFL-2.1", "MIT OR AFL-2.1"),
        ("License: Apache License 2.0", "Apache-2.0"),
        ("License: License :: OSI Approved :: Apache Software License", "Apache-2.0"),
        ("Classifier: License :: OSI Approved :: MIT License", "MIT"),
        ("Classifier: Topic :: Other", "unknown"),
    ],
)
def test_python_licence_is_found_in_each_of_its_fields(text: str, licence: str) -> None:
    """An expression, a name, a classifier as a name, a classifier, nothing."""
    assert python(text) == Package(name="A", version="1", kind="python", licence=licence)


def test_records_are_told_by_their_place() -> None:
    """The three kinds of files that are read, and near ones that are not."""
    assert is_record(f"{STATUS}libc6")
    assert is_record("usr/share/doc/libc6/copyright")
    assert is_record("opt/packages/awscrt-0.36.1.dist-info/METADATA")
    assert not is_record("opt/packages/awscrt-0.36.1.dist-info/WHEEL")
    assert not is_record("usr/share/doc/libc6/changelog")

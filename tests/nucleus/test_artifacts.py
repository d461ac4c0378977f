import stat
import struct
import zipfile
from pathlib import Path

import pytest

from nucleus.artifacts import check_artifacts, component_paths, local_files, place_artifacts
from nucleus.errors import RecipeError
from nucleus.recipe import Artifact, Manifest, Recipe, parse_recipe
from nucleus.root import DeviceRoot

S3 = "s3://bucket/folder/"


def recipe() -> Recipe:
    return parse_recipe(
        "RecipeFormatVersion: '2020-01-25'\n"
        "ComponentName: a.B\n"
        "ComponentVersion: 1.2.3\n"
        "Manifests: [{Lifecycle: {run: 'true'}}]\n",
        "r.yaml",
    )


def manifest(*artifacts: Artifact) -> Manifest:
    return Manifest(
        place="r.yaml: Manifests[0]", platform={}, lifecycle={}, setenv={}, artifacts=artifacts
    )


def place(root: Path, found: Manifest, *files: Path) -> tuple[Path, Path]:
    """Where the files are, and where they are unpacked, once they were placed."""
    paths = component_paths(DeviceRoot(root), recipe())
    place_artifacts(found, {file.name: file for file in files}, paths)
    return Path(paths.artifacts), Path(paths.artifacts_unarchived)


def zip_file(path: Path, content: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return path


def test_paths_are_those_of_a_real_device(tmp_path: Path) -> None:
    """By name and version, under the root."""
    paths = component_paths(DeviceRoot(tmp_path), recipe())
    assert paths.artifacts == f"{tmp_path}/packages/artifacts/a.B/1.2.3"
    assert paths.artifacts_unarchived == f"{tmp_path}/packages/artifacts-unarchived/a.B/1.2.3"
    assert paths.work == f"{tmp_path}/work/a.B"


def test_local_files_are_those_of_name_and_version(tmp_path: Path) -> None:
    """Other versions, other components and directories are passed over."""
    here = tmp_path / "a.B" / "1.2.3"
    (here / "directory").mkdir(parents=True)
    (here / "x.txt").write_text("x")
    (tmp_path / "a.B" / "1.2.4").mkdir()
    (tmp_path / "a.B" / "1.2.4" / "y.txt").write_text("y")
    assert local_files(tmp_path, recipe()) == {"x.txt": here / "x.txt"}
    assert local_files(tmp_path / "elsewhere", recipe()) == {}
    assert local_files(None, recipe()) == {}


def test_file_is_copied_in_place_of_an_earlier_one(tmp_path: Path) -> None:
    """What an earlier start left is gone."""
    file = tmp_path / "x.txt"
    file.write_text("one")
    kept, unpacked = place(tmp_path / "root", manifest(Artifact(uri=f"{S3}x.txt")), file)
    assert (kept / "x.txt").read_text() == "one"
    (kept / "stale").write_text("")
    (unpacked / "stale").write_text("")
    file.write_text("two")
    place(tmp_path / "root", manifest(Artifact(uri=f"{S3}x.txt")), file)
    assert [path.name for path in kept.iterdir()] == ["x.txt"]
    assert (kept / "x.txt").read_text() == "two"
    assert list(unpacked.iterdir()) == []


def test_zip_file_is_unpacked_under_its_stem(tmp_path: Path) -> None:
    """Beside the file itself."""
    file = zip_file(tmp_path / "app.zip", {"run.sh": "echo", "lib/x": "y"})
    found = manifest(Artifact(uri=f"{S3}app.zip", unarchive=True))
    kept, unpacked = place(tmp_path / "root", found, file)
    assert (kept / "app.zip").is_file()
    assert (unpacked / "app" / "run.sh").read_text() == "echo"
    assert (unpacked / "app" / "lib" / "x").read_text() == "y"


def test_zip_file_unpacks_into_its_own_directory_alone(tmp_path: Path) -> None:
    """Whatever its names say."""
    file = zip_file(tmp_path / "app.zip", {"../../../../evil": "x", "/abs/evil": "x"})
    found = manifest(Artifact(uri=f"{S3}app.zip", unarchive=True))
    _kept, unpacked = place(tmp_path / "root", found, file)
    evil = list(tmp_path.rglob("evil"))
    assert len(evil) == 2
    assert all(path.is_relative_to(unpacked / "app") for path in evil)


def test_image_is_left_to_docker(tmp_path: Path) -> None:
    """Nothing is pulled, nothing copied."""
    kept, unpacked = place(tmp_path, manifest(Artifact(uri="docker:image:1")))
    assert list(kept.iterdir()) == list(unpacked.iterdir()) == []


def test_file_that_is_no_zip_is_named(tmp_path: Path) -> None:
    """With the place in the recipe."""
    file = tmp_path / "app.zip"
    file.write_text("no zip")
    with pytest.raises(RecipeError) as caught:
        place(
            tmp_path / "root",
            manifest(
                Artifact(uri="docker:x:1"), Artifact(uri="greengrass:id/app.zip", unarchive=True)
            ),
            file,
        )
    assert str(caught.value) == (
        "r.yaml: Manifests[0].Artifacts[1].URI: got 'app.zip' (File is not a zip file), "
        "expected a zip file"
    )


def test_damaged_zip_is_named(tmp_path: Path) -> None:
    """Its directory may be whole, and what it lists not."""
    file = zip_file(tmp_path / "app.zip", {"run.sh": "echo hello"})
    content = bytearray(file.read_bytes())
    start = content.index(b"echo hello")
    content[start] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        place(tmp_path / "root", manifest(Artifact(uri=f"{S3}app.zip", unarchive=True)), file)
    assert caught.value.observed == "'app.zip' (Bad CRC-32 for file 'run.sh')"


def test_zip_with_a_password_is_named(tmp_path: Path) -> None:
    """Nobody could type it in."""
    file = zip_file(tmp_path / "app.zip", {"run.sh": "echo hello"})
    content = bytearray(file.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1  # the flag of encryption
    file.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        place(tmp_path / "root", manifest(Artifact(uri=f"{S3}app.zip", unarchive=True)), file)
    assert "password required" in caught.value.observed


def test_zip_file_that_unpacks_to_far_more_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """By the deployment's check, and by the device: a bomb of kilobytes would fill the disk."""
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(65):
            archive.writestr(f"{i}", bytes(1024**2))
    found = manifest(Artifact(uri=f"{S3}bomb.zip", unarchive=True))
    text = f"'bomb.zip', {65 * 1024**2} bytes unpacked, expected at most {64 * 1024**2}"
    with pytest.raises(RecipeError, match=text):
        check_artifacts(found, {"bomb.zip": bomb})
    with pytest.raises(RecipeError, match=text):
        place(tmp_path / "root", found, bomb)
    assert list((tmp_path / "root").rglob("artifacts-unarchived/**/bomb")) == []


def test_zip_file_that_lies_about_its_size_unpacks_to_no_more_than_it_says(tmp_path: Path) -> None:
    """So that the check counts."""
    liar = zip_file(tmp_path / "liar.zip", {"x": "y" * 5000})
    content = liar.read_bytes()
    size = struct.pack("<I", 5000)
    assert content.count(size) == 4  # packed and unpacked, in either header
    liar.write_bytes(content.replace(size, struct.pack("<I", 10)))
    with pytest.raises(RecipeError, match=r"liar\.zip"):
        place(tmp_path / "root", manifest(Artifact(uri=f"{S3}liar.zip", unarchive=True)), liar)
    written = [it for it in (tmp_path / "root").rglob("liar/x") if it.stat().st_size > 10]
    assert written == []


def test_link_in_a_zip_file_is_no_link(tmp_path: Path) -> None:
    """It would lead whatever is written after it out of the directory."""
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("out")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(tmp_path))
        archive.writestr("out2", "x")
    _, unpacked = place(
        tmp_path / "root", manifest(Artifact(uri=f"{S3}link.zip", unarchive=True)), path
    )
    assert (unpacked / "link" / "out").is_file()
    assert not (unpacked / "link" / "out").is_symlink()


@pytest.mark.parametrize("name", ["...zip", "..zip"])
def test_zip_file_of_dots_alone_is_refused(name: str, tmp_path: Path) -> None:
    """Its stem would name a directory above its own."""
    path = zip_file(tmp_path / name, {"x": "y"})
    with pytest.raises(RecipeError, match="expected a zip file with a name"):
        place(tmp_path / "root", manifest(Artifact(uri=S3 + name, unarchive=True)), path)

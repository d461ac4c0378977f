import fcntl
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from nucleus.errors import DeviceError
from nucleus.root import DeviceRoot, write_json


def test_held_root_says_who_holds_it(tmp_path: Path) -> None:
    """And nobody, once it is let go."""
    root = DeviceRoot(tmp_path / "device")
    assert root.holder() is None
    with root.hold({"personality": "lite"}, {}):
        assert root.holder() == {"pid": os.getpid(), "personality": "lite"}
        assert root.running()["personality"] == "lite"
    assert root.holder() is None
    with pytest.raises(DeviceError) as caught:
        root.running()
    assert str(caught.value) == (
        f"{tmp_path}/device: got no core device that runs, "
        "expected one; `edgexgb device start` starts it"
    )


def test_root_is_held_by_one_device(tmp_path: Path) -> None:
    """A second one would take its socket away."""
    with DeviceRoot(tmp_path).hold({}, {}), pytest.raises(DeviceError) as caught:
        DeviceRoot(tmp_path).hold({}, {}).__enter__()
    assert str(caught.value) == (
        f"{tmp_path}: got a core device that runs (pid {os.getpid()}), expected none; "
        "`edgexgb device stop` ends it"
    )


def test_root_of_a_killed_device_is_free(tmp_path: Path) -> None:
    """The kernel lets go of the lock."""
    code = (
        "import sys, pathlib, nucleus.root as r\n"
        "with r.DeviceRoot(pathlib.Path(sys.argv[1])).hold({}, {}):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as device:
        assert device.stdout is not None
        assert device.stdout.readline() == b"held\n"
        assert DeviceRoot(tmp_path).running()["pid"] == device.pid
        device.kill()
    assert DeviceRoot(tmp_path).holder() is None
    with DeviceRoot(tmp_path).hold({}, {}):
        pass


def test_socket_of_a_deep_root_is_elsewhere_and_fits(tmp_path: Path) -> None:
    """The same place each time, and one that the kernel takes."""
    deep = DeviceRoot(tmp_path / ("d" * 120))
    assert deep.socket == DeviceRoot(tmp_path / ("d" * 120)).socket
    assert deep.socket.is_relative_to(tempfile.gettempdir())
    deep.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(deep.socket))
    deep.socket.unlink()
    deep.socket.parent.rmdir()
    near = DeviceRoot(Path("/tmp"))
    assert near.socket == Path("/tmp/ipc.socket").resolve()


def test_socket_directory_lasts_as_long_as_it_is_needed(tmp_path: Path) -> None:
    """One beside the root goes; the root itself stays."""
    deep = DeviceRoot(tmp_path / ("d" * 120))
    with deep.socket_directory():
        assert stat.S_IMODE(deep.socket.parent.stat().st_mode) & 0o022 == 0
    assert not deep.socket.parent.exists()
    with DeviceRoot(tmp_path).socket_directory():
        pass
    assert tmp_path.exists()


def test_socket_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Whoever guessed its name could listen there, and would be told our tokens."""
    deep = DeviceRoot(tmp_path / ("d" * 120))
    target = tmp_path / "theirs"
    target.mkdir()
    deep.socket.parent.symlink_to(target)
    try:
        with pytest.raises(DeviceError) as caught, deep.socket_directory():
            pass
    finally:
        deep.socket.parent.unlink()
    assert str(caught.value) == (
        f"{deep.socket.parent}: got somebody else's, expected a directory of ours"
    )


def test_root_that_somebody_looks_at_is_not_held(tmp_path: Path) -> None:
    """A look takes an instant, and a device that starts waits for it."""
    root = DeviceRoot(tmp_path)
    with root.hold({}, {}):
        pass
    with (tmp_path / "device.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        release = threading.Timer(0.1, lambda: fcntl.flock(file, fcntl.LOCK_UN))
        release.start()
        with root.hold({}, {}):
            assert root.running()["pid"] == os.getpid()
        release.join()


def test_device_that_has_not_said_who_it_is_is_none_yet(tmp_path: Path) -> None:
    """The lock comes before its content."""
    root = DeviceRoot(tmp_path)
    with root.hold({}, {}):
        (tmp_path / "device.lock").write_text('{"pi')
        assert root.holder() is None


def test_tools_of_this_user_alone_read_the_token(tmp_path: Path) -> None:
    """In greengrass-cli's form."""
    root = DeviceRoot(tmp_path)
    root.write_tools_token("SECRET")
    assert root.read_tools_token() == (str(root.socket), "SECRET")
    (file,) = (tmp_path / "cli_ipc_info").iterdir()
    assert file.name == f"user-{os.getuid()}"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"{", "Expecting property name enclosed in double quotes"),
        (b"[]", "got a list, expected an object"),
        (b"{}", "got no 'domain_socket_path', expected a core device's file"),
    ],
)
def test_damaged_file_is_named(content: bytes, text: str, tmp_path: Path) -> None:
    """No traceback for a file that someone edited."""
    root = DeviceRoot(tmp_path)
    root.write_tools_token("SECRET")
    file = tmp_path / "cli_ipc_info" / f"user-{os.getuid()}"
    file.write_bytes(content)
    with pytest.raises(DeviceError) as caught:
        root.read_tools_token()
    assert str(caught.value).startswith(str(file))
    assert text in str(caught.value)


def test_status_is_of_the_device_that_runs(tmp_path: Path) -> None:
    """What an earlier device left there is never shown, not for an instant."""
    root = DeviceRoot(tmp_path)
    root.write_status({"components": ["old"]})
    with pytest.raises(DeviceError):
        root.read_status()
    with root.hold({}, {"components": []}):
        assert root.read_status() == {"components": []}
        root.write_status({"components": ["new"]})
        assert root.read_status() == {"components": ["new"]}


def test_directory_of_ones_own_may_be_entered_by_components(tmp_path: Path) -> None:
    """As on a real device, whatever the user's umask; one that was there stays as it was."""
    before = os.umask(0o077)
    try:
        for name in ("made", "found"):
            if name == "found":
                (tmp_path / name).mkdir()
            DeviceRoot(tmp_path / name).make()
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("made", "found")]
    assert modes == [0o755, 0o700]


def test_what_concerns_the_device_alone_is_closed_to_other_users(tmp_path: Path) -> None:
    """A container runs as another user, and has the whole root mounted beside the socket."""
    root = DeviceRoot(tmp_path / "root")
    with root.hold({}, {"components": []}):
        write_json(root.configuration, {"secret": 1})
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in root.path.iterdir()
            if path.is_dir()
        }
    assert modes == {"config": 0o700, "deployments": 0o700, "logs": 0o700}

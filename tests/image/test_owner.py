import os
import subprocess
import sys

import pytest

from release.image.owner import is_orphan, owner


def test_own_label_is_no_orphans() -> None:
    """As long as this process lives, its containers are left alone, by others too."""
    assert not is_orphan(owner())
    code = f"from release.image.owner import is_orphan; print(is_orphan({owner()!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_label_of_a_process_that_has_ended_is_an_orphans() -> None:
    """Also where its parent has not asked for its exit code yet."""
    code = "from release.image.owner import owner; print(owner(), flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        label = one.stdout.read().strip()
        os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
        assert is_orphan(label)
    assert is_orphan(label)


def test_number_used_again_is_another_process() -> None:
    """The same number with another start is not the owner."""
    where, _, start = owner().rpartition("/")
    assert is_orphan(f"{where}/{int(start) + 1}")


@pytest.mark.parametrize("field", [0, 1])
def test_label_of_another_machine_is_left_alone(field: int) -> None:
    """Nothing is known of processes of another boot, or of another container's."""
    fields = owner().split("/")
    fields[field] = "another"
    fields[-1] = "1"
    assert not is_orphan("/".join(fields))


@pytest.mark.parametrize("label", ["", "x", "a/b", "a/b/c/d"])
def test_label_of_another_form_is_left_alone(label: str) -> None:
    """It is not ours."""
    assert not is_orphan(label)

import argparse

import pytest

from release.arguments import port, positive


def test_port_and_number_are_taken_as_written() -> None:
    """Both ends of the range of ports; a number in each of its forms."""
    assert (port("1"), port("65535")) == (1, 65_535)
    assert (positive("2"), positive("0.5"), positive("1e-1")) == (2.0, 0.5, 0.1)


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "1.5", "http", "²"])
def test_other_port_is_refused(text: str) -> None:
    """What came is quoted."""
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        port(text)
    assert str(caught.value) == f"got {text!r}, expected a port from 1 to 65535"


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "many"])
def test_other_number_is_refused(text: str) -> None:
    """Nothing, nothing above 0, and what no limit can be."""
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        positive(text)
    assert str(caught.value) == f"got {text!r}, expected a number above 0"

from awsiot.greengrasscoreipc.client import GreengrassCoreIPCClient

from nucleus.eventstream.service import KNOWN_OPERATIONS, NAMESPACE, SERVICE
from nucleus.personality import LITE


def test_known_operations_are_those_of_the_client() -> None:
    """Each has a constructor there, `new_get_configuration` for `GetConfiguration`."""
    constructors = {name for name in dir(GreengrassCoreIPCClient) if name.startswith("new_")}
    known = {f"new_{operation}".replace("_", "").lower() for operation in KNOWN_OPERATIONS}
    assert {name.replace("_", "") for name in constructors} == known


def test_operations_of_lite_are_among_them() -> None:
    """It has no names of its own."""
    assert LITE.operations is not None
    assert LITE.operations < KNOWN_OPERATIONS


def test_names_are_those_on_the_wire() -> None:
    """As the golden frames have them."""
    assert NAMESPACE == "aws.greengrass#"
    assert SERVICE == "aws.greengrass#GreengrassCoreIPC"

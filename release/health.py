"""How the inference component of a core device on this machine is, asked over its bus."""

import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

from consumer.client import InferenceClient
from consumer.errors import InferenceError
from consumer.health import Health
from interface.errors import EnvelopeError, TransportError
from nucleus.errors import DeviceError
from nucleus.root import DeviceRoot
from release.bus import connector
from release.components import INFERENCE

ANSWER_S = 0.5
"""For all of it: whoever looks at a device wants to see it now."""


def find_health(root: DeviceRoot, components: Iterable[Mapping[str, Any]]) -> Health | None:
    """How the component is; None where there is none that runs, or no answer.

    Args:
        root: of a device that runs.
        components: of its status.
    """
    if not any(it["name"] == INFERENCE and it["state"] == "RUNNING" for it in components):
        return None
    with contextlib.suppress(DeviceError, EnvelopeError, InferenceError, TransportError):
        connect = connector(root, ANSWER_S)  # which imports the device's SDK
        ends = time.monotonic() + ANSWER_S
        device = connect()
        with contextlib.ExitStack() as stack:
            stack.callback(device.close)
            configuration = device.get_configuration(component=INFERENCE)
            client = InferenceClient(
                lambda: device,
                request_topic=str(configuration.get("requestTopic")),
                result_topic=str(configuration.get("resultTopic")),
                name="status",
            )
            stack.enter_context(client)
            return client.health(max(0.01, ends - time.monotonic()))
    return None

"""An echo component: the least that a component on this bus can do for a request.

    python -m bench.echo REQUEST_TOPIC BODY_FILE

It reads a request's id and reply topic, and answers with a constant of the size that the real
answer has: what the bus costs, and nothing else.
"""

import json
import signal
import sys
import threading
from pathlib import Path

from interface.errors import TransportError
from interface.greengrass import connect


def main() -> None:
    """Echoes until it is told to stop, or its connection ends."""
    topic, body = sys.argv[1], Path(sys.argv[2]).read_bytes()
    has_ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: has_ended.set())
    device = connect()

    def answer(payload: bytes) -> None:
        request = json.loads(payload)
        reply = b'{"id":%d,"statusCode":200,"body":%b}' % (request["id"], body)
        device.publish(request["replyTo"], reply)

    def end(_error: TransportError) -> None:
        has_ended.set()

    device.subscribe(topic, answer, end)
    device.report_running()
    while not has_ended.wait(3600):
        pass
    device.close()


if __name__ == "__main__":
    main()

"""A bundle on loopback without the emulator: Lambda's Invoke API and a function URL in one.

For looking around on any system; the gate's real target is the emulator. A POST to the path of the
Invoke API takes an event; a request to any other path becomes a function URL event, so that
`curl --data @rows.json` gets a real HTTP answer with its status and headers.
"""

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from container.handler import Handler
from container.settings import LAMBDA_PAYLOAD_BYTES
from release.emulator import INVOCATIONS
from release.errors import CommandError
from release.http_events import function_url

_MOST_BYTES = 2 * LAMBDA_PAYLOAD_BYTES
"""Kept of a body; more than the handler takes, so that it refuses what was longer."""


class _Requests(BaseHTTPRequestHandler):
    """One connection; the server gives it the handler."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet; two wait 40 ms for the caller's acknowledgement
    server: "Server"

    def do_POST(self) -> None:
        """Invokes with the body."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self.close_connection = True
            self._answer(411, {}, b"")
            return
        content = self.rfile.read(min(int(length), _MOST_BYTES))
        left = int(length) - len(content)
        while left > 0 and (dropped := self.rfile.read(min(left, _MOST_BYTES))):
            left -= len(dropped)  # a caller who still sends would not read our answer
        self._serve(content)

    def do_GET(self) -> None:
        """Invokes without a body; the handler says what it would rather have."""
        self._serve(b"")

    def _serve(self, content: bytes) -> None:
        path = urlsplit(self.path)
        if path.path == INVOCATIONS:
            response = self.server.handler(content, None)
            headers = {"Content-Type": "application/json"}
            self._answer(200, headers, json.dumps(response).encode())
            return
        encoded = base64.b64encode(content).decode()
        kind = self.headers.get("Content-Type", "")
        # curl's own default says nothing about what the user sent.
        kind = "" if kind == "application/x-www-form-urlencoded" else kind
        event = function_url(encoded, kind, is_base64=True)
        event["rawPath"], event["rawQueryString"] = path.path, path.query
        event["queryStringParameters"] = dict(parse_qsl(path.query))
        response = self.server.handler(event, None)
        self._answer(response["statusCode"], response["headers"], response["body"].encode())

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Nothing: a line for each request says little and hides what matters."""


class Server(ThreadingHTTPServer):
    """Serves a handler on loopback until `shutdown`."""

    daemon_threads = True

    def __init__(self, handler: Handler, *, port: int | None = None) -> None:
        """Listens; `serve_forever` answers.

        Raises:
            CommandError: the port is taken.
        """
        self.handler = handler
        try:
            super().__init__(("127.0.0.1", port or 0), _Requests)
        except (OSError, OverflowError) as error:
            raise CommandError(f"port {port}: got one in use, expected a free one") from error
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

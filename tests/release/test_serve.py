import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from container.handler import make_handler
from container.settings import Settings
from release.emulator import INVOCATIONS
from release.errors import CommandError
from release.serve import Server
from tests.conftest import Packed


@pytest.fixture(scope="module")
def server(multiclass: Packed) -> Iterator[Server]:
    with Server(make_handler(multiclass.bundle, Settings())) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def post(server: Server, path: str, body: bytes, **headers: str) -> tuple[int, Any, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, body, named)
        response = connection.getresponse()
        content = response.read()
        return response.status, response.headers, json.loads(content) if content else None
    finally:
        connection.close()


def test_rows_by_post_are_predicted(server: Server, multiclass: Packed) -> None:
    """A POST of rows gets the prediction with an HTTP status and type."""
    body = json.dumps(multiclass.rows[:2]).encode()
    status, headers, answer = post(server, "/", body)
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert answer["predictions"] == multiclass.bundle.predict(multiclass.rows[:2]).predictions


def test_what_curl_sends_by_default_is_json(server: Server, multiclass: Packed) -> None:
    """The form type that curl claims for any data is not held against its user."""
    body = json.dumps(multiclass.rows[0]).encode()
    kind = "application/x-www-form-urlencoded"
    status, _, _ = post(server, "/predict?topK=1", body, Content_Type=kind)
    assert status == 200


def test_query_string_reaches_the_handler(server: Server, multiclass: Packed) -> None:
    """Options of the query string count."""
    _, _, answer = post(server, "/?topK=1", json.dumps(multiclass.rows[0]).encode())
    assert len(answer["topK"][0]) == 1


def test_wrong_rows_get_their_status(server: Server) -> None:
    """Refusals come with the status of the error table."""
    status, _, answer = post(server, "/", b"[]")
    assert (status, answer["error"]["code"]) == (400, "no_rows")
    assert post(server, "/", b"<a/>", Content_Type="text/xml")[0] == 415
    assert post(server, "/", b" " * 7_000_000)[0] == 413
    assert post(server, "/", b" " * 13_000_000)[0] == 413


def test_invoke_path_takes_events(server: Server, multiclass: Packed) -> None:
    """The path of Lambda's Invoke API answers events as the emulator does."""
    event = json.dumps({"records": multiclass.rows[:1], "id": "a"}).encode()
    status, _, answer = post(server, INVOCATIONS, event)
    assert (status, answer["statusCode"], answer["id"]) == (200, 200, "a")


def test_get_says_what_is_wanted(server: Server) -> None:
    """A browser that comes along is told what to send."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request("GET", "/")
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status == 400
    assert answer["error"]["message"] == "body: got an empty body, expected JSON or CSV with rows"


def test_taken_port_is_refused(server: Server, multiclass: Packed) -> None:
    """A port in use is named."""
    port = server.server_address[1]
    with pytest.raises(CommandError) as caught:
        Server(make_handler(multiclass.bundle, Settings()), port=port)
    assert str(caught.value) == f"port {port}: got one in use, expected a free one"

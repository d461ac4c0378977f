"""Lambda's event shapes to queries, and predictions to the responses that each shape wants.

Which event comes through which door is decided by marks that only that door sets. A direct event
may have any field names (they may be features), so `body` alone does not make an event HTTP.

Source: AWS Lambda developer guide (API Gateway, function URLs, ALB); recorded events in
tests/data/events/.
"""

import json
from collections.abc import Mapping

from container.bodies import (
    JSON_TYPE,
    OPTIONS,
    Query,
    TooManyRowsError,
    check_parts,
    decode_utf8,
    parse_body,
    parse_json,
)
from container.settings import Settings
from model.bundle import PROBABILISTIC, Bundle, Prediction
from model.errors import InputError, describe, input_error
from model.manifest import Scalar
from model.rows import write_numbers
from model.typed import Any, Literal, NamedTuple, TypeGuard

_REASONS = {
    200: "OK",
    400: "Bad Request",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    500: "Internal Server Error",
    504: "Gateway Timeout",
}

HEALTH = "health"
"""The only operation: how is the service."""

_ENVELOPE = frozenset({"id", "replyTo", "deadlineMs"})
"""What a request over pub/sub carries besides the rows; an event may carry it too."""

_OPERATION = _ENVELOPE | {"op"}

_WRAPPED = _ENVELOPE | OPTIONS | {"body", "isBase64Encoded", "headers"}

_MAX_ID_CHARACTERS = 256
"""Of an `id`: it is echoed, and a reply has to fit the bus."""

_LONGEST_NUMBER = -1.1754943508222875e-38
"""A float32 with as many characters as one can have in JSON."""

_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))

_PLAIN_HEAD_BYTES = 768
"""What a reply has besides its rows, model and labels, where its `id` is printable ASCII."""

_LEAST_HEAD_BYTES = 1024
"""What is left for all besides the rows, though most models need less."""


class Door(NamedTuple):
    """How an event came in, and so how its response has to look.

    Attributes:
        form: `direct`, or whose HTTP form.
        multi_value_headers: whether an ALB wants its answer's headers as lists.
        id: to be echoed; None where the request had none.
        deadline_ms: when the request is void, in milliseconds since 1970; None where it never is.
        reply_to: the topic that the answer is asked for at; None where none was named.
        fault: what is wrong with one of these. The others are good, so that the refusal finds its
            way to whoever waits for it.
    """

    # A tuple, because there is one for each request: frozen dataclasses take twice as long to make.

    form: Literal["direct", "api-gateway", "alb"] = "direct"
    multi_value_headers: bool = False
    id: str | int | None = None
    deadline_ms: float | None = None
    reply_to: str | None = None
    fault: InputError | None = None

    def respond(self, status: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """The response of this form: a status, and a body as JSON value or, for HTTP, as text."""
        if self.form == "direct":
            head = {} if self.id is None else {"id": self.id}
            return {**head, "statusCode": status, "body": body}
        headers = {"content-type": JSON_TYPE}
        if status == 429:
            headers["retry-after"] = str(max(1, -(-int(body["error"]["retryAfterMs"]) // 1000)))
        response: dict[str, Any] = {
            "statusCode": status,
            "body": _ENCODER.encode(body),
            "isBase64Encoded": False,
        }
        if self.form == "alb":
            response["statusDescription"] = f"{status} {_REASONS.get(status, '')}".strip()
        if self.multi_value_headers:
            response["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
        else:
            response["headers"] = headers
        return response


def decode_event(event: object, settings: Settings) -> object:
    """The event, parsed strictly where the runtime handed over its bytes.

    Raises:
        InputError: `request_too_large`, `malformed_request`.
        TooManyRowsError: see `container.bodies.check_parts`.
    """
    if not isinstance(event, bytes):
        return event
    if len(event) > settings.max_request_bytes:
        # The emulator cuts what is longer, so the size that we see is not the one that was sent.
        expected = f"at most {settings.max_request_bytes}"
        observed = f"more than {settings.max_request_bytes} bytes"
        raise input_error("request_too_large", "event", observed, expected)
    if not event.strip():
        raise input_error("malformed_request", "event", "an empty event", "JSON with rows")
    text = decode_utf8(event, "event")
    check_parts(text, "{[", settings.max_rows)
    return parse_json(text, "event")


def recognise(event: object) -> Door:
    """The door that an event came through."""
    if not isinstance(event, dict):
        return Door()
    context = event.get("requestContext")
    if isinstance(context, dict):
        if "elb" in context:
            multi_value = event.get("multiValueHeaders") is not None
            return Door(form="alb", multi_value_headers=multi_value)
        if "http" in context or "httpMethod" in event or "resourcePath" in context:
            return Door(form="api-gateway")
    return open_envelope(event) if is_enveloped(event) or is_operation(event) else Door()


def open_envelope(fields: Mapping[str, Any]) -> Door:
    """The door of a direct event that has fields of its own beside the rows."""
    try:
        return Door(
            id=_id(fields.get("id")),
            reply_to=_reply_to(fields.get("replyTo")),
            deadline_ms=_deadline(fields.get("deadlineMs")),
        )
    except InputError:
        return _open_faulty(fields)


def _open_faulty(fields: Mapping[str, Any]) -> Door:
    faults: list[InputError] = []
    found = {}
    for name, check in (("id", _id), ("replyTo", _reply_to), ("deadlineMs", _deadline)):
        try:
            found[name] = check(fields.get(name))
        except InputError as error:
            faults.append(error)
    return Door(
        id=found.get("id"),
        reply_to=found.get("replyTo"),
        deadline_ms=found.get("deadlineMs"),
        fault=faults[0],
    )


def is_enveloped(event: Mapping[str, Any]) -> bool:
    """Whether a direct event has fields of its own beside the rows (else each is a feature)."""
    return "records" in event or "body" in event or ("columns" in event and "data" in event)


def is_operation(event: object) -> TypeGuard[dict[str, Any]]:
    """Whether an event asks about the service itself; see docs/requests.md, section 9."""
    return isinstance(event, dict) and "op" in event and event.keys() <= _OPERATION


def check_operation(name: object) -> None:
    """Lets pass what may be asked about the service.

    Raises:
        InputError: `malformed_request`: there is no such operation.
    """
    if name != HEALTH:
        raise input_error("malformed_request", "op", describe(name), f"'{HEALTH}'")


def _id(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _MAX_ID_CHARACTERS:
        observed, expected = f"text of {len(value)} characters", f"at most {_MAX_ID_CHARACTERS}"
        raise input_error("malformed_request", "id", observed, expected)
    if type(value) is int and value.bit_length() > 64:
        raise input_error("malformed_request", "id", describe(value), "at most 64 bits")
    if value is None or type(value) in {str, int}:
        return value
    expected = "text or a whole number"
    raise input_error("malformed_request", "id", describe(value), expected)


def _reply_to(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    raise input_error("malformed_request", "replyTo", describe(value), "a topic")


def _deadline(value: Any) -> Any:
    if value is None or type(value) in {int, float}:
        return value
    expected = "milliseconds since 1970"
    raise input_error("malformed_request", "deadlineMs", describe(value), expected)


def parse_query(event: Any, door: Door, settings: Settings) -> Query:
    """What the event asks.

    Raises:
        InputError: see `container.bodies.parse_body`.
        TooManyRowsError: more than the settings allow.
    """
    if door.form != "direct":
        query = _parse(event, _query_string(event), settings)
    elif isinstance(event, dict) and "body" in event and "records" not in event:
        query = _parse(event, _wrapped_options(event), settings)
    elif isinstance(event, dict | list):
        query = parse_body(
            _without_envelope(event),
            media_type="",
            is_base64=False,
            settings=settings,
            options={},
        )
    else:
        expected = "an object with records, columns and data, or body; a list of rows, or one row"
        raise input_error("malformed_request", "event", describe(event), expected)
    if query.n_rows > settings.max_rows:
        raise TooManyRowsError(query.n_rows, settings.max_rows, f"at most {settings.max_rows}")
    return query


def _without_envelope(event: dict[str, Any] | list[Any]) -> object:
    if isinstance(event, dict) and is_enveloped(event):
        return {key: value for key, value in event.items() if key not in _ENVELOPE}
    return event


def _wrapped_options(event: Mapping[str, Any]) -> dict[str, Any]:
    """The options beside a body; whatever else is there has to be known."""
    if unknown := sorted(set(event) - _WRAPPED):
        expected = f"body with {', '.join(sorted(_WRAPPED - {'body'}))} and nothing else"
        observed = f"the unknown field {describe(unknown[0])}"
        raise input_error("malformed_request", "event", observed, expected)
    return {name: event[name] for name in OPTIONS if name in event}


def _parse(event: Mapping[str, Any], options: Mapping[str, Any], settings: Settings) -> Query:
    """The query in the body of an event that has one."""
    flag = event.get("isBase64Encoded", False)
    if flag is not None and not isinstance(flag, bool):
        place = "isBase64Encoded"
        raise input_error("malformed_request", place, describe(flag), "true or false")
    return parse_body(
        event.get("body"),
        media_type=_headers(event).get("content-type", ""),
        is_base64=bool(flag),
        settings=settings,
        options=options,
    )


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    """The headers with lower-case names; of several values the last. Both maps may be null."""
    return {
        name.lower(): value for name, value in _last_values(event, "headers", "multiValueHeaders")
    }


def _query_string(event: Mapping[str, Any]) -> dict[str, str]:
    single, several = "queryStringParameters", "multiValueQueryStringParameters"
    return dict(_last_values(event, single, several))


def _last_values(event: Mapping[str, Any], single: str, several: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for value in (event.get(several), event.get(single)):
        if isinstance(value, dict):
            pairs = ((k, v[-1] if isinstance(v, list) and v else v) for k, v in value.items())
            found.extend((k, v) for k, v in pairs if isinstance(k, str) and isinstance(v, str))
    return found


# --- answers --------------------------------------------------------------------------------------


class ReplyShape:
    """Turns predictions of one bundle into the body of an answer."""

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self._head = {"model": {"name": manifest.name, "version": manifest.version}}
        self._task = manifest.task
        self._labels = manifest.labels
        self._gives_probabilities = bool(self._labels) and manifest.objective in PROBABILISTIC
        self._row_bytes = self._longest_row(top_k=None)
        head = json.dumps(json.dumps({**self._head, "labels": self._labels}))
        self._head_bytes = max(_LEAST_HEAD_BYTES, _PLAIN_HEAD_BYTES + len(head))
        self._head_text = (
            f'"statusCode":200,"body":{_ENCODER.encode(self._head)[:-1]},"predictions":['
        )
        self._label_texts = {label: _ENCODER.encode(label) for label in self._labels}
        # 1 and 1.0 are two labels in JSON, and one key.
        self._is_writer = len(self._label_texts) == len(self._labels)
        labels = ",".join(self._label_texts.values())
        self._probabilities_text = f'],"labels":[{labels}],"probabilities":'

    def check(self, query: Query, max_reply_bytes: int, id_: str | int | None = None) -> None:
        """Refuses what the task has no answer to, and more rows than a reply can hold.

        Args:
            query: see there.
            max_reply_bytes: of the reply.
            id_: that the reply will carry.

        Raises:
            InputError: `malformed_request`.
            TooManyRowsError: a reply could not hold them.
        """
        if query.top_k is not None and not self._gives_probabilities:
            expected = "no topK: the model gives no probabilities"
            raise input_error("malformed_request", "topK", describe(query.top_k), expected)
        if query.threshold is not None and self._task != "binary":
            expected = f"no threshold: the task is {self._task}"
            raise input_error("malformed_request", "threshold", str(query.threshold), expected)
        if query.threshold is not None and not self._gives_probabilities:
            expected = "no threshold: the model gives no probabilities"
            raise input_error("malformed_request", "threshold", str(query.threshold), expected)
        most = self.most_rows(max_reply_bytes - _more_bytes(id_), query.top_k)
        if query.n_rows > most:
            expected = f"at most {most}, whose reply stays under {max_reply_bytes} bytes"
            raise TooManyRowsError(query.n_rows, most, expected)

    def most_rows(self, max_reply_bytes: int, top_k: int | None = None) -> int:
        """How many rows a reply is sure to hold, one at least."""
        row_bytes = self._row_bytes if top_k is None else self._longest_row(top_k)
        return max(1, (max_reply_bytes - self._head_bytes) // row_bytes)

    def _longest_row(self, top_k: int | None) -> int:
        """Bytes that a row can take of a reply: as JSON text inside JSON text, as HTTP wants it."""
        label = max(self._labels, key=lambda it: len(json.dumps(it)), default=_LONGEST_NUMBER)
        parts: list[object] = [label]
        if top_k is not None:
            one = {"label": label, "probability": _LONGEST_NUMBER}
            parts.append([one] * min(top_k, len(self._labels)))
        elif self._gives_probabilities:
            parts.append([_LONGEST_NUMBER] * len(self._labels))
        return sum(len(json.dumps(json.dumps(part))) for part in parts)

    def body(self, prediction: Prediction, query: Query) -> dict[str, Any]:
        """The answer's body; see docs/requests.md."""
        body: dict[str, Any] = {**self._head, "predictions": prediction.predictions}
        if prediction.probabilities is None:
            return body
        if query.top_k is None:
            body["labels"] = list(self._labels)
            body["probabilities"] = prediction.probabilities
        else:
            k = query.top_k
            body["topK"] = [_likeliest(self._labels, row, k) for row in prediction.probabilities]
        return body

    def respond(self, door: Door, prediction: Prediction, query: Query) -> dict[str, Any]:
        """The good response at a door."""
        body = self.body(prediction, query)
        if door.form != "direct" or query.top_k is not None or not self._is_writer:
            return door.respond(200, body)
        return Reply(self, door.id, body)

    def write(self, id_: str | int | None, body: Mapping[str, Any]) -> str:
        """The JSON text of a direct response whose body this shape made, without `topK`.

        Raises:
            ValueError: it holds a NaN or an infinity.
        """
        predictions = body["predictions"]
        if self._labels:
            texts = self._label_texts
            predictions = ",".join([texts[label] for label in predictions])
        else:
            predictions = write_numbers(predictions)[1:-1]
        head = "{" if id_ is None else f'{{"id":{_ENCODER.encode(id_)},'
        probabilities = body.get("probabilities")
        if probabilities is None:
            return f"{head}{self._head_text}{predictions}]}}}}"
        numbers = write_numbers(probabilities)
        return f"{head}{self._head_text}{predictions}{self._probabilities_text}{numbers}}}}}"


def _more_bytes(id_: str | int | None) -> int:
    """Bytes of an `id` that are not in `_PLAIN_HEAD_BYTES`: JSON writes up to 12 for a letter."""
    # Asked about each request, so that the plain ones are not written out for it.
    if not isinstance(id_, str) or (id_.isascii() and id_.isprintable()):
        return 0
    return len(json.dumps(id_))


class Reply(dict[str, Any]):
    """A good response to a direct event, which `encode_response` writes fast.

    It is the dictionary that it looks like; only the values of `id`, `predictions` and
    `probabilities` may be replaced.
    """

    __slots__ = ("_shape",)

    def __init__(self, shape: ReplyShape, id_: str | int | None, body: Mapping[str, Any]) -> None:
        self._shape = shape
        if id_ is not None:
            self["id"] = id_
        self["statusCode"] = 200
        self["body"] = body

    def to_json(self) -> str:
        """The JSON text."""
        return self._shape.write(self.get("id"), self["body"])


def encode_response(response: Mapping[str, Any]) -> str:
    """The response as JSON text.

    Raises:
        ValueError: it holds a NaN or an infinity.
    """
    return response.to_json() if isinstance(response, Reply) else _ENCODER.encode(response)


def _likeliest(
    labels: tuple[Scalar, ...], probabilities: list[float], k: int
) -> list[dict[str, Scalar]]:
    """The k likeliest labels, of equals the first."""
    order = sorted(range(len(labels)), key=lambda i: -probabilities[i])[:k]
    return [{"label": labels[i], "probability": probabilities[i]} for i in order]


def error_body(error: InputError) -> dict[str, Any]:
    """The body of a refusal: the first fault's code, its text, and the faults one by one."""
    fields: dict[str, Any] = {
        "code": error.code,
        "message": str(error),
        "details": [
            {
                "code": fault.code,
                "place": fault.place,
                "observed": fault.observed,
                "expected": fault.expected,
            }
            for fault in error.faults
        ],
    }
    if isinstance(error, TooManyRowsError):
        fields["maxRows"] = error.max_rows
    return {"error": fields}

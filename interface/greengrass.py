"""A core device over the AWS IoT Device SDK: pub/sub, configuration, lifecycle.

This is the only module that imports the SDK. Of the SDK it uses the operations themselves, and not
its `GreengrassCoreIPCClientV2`, which cannot end the stream of an answered call: nucleus lite does
not end it either, so that each call would leave 5 KB behind.

The SDK calls back on one thread, which also reads the connection. Callbacks for messages run there,
and so in order; they must return at once. Those that may take their time have a thread of their
own, and say so.

Source: awsiotsdk 1.31, awsiot/eventstreamrpc.py; aws-c-event-stream,
source/event_stream_rpc_client.c (a stream that has ended refuses to be closed again, without a
message); aws-greengrass-lite 2.6, modules/ggipcd/src/ipc_server.c (no response ends its stream,
and the end of one that is no subscription is passed over).
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from typing import Any

from awscrt.exceptions import AwsCrtError
from awscrt.io import (
    ClientBootstrap,
    DefaultHostResolver,
    EventLoopGroup,
    SocketDomain,
    SocketOptions,
)
from awsiot import eventstreamrpc as rpc
from awsiot.greengrasscoreipc import model
from awsiot.greengrasscoreipc.client import GreengrassCoreIPCClient

from interface.courier import Courier
from interface.errors import (
    ConnectionLostError,
    MessageTooLargeError,
    NotPermittedError,
    OperationRefusedError,
    TokenMissingError,
    TokenRefusedError,
    TransportError,
    TransportTimeoutError,
)
from interface.json_message import encode_message
from interface.pubsub import Deliver, Lost, Subscription
from interface.stream import Stream

SOCKET_VARIABLE = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
TOKEN_VARIABLE = "SVCUID"  # noqa: S105  (its name)

MAX_PACKET_BYTES = 24 * 1024 * 1024
"""Of a whole message. Source: aws-c-event-stream, include/aws/event-stream/event_stream.h."""

Watch = Callable[[str, bytes], None]
"""Takes a message's topic and payload; must hand them over and return at once, as `Deliver`."""

_PACKET_OVERHEAD_BYTES = 1024
"""Headers and JSON take fewer than 300; nucleus lite adds to that on its way to the subscriber."""

_CLOSE_TIMEOUT_S = 2.0

_log = logging.getLogger(__name__)


def connect(
    socket: str | None = None,
    token: str | None = None,
    timeout_s: float = 5.0,
    *,
    max_packet_bytes: int | None = None,
) -> "CoreDevice":
    """A connection to the core device.

    Args:
        socket: the path of its socket; None for the one that the nucleus put into the environment.
        token: that the nucleus gave this component; None for the one in the environment.
        timeout_s: for connecting, and for each call afterwards.
        max_packet_bytes: of a whole message, such as 10 000 on nucleus lite, which closes the
            connection above that; larger messages are refused here instead. None for 24 MiB.

    Raises:
        TokenMissingError: the environment has no socket or token.
        TokenRefusedError: the core device does not know the token, and says so (classic).
        ConnectionLostError: there is no core device, or it closed the connection. Nucleus lite does
            the latter to a token that it does not know, too, but also where it has no room for
            another client, and either while it starts or stops: so whoever tries again must stop
            some time.
        TransportTimeoutError: the core device did not answer.
    """
    path = socket or _from_environment(SOCKET_VARIABLE)
    secret = token or _from_environment(TOKEN_VARIABLE)
    device = CoreDevice(path, secret, timeout_s, max_packet_bytes)
    device.open()
    return device


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise TokenMissingError(
            f"{name}: got nothing, expected the nucleus to set it in the environment"
        )
    return value


def payload_limit(topic: str, max_packet_bytes: int | None = None) -> int:
    """How many bytes a payload to a topic may have, where a whole message may have so many.

    The largest that surely arrives: base64 adds a third, and the topic is in each message.
    """
    room = (max_packet_bytes or MAX_PACKET_BYTES) - _PACKET_OVERHEAD_BYTES - len(json.dumps(topic))
    return max(0, room // 4 * 3)


class CoreDevice:
    """One connection to the nucleus; made by `connect`, and to be closed.

    A connection that is lost stays so: make another.

    It is a `PubSub`, and more. Methods that wait raise `TransportError`s as a whole: besides those
    that they name, `ConnectionLostError` and, after the connection's `timeout_s`,
    `TransportTimeoutError`. They must not be called on the thread that reads the connection, which
    is where `deliver` and `lost` run; `publish` and `close` may be called anywhere.
    """

    def __init__(
        self, socket: str, token: str, timeout_s: float, max_packet_bytes: int | None
    ) -> None:
        """See `connect`, which also opens it."""
        self._socket = socket
        self._timeout_s = timeout_s
        self._max_packet_bytes = max_packet_bytes
        self._is_closed = False
        self._reader: int | None = None  # the thread that reads the connection
        connect_payload = json.dumps({"authToken": token}).encode()

        def amend() -> rpc.MessageAmendment:
            self._reader = threading.get_ident()
            return rpc.MessageAmendment(payload=connect_payload)

        options = SocketOptions()
        options.domain = SocketDomain.Local
        loop = EventLoopGroup(num_threads=1)
        self._connection = rpc.Connection(
            host_name=socket,
            port=0,  # a Unix socket has none
            bootstrap=ClientBootstrap(loop, DefaultHostResolver(loop)),
            socket_options=options,
            connect_message_amender=amend,
        )
        self._client = GreengrassCoreIPCClient(self._connection)

    def open(self) -> None:
        """Connects, once.

        Raises:
            TransportError: see `connect`.
        """
        try:
            self._connection.connect(_Lifecycle(self._socket)).result(self._timeout_s)
        except BaseException as error:
            self.close()
            place, expected = f"core device at {self._socket}", "expected it to accept us"
            if isinstance(error, rpc.AccessDeniedError):
                text = f"{place}: got a refusal of the token, {expected}"
                raise TokenRefusedError(text) from error
            if isinstance(error, TimeoutError):
                text = f"{place}: got no answer in {self._timeout_s:g} s, {expected}"
                raise TransportTimeoutError(text) from error
            if isinstance(error, Exception):
                raise ConnectionLostError(f"{place}: got {error}, {expected}") from error
            raise

    def close(self) -> None:
        """Ends the connection and all that is followed; a second call does nothing.

        Whatever still waits for an answer ends with a `ConnectionLostError`. May be called from any
        thread; callbacks may still run while it does.
        """
        self._is_closed = True
        ended = self._connection.close()
        if threading.get_ident() != self._reader:
            wait([ended], _CLOSE_TIMEOUT_S)

    # --- pub/sub ----------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes) -> "Future[None]":
        """See `PubSub`."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()
        place = f"publish to {topic}"
        try:
            limit = payload_limit(topic, self._max_packet_bytes)
            if len(payload) > limit:
                observed = f"{len(payload)} bytes"
                raise MessageTooLargeError(f"{place}: got {observed}, expected at most {limit}")
            message = model.PublishMessage(binary_message=model.BinaryMessage(message=payload))
            request = model.PublishToTopicRequest(topic=topic, publish_message=message)
            operation = self._send(place, self._client.new_publish_to_topic, request)
        except TransportError as error:
            done.set_exception(error)
            return done

        def settle(response: "Future[Any]") -> None:
            error = response.exception()
            if error is not None:
                done.set_exception(_explain(error, place, operation))
                return
            operation.close()
            done.set_result(None)

        operation.get_response().add_done_callback(settle)
        return done

    def subscribe(self, topic: str, deliver: Deliver, lost: Lost) -> Subscription:
        """See `PubSub`."""
        return self.watch(topic, lambda _topic, payload: deliver(payload), lost)

    def watch(
        self, topic_filter: str, deliver: Watch, lost: Lost, *, iot_core: bool = False
    ) -> Subscription:
        """As `subscribe`, for a filter with MQTT's wildcards, from this device or from the cloud.

        Raises:
            NotPermittedError: the policy does not list this very filter.
            OperationRefusedError: the filter is not what the bus takes.
            TransportError: see `CoreDevice`.
        """
        request: Any
        if iot_core:
            request = model.SubscribeToIoTCoreRequest(
                topic_name=topic_filter, qos=model.QOS.AT_LEAST_ONCE
            )
            place = f"subscription to IoT Core {topic_filter}"
            stream = self._stream(place, lambda event: _take_from_cloud(event, deliver), lost)
            return self._follow(stream, self._client.new_subscribe_to_iot_core, request)
        request = model.SubscribeToTopicRequest(
            topic=topic_filter, receive_mode=model.ReceiveMode.RECEIVE_ALL_MESSAGES
        )
        place = f"subscription to {topic_filter}"
        stream = self._stream(place, lambda event: _take_message(event, deliver), lost)
        return self._follow(stream, self._client.new_subscribe_to_topic, request)

    def publish_to_iot_core(self, topic: str, payload: bytes) -> None:
        """Hands a message for the cloud to the nucleus, which keeps it while offline.

        Raises:
            NotPermittedError: the policy does not allow it.
            OperationRefusedError: the topic or the payload is not what IoT Core takes.
            TransportError: see `CoreDevice`.
        """
        request = model.PublishToIoTCoreRequest(
            topic_name=topic, payload=payload, qos=model.QOS.AT_LEAST_ONCE
        )
        place = f"publish to IoT Core {topic}"
        self._call(place, self._client.new_publish_to_iot_core, request)

    # --- configuration ----------------------------------------------------------------------------

    def get_configuration(
        self, key_path: Sequence[str] = (), component: str | None = None
    ) -> dict[str, Any]:
        """The configuration of this component, or of another, at a key path.

        Where the path ends at a leaf: `{last key: leaf}`. Whole numbers are ints, also where the
        nucleus made doubles of them.

        Raises:
            OperationRefusedError: there is no such key or component.
            TransportError: see `CoreDevice`.
        """
        request = model.GetConfigurationRequest(
            component_name=component, key_path=list(key_path) or None
        )
        place = "configuration" + "".join(f"/{key}" for key in key_path)
        response = self._call(place, self._client.new_get_configuration, request)
        value: dict[str, Any] = json.loads(encode_message(response.value or {}))
        return value

    def update_configuration(self, value: Mapping[str, Any], key_path: Sequence[str] = ()) -> None:
        """Merges values into this component's configuration at a key path; deletes nothing.

        Raises:
            OperationRefusedError: what is there is newer, or the value is not for components.
            TransportError: see `CoreDevice`.
        """
        request = model.UpdateConfigurationRequest(
            key_path=list(key_path), timestamp=datetime.now(UTC), value_to_merge=dict(value)
        )
        self._call("configuration update", self._client.new_update_configuration, request)

    def follow_configuration(
        self, changed: Callable[[], None], lost: Lost | None = None
    ) -> Subscription:
        """Calls back, on a thread of its own, after each change of this component's configuration.

        `lost` is told as in `PubSub.subscribe`.

        Raises:
            TransportError: see `CoreDevice`.
        """
        courier = Courier("follow configuration")
        stream = self._stream(
            "configuration updates", lambda _event: courier.send(changed), lost, courier
        )
        request = model.SubscribeToConfigurationUpdateRequest()
        return self._follow(stream, self._client.new_subscribe_to_configuration_update, request)

    # --- lifecycle --------------------------------------------------------------------------------

    def report_running(self) -> None:
        """Tells the nucleus that this component is RUNNING.

        The nucleus passes over what its state machine does not allow, and says nothing.

        Raises:
            TransportError: see `CoreDevice`.
        """
        self._report(model.ReportedLifecycleState.RUNNING)

    def report_errored(self) -> None:
        """Tells the nucleus that this component is ERRORED; it will be stopped and restarted.

        Raises:
            TransportError: see `CoreDevice`.
        """
        self._report(model.ReportedLifecycleState.ERRORED)

    def _report(self, state: str) -> None:
        request = model.UpdateStateRequest(state=state)
        self._call(f"report of {state}", self._client.new_update_state, request)

    def follow_updates(self, ask: Callable[[str], int], lost: Lost | None = None) -> Subscription:
        """Asks before each update of components whether it must wait.

        `ask` gets the deployment's id, on a thread of its own, and says in how many milliseconds
        the nucleus is to ask again; 0 where it may go ahead. Should it raise, that is the answer
        too: silence would hold up every deployment. `lost` is told as in `PubSub.subscribe`.

        Raises:
            OperationRefusedError: this nucleus asks nobody (lite).
            TransportError: see `CoreDevice`.
        """
        courier = Courier("follow updates")

        def take(event: model.ComponentUpdatePolicyEvents) -> None:
            if event.pre_update_event is not None:
                deployment_id = event.pre_update_event.deployment_id
                courier.send(lambda: self._answer_update(deployment_id, ask))

        stream = self._stream("component updates", take, lost, courier)
        request = model.SubscribeToComponentUpdatesRequest()
        return self._follow(stream, self._client.new_subscribe_to_component_updates, request)

    def _answer_update(self, deployment_id: str, ask: Callable[[str], int]) -> None:
        recheck_after_ms = 0
        try:
            recheck_after_ms = max(0, ask(deployment_id))
        except Exception:
            _log.exception("cannot say whether an update must wait: it need not")
        request = model.DeferComponentUpdateRequest(
            deployment_id=deployment_id, recheck_after_ms=recheck_after_ms
        )
        try:
            self._call("answer to an update", self._client.new_defer_component_update, request)
        except TransportError as error:
            _log.warning("the nucleus did not take our answer", extra={"error": str(error)})

    def restart_component(self, name: str) -> None:
        """Restarts a component.

        Raises:
            OperationRefusedError: there is none of that name, or it cannot be restarted.
            NotPermittedError: the policy does not allow it.
            TransportError: see `CoreDevice`.
        """
        request = model.RestartComponentRequest(component_name=name)
        place = f"restart of {name}"
        response = self._call(place, self._client.new_restart_component, request)
        if response.restart_status == model.RequestStatus.FAILED:
            raise OperationRefusedError(f"{place}: got a failure, expected success")

    def create_local_deployment(self, request: Mapping[str, Any]) -> str:
        """The id of a deployment that the device has taken; it does not wait for its end.

        Args:
            request: the fields of CreateLocalDeploymentRequest, named as on the wire.

        Raises:
            OperationRefusedError: it asks for what cannot be.
            NotPermittedError: the policy does not allow it.
            MessageTooLargeError: it does not fit into one message.
            TransportError: see `CoreDevice`.
        """
        place = "deployment"
        limit = (self._max_packet_bytes or MAX_PACKET_BYTES) - _PACKET_OVERHEAD_BYTES
        if (size := len(json.dumps(request))) > limit:
            raise MessageTooLargeError(f"{place}: got {size} bytes, expected at most {limit}")
        shape = model.CreateLocalDeploymentRequest._from_payload(dict(request))  # noqa: SLF001
        response = self._call(place, self._client.new_create_local_deployment, shape)
        deployment_id: str = response.deployment_id
        return deployment_id

    def cancel_local_deployment(self, deployment_id: str) -> None:
        """Ends a deployment that has not touched anything yet.

        Raises:
            OperationRefusedError: there is none, it has ended, or it stops and starts already.
            NotPermittedError: the policy does not allow it.
            TransportError: see `CoreDevice`.
        """
        request = model.CancelLocalDeploymentRequest(deployment_id=deployment_id)
        self._call(f"deployment {deployment_id}", self._client.new_cancel_local_deployment, request)

    # --- operations -------------------------------------------------------------------------------

    def _send(self, place: str, make: Callable[[], Any], request: Any) -> Any:
        """The operation, under way."""
        operation = None
        try:
            operation = make()
            operation.activate(request)
        except Exception as error:
            raise _explain(error, place, operation) from error
        return operation

    def _call(self, place: str, make: Callable[[], Any], request: Any) -> Any:
        """The response of a unary operation."""
        self._check_thread(place)
        operation = self._send(place, make, request)
        try:
            return self._wait(place, operation)
        finally:
            operation.close()

    def _stream(
        self,
        place: str,
        take: Callable[[Any], None],
        lost: Lost | None,
        courier: Courier | None = None,
    ) -> Stream:
        def tell(error: TransportError) -> None:
            if not self._is_closed and lost is not None:
                lost(error)

        def explain(error: Exception) -> TransportError | None:
            # Whoever may publish could end the subscription otherwise: nucleus lite hands on what
            # is no base64. The error's text has the payload in it, and is left alone.
            if isinstance(error, rpc.DeserializeError | rpc.UnmappedDataError):
                return None
            return _explain(error, place)

        return Stream(place, take, tell, explain, courier)

    def _follow(self, stream: Stream, make: Callable[[Any], Any], request: Any) -> Subscription:
        """The stream, open."""

        def attach() -> Any:
            operation = make(stream)
            stream.attach(operation)
            return operation

        try:
            self._check_thread(stream.place)
            operation = self._send(stream.place, attach, request)
            self._wait(stream.place, operation)
        except BaseException:
            stream.close()
            raise
        return stream

    def _check_thread(self, place: str) -> None:
        if threading.get_ident() == self._reader:
            raise RuntimeError(f"{place}: got a call on the reading thread, expected another")

    def _wait(self, place: str, operation: Any) -> Any:
        try:
            return operation.get_response().result(self._timeout_s)
        except TimeoutError as error:
            observed = f"no answer in {self._timeout_s:g} s"
            raise TransportTimeoutError(f"{place}: got {observed}, expected one") from error
        except Exception as error:
            raise _explain(error, place, operation) from error


class _Lifecycle(rpc.LifecycleHandler):  # type: ignore[misc]
    """Notes the connection's end; each stream is told of its own."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def on_disconnect(self, reason: Exception | None) -> None:
        if reason is not None:
            facts = {"socket": self._socket, "reason": str(reason)}
            _log.warning("the core device closed the connection", extra=facts)


def _take_message(event: model.SubscriptionResponseMessage, deliver: Watch) -> None:
    if event.binary_message is not None:
        message, payload = event.binary_message, event.binary_message.message or b""
    elif event.json_message is not None:
        message, payload = event.json_message, encode_message(event.json_message.message)
    else:
        _log.warning("a message that is neither bytes nor JSON")
        return
    deliver(message.context.topic if message.context else "", payload)


def _take_from_cloud(event: model.IoTCoreMessage, deliver: Watch) -> None:
    if event.message is not None:
        deliver(event.message.topic_name, event.message.payload or b"")


def _explain(error: BaseException, place: str, operation: Any = None) -> TransportError:
    """Our error for one of the SDK's; texts that may contain payloads are left out."""
    observed, expected = type(error).__name__, "expected success"
    if isinstance(error, TransportError):
        return error
    if isinstance(error, rpc.EventStreamOperationError):
        message = getattr(error, "message", None)  # nucleus lite sends none
        text = f"{place}: got {observed}{f' ({message})' if message else ''}, {expected}"
        if isinstance(error, model.UnauthorizedError):
            return NotPermittedError(text)
        return OperationRefusedError(text)
    text = f"{place}: got {observed}, {expected}"
    if isinstance(error, rpc.StreamClosedError) and operation is not None and _is_open(operation):
        return OperationRefusedError(text)  # also an operation that this nucleus does not have
    if isinstance(error, rpc.ConnectionClosedError | rpc.StreamClosedError | AwsCrtError):
        return ConnectionLostError(text)
    if isinstance(error, rpc.UnmappedDataError | rpc.DeserializeError | rpc.SerializeError):
        return OperationRefusedError(text)
    return ConnectionLostError(f"{place}: got {error}, {expected}")


def _is_open(operation: Any) -> bool:
    """Whether the operation's connection still is.

    A stream ends without a word both with its connection and where the nucleus fails inside. The
    SDK has no public way to ask; by the time it says so, the question is no longer open.
    """
    return bool(operation._continuation.connection.is_open())  # noqa: SLF001

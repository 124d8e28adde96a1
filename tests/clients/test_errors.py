"""Every failure is an exception of one tree, with reason, fields and facts. No gRPC error reaches the caller."""

import asyncio
import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta

import grpc
import pytest
import trustme
from support.clients import CASE, Refusal, scripted_server
from support.wait import DEADLINE_S

import callback
from callback import (
    AsyncCallbackClient,
    CallAnsweredError,
    CallbackClosedError,
    CallbackError,
    CallNotHeldError,
    CallNotReplayableError,
    CallStatus,
    CloseReason,
    DeadlineExceededError,
    ErrorReason,
    FieldViolation,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    Reject,
    RequestIdReusedError,
    RequestIdUnsupportedError,
    Response,
    Tls,
    TooManyOpenCallbacksError,
    TooManyWatchersError,
    UnauthenticatedError,
    UnavailableError,
    WatcherTooSlowError,
    WatchPositionLostError,
)
from callback._rpc_errors import from_rpc_error

Code = grpc.StatusCode


class Unreachable(grpc.RpcError):
    """An error of gRPC for a server that cannot be reached."""

    def __init__(self, message):
        self._message = message

    def code(self):
        return Code.UNAVAILABLE

    def details(self):
        return self._message

    def trailing_metadata(self):
        return None


async def error_of(server, client, answer):
    server.answers["GetCallback"] = answer
    with pytest.raises(CallbackError) as caught:
        await client.get_callback(CASE)
    return caught.value


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("Trying to connect an http1.x server (HTTP status 505)", "use the gRPC port of the server"),
        ("error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER", "connect without it"),
        ("last error: UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed", "if this one does, connect with TLS"),
        ("recvmsg:Connection reset by peer", "if this one does, connect with TLS"),
        ("Connection refused", None),
    ],
)
def test_the_error_of_a_target_that_speaks_something_else_has_advice(message, advice):
    text = str(from_rpc_error(Unreachable(message), "server:1"))
    assert message in text
    assert "connect with TLS" not in str(from_rpc_error(Unreachable(message), "server:1", encrypted=True))
    assert text.endswith(")" if advice is None and message.endswith(")") else f"{advice})" if advice else message)


async def test_what_grpc_says_of_another_protocol_at_the_target_has_advice(client_type, tmp_path):
    async def http(reader, writer):
        await reader.readline()
        writer.write(b"HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n")
        writer.close()

    async def said(address, tls=None):
        async with client_type(address, tls=tls, retry=False) as client:
            with pytest.raises(UnavailableError) as caught:
                await client.get_callback(CASE, timeout=DEADLINE_S)
        return str(caught.value)

    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    own.write_to_path(tmp_path / "own.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with await asyncio.start_server(http, "127.0.0.1", 0) as listening:
        host, port = listening.sockets[0].getsockname()
        assert "use the gRPC port of the server" in await said(f"{host}:{port}")
    async with scripted_server() as plain:
        assert "the server does not use TLS" in await said(plain.address, Tls(tmp_path / "ca.pem"))
    credentials = grpc.ssl_server_credentials([((tmp_path / "own.pem").read_bytes(),) * 2])
    async with scripted_server(credentials=credentials) as encrypted:
        assert "if this one does, connect with TLS" in await said(encrypted.address)


async def test_an_asyncio_client_belongs_to_one_event_loop():
    async with AsyncCallbackClient("127.0.0.1:1", retry=False) as client:
        with pytest.raises(UnavailableError):
            await client.get_callback(CASE, timeout=DEADLINE_S)
        with pytest.raises(RuntimeError, match="belongs to another event loop: use one AsyncCallbackClient in each"):
            await asyncio.to_thread(lambda: asyncio.run(client.get_callback(CASE)))


HANDLERS = callback.Handlers()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: callback.CallbackClient(50051), "target must be text, not int"),
        (lambda: callback.Worker(HANDLERS, None), "target must be text, not NoneType"),
        (lambda: callback.CallbackClient(tls=True), "tls must be a Tls, such as Tls"),
        (lambda: callback.CallbackClient(tls=callback.ServerTls("a", "b")), "tls must be a Tls, .* not ServerTls"),
        (lambda: callback.Worker("127.0.0.1:50051", HANDLERS), "handlers must be Handlers, not str"),
        (lambda: callback.Worker(HANDLERS, tls=True), "tls must be a Tls, such as Tls"),
        (lambda: callback.Worker(HANDLERS, max_calls="5"), "max_calls must be a number, not str"),
        (lambda: callback.Worker(HANDLERS, grace=timedelta(1)), "grace must be a number of seconds, not timedelta"),
        (lambda: HANDLERS.run("127.0.0.1:0", tls=callback.Tls()), "tls must be a ServerTls, not Tls"),
        (lambda: HANDLERS.run("127.0.0.1:0", grace="5"), "grace must be a number of seconds, not str"),
        (lambda: HANDLERS.add_to(None, max_threads=None), "max_threads must be a number, not NoneType"),
    ],
)
def test_a_client_worker_or_handler_server_with_an_argument_of_the_wrong_type_is_refused_by_its_name(make, says):
    with pytest.raises(TypeError, match=says):
        make()


@pytest.mark.parametrize("timeout", [timedelta(seconds=5), "5", True, None])
def test_a_timeout_that_is_no_number_of_seconds_is_refused_by_its_type(timeout):
    wrong = f"the timeout must be a number of seconds, not {type(timeout).__name__}"
    with callback.CallbackClient("127.0.0.1:1") as client:
        with pytest.raises(TypeError, match=wrong):
            callback.CallbackClient("127.0.0.1:1", timeout=timeout)
        with pytest.raises(TypeError, match=wrong):
            client.wait_for_call(CASE, timeout=timeout)
        if timeout is not None:
            with pytest.raises(TypeError, match=wrong):
                client.get_callback(CASE, timeout=timeout)
            with pytest.raises(TypeError, match=wrong):
                client.watch_calls(timeout=timeout)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (Code.INVALID_ARGUMENT, ErrorReason.INVALID_REQUEST, InvalidRequestError),
        (Code.ALREADY_EXISTS, ErrorReason.REQUEST_ID_REUSED, RequestIdReusedError),
        (Code.FAILED_PRECONDITION, ErrorReason.REQUEST_ID_UNSUPPORTED, RequestIdUnsupportedError),
        (Code.NOT_FOUND, ErrorReason.CALLBACK_NOT_FOUND, NotFoundError),
        (Code.NOT_FOUND, ErrorReason.CALL_NOT_FOUND, NotFoundError),
        (Code.FAILED_PRECONDITION, ErrorReason.CALLBACK_CLOSED, CallbackClosedError),
        (Code.UNAVAILABLE, ErrorReason.STORE_UNAVAILABLE, UnavailableError),
        (Code.UNAVAILABLE, ErrorReason.SERVER_STOPPING, UnavailableError),
        (Code.INTERNAL, ErrorReason.INTERNAL, CallbackError),
        (Code.UNAUTHENTICATED, ErrorReason.UNAUTHENTICATED, UnauthenticatedError),
        (Code.UNAUTHENTICATED, ErrorReason.SUBJECT_UNKNOWN, UnauthenticatedError),
        (Code.UNAVAILABLE, ErrorReason.ISSUER_UNAVAILABLE, UnavailableError),
        (Code.PERMISSION_DENIED, ErrorReason.ROLE_MISSING, PermissionDeniedError),
        (Code.RESOURCE_EXHAUSTED, ErrorReason.TOO_MANY_OPEN_CALLBACKS, TooManyOpenCallbacksError),
        (Code.FAILED_PRECONDITION, ErrorReason.CALL_ANSWERED, CallAnsweredError),
        (Code.FAILED_PRECONDITION, ErrorReason.CALL_NOT_HELD, CallNotHeldError),
        (Code.FAILED_PRECONDITION, ErrorReason.CALL_NOT_REPLAYABLE, CallNotReplayableError),
        (Code.PERMISSION_DENIED, ErrorReason.ACTIVITY_NOT_ALLOWED, PermissionDeniedError),
        (Code.OUT_OF_RANGE, ErrorReason.WATCH_POSITION_LOST, WatchPositionLostError),
        (Code.RESOURCE_EXHAUSTED, ErrorReason.WATCHER_TOO_SLOW, WatcherTooSlowError),
        (Code.RESOURCE_EXHAUSTED, ErrorReason.TOO_MANY_WATCHERS, TooManyWatchersError),
    ],
)
async def test_each_reason_has_its_exception(server, client, code, reason, kind):
    error = await error_of(server, client, Refusal(code, reason, "what happened"))
    assert type(error) is kind
    assert (error.reason, error.code, error.message) == (reason, code, "what happened")
    assert isinstance(error.reason, ErrorReason)
    assert str(error) == f"{reason}: what happened"


async def test_every_invalid_field_is_listed(server, client):
    violations = [
        ("callback_activity", "must be at least 1 character", "string.min_len"),
        ("response.response_code", "must be 200-299 or 400-599", "response_code"),
    ]
    server.answers["GenerateCallbackUrl"] = Refusal(
        Code.INVALID_ARGUMENT, "INVALID_REQUEST", "2 fields are wrong", violations=violations
    )
    with pytest.raises(InvalidRequestError) as caught:
        await client.generate_callback_url("", Response(code=300))
    assert caught.value.violations == tuple(FieldViolation(*each) for each in violations)
    assert str(caught.value) == (
        "INVALID_REQUEST: callback_activity: must be at least 1 character;"
        " response.response_code: must be 200-299 or 400-599"
    )


async def test_callback_closed_error_has_the_close_reason(server, client):
    error = await error_of(
        server, client, Refusal(Code.FAILED_PRECONDITION, "CALLBACK_CLOSED", facts={"close_reason": "EXPIRED"})
    )
    assert error.close_reason is CloseReason.EXPIRED
    assert error.facts == {"close_reason": "EXPIRED"}


@pytest.mark.parametrize("facts", [{}, {"close_reason": "ABDUCTED"}])
async def test_an_unknown_close_reason_is_unknown(server, client, facts):
    error = await error_of(server, client, Refusal(Code.FAILED_PRECONDITION, "CALLBACK_CLOSED", facts=facts))
    assert error.close_reason is CloseReason.UNKNOWN


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({"status": "SUCCEEDED"}, CallStatus.SUCCEEDED),
        ({"status": "GONE"}, CallStatus.UNKNOWN),
        ({}, CallStatus.UNKNOWN),
    ],
)
async def test_call_answered_error_has_the_status_of_the_call(server, client, facts, status):
    error = await error_of(server, client, Refusal(Code.FAILED_PRECONDITION, "CALL_ANSWERED", facts=facts))
    assert error.status is status


async def test_errors_have_the_missing_role_and_the_limit(server, client):
    error = await error_of(server, client, Refusal(Code.PERMISSION_DENIED, "ROLE_MISSING", facts={"role": "owner"}))
    assert error.role == "owner"
    error = await error_of(
        server, client, Refusal(Code.RESOURCE_EXHAUSTED, "TOO_MANY_OPEN_CALLBACKS", facts={"limit": "100"})
    )
    assert error.limit == 100
    assert (await error_of(server, client, Refusal(Code.PERMISSION_DENIED, "ROLE_MISSING"))).role == ""
    assert (await error_of(server, client, Refusal(Code.RESOURCE_EXHAUSTED, "TOO_MANY_OPEN_CALLBACKS"))).limit is None


async def test_an_unreachable_server_is_unavailable_and_named(unused_port, client_type):
    async with client_type(f"127.0.0.1:{unused_port}", retry=False) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.get_callback(CASE)
    assert (caught.value.reason, caught.value.code) == ("", Code.UNAVAILABLE)
    assert f"cannot reach 127.0.0.1:{unused_port}" in str(caught.value)


async def test_a_missed_deadline_is_an_unavailable_error_and_a_timeout_error(server, client):
    async def never(_request):
        await asyncio.Event().wait()

    server.answers["GetCallback"] = never
    with pytest.raises(DeadlineExceededError) as caught:
        await client.get_callback(CASE, timeout=0.2)
    assert isinstance(caught.value, UnavailableError)
    assert isinstance(caught.value, TimeoutError)
    assert f"{server.address} did not respond in time" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.UNKNOWN, CallbackError),
        (Code.NOT_FOUND, CallbackError),
        (Code.UNIMPLEMENTED, CallbackError),
        (Code.UNAUTHENTICATED, UnauthenticatedError),
        (Code.PERMISSION_DENIED, PermissionDeniedError),
    ],
)
async def test_an_error_of_another_program_has_no_reason_and_names_the_target(server, client, code, kind):
    error = await error_of(server, client, code)
    assert type(error) is kind
    assert (error.reason, error.code) == ("", code)
    assert server.address in str(error)
    assert "says gRPC" in str(error)


@pytest.mark.parametrize("wrong", ["code", "details", "trailing_metadata"])
async def test_contradictory_or_malformed_details_are_ignored(server, client, wrong):
    class Wrong(Refusal):
        def wire(self):
            metadata = (("grpc-status-details-bin", b"\xff\xff"),)
            other = {"code": Code.ABORTED, "details": "something else", "trailing_metadata": metadata}
            return super().wire()._replace(**{wrong: other[wrong]})

    error = await error_of(server, client, Wrong(Code.NOT_FOUND, "CALLBACK_NOT_FOUND"))
    assert type(error) is CallbackError
    assert error.reason == ""


async def test_a_reason_of_a_newer_server_has_the_class_of_its_code(server, client):
    error = await error_of(server, client, Refusal(Code.NOT_FOUND, "WINDOW_NOT_FOUND"))
    assert type(error) is NotFoundError
    assert error.reason == "WINDOW_NOT_FOUND"


async def test_cancelling_a_request_raises_cancelled_error(server):
    client, asked = AsyncCallbackClient(server.address), asyncio.Event()

    async def never(_request):
        asked.set()
        await asyncio.Event().wait()

    server.answers["GetCallback"] = never
    call = asyncio.create_task(client.get_callback(CASE))
    await asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await client.close()


ERRORS = [
    each for name in callback.__all__
    if isinstance(each := getattr(callback, name), type) and issubclass(each, CallbackError)
]  # fmt: skip


def full(kind):
    error = kind(
        "too many", code=Code.RESOURCE_EXHAUSTED, reason=ErrorReason.TOO_MANY_OPEN_CALLBACKS, facts={"limit": "5"},
        violations=(FieldViolation("a", "is wrong", "rule"),), retry_after=timedelta(seconds=2),
    )  # fmt: skip
    error.add_note("order 5")
    return error


def reject():
    error = Reject(Response("no trxid", code=400), no_repeat=True)
    error.add_note("order 5")
    return error


def content(error):
    """Return all that an error has."""
    return type(error), error.args, vars(error), str(error), repr(error)


PICKLES = [lambda error, p=protocol: pickle.loads(pickle.dumps(error, p)) for protocol in range(6)]


@pytest.mark.parametrize("again", [*PICKLES, copy.copy, copy.deepcopy])
def test_each_error_is_the_same_after_pickle_and_copy(again):
    for error in [*map(full, ERRORS), reject()]:
        assert content(again(error)) == content(error)
    assert again(full(TooManyOpenCallbacksError)).limit == 5


def test_each_error_that_a_process_of_a_pool_raises_arrives_as_it_is():
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for error in [*map(full, ERRORS), reject()]:
            with pytest.raises(type(error)) as caught:
                pool.submit(exec, "raise error", {"error": error}).result(DEADLINE_S)
            assert content(caught.value) == content(error)

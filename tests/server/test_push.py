"""Push handlers: the request that they receive, their failures, and TLS."""

import asyncio
import contextlib
from types import SimpleNamespace

import grpc
import pytest
import trustme
from structlog.testing import capture_logs
from support.services import refusal, running_services
from support.store import free_port
from support.system import Process
from support.wait import wait_until, wait_until_sync

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import edge_service_pb2 as edge
from callback.v1.callback_handler_service_pb2_grpc import (
    CallbackHandlerServiceServicer,
    add_CallbackHandlerServiceServicer_to_server,
)
from callback_server import control_plane, metrics
from callback_server.handlers import push
from callback_server.settings import ActivitySettings, TlsSettings

ACCEPTED = handler_pb.HandleCallbackResponse(verdict=handler_pb.VERDICT_ACCEPTED)


class Service(CallbackHandlerServiceServicer):
    """A service that answers with the result of `answer(request, context)` and records its requests."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    async def HandleCallback(self, request, context):
        self.asked.append(request)
        return await self.answer(request, context)


@contextlib.asynccontextmanager
async def listening(service, credentials=None, address="127.0.0.1:0"):
    server = grpc.aio.server()
    add_CallbackHandlerServiceServicer_to_server(service, server)
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def one_activity(store, grace_s=0, **settings):
    """Run services with one activity, `act`. `call(**request)` creates a case of it and calls it."""
    async with running_services(store, activities={"act": ActivitySettings(**settings)}, grace_s=grace_s) as up:

        async def call(case=None, **request):
            made = await up.generate("act", **case or {})
            return made, up.edge.Invoke(
                edge.InvokeRequest(state=made.callback_state, **{"request_method": "post", **request})
            )

        async def ended(made):
            calls = await up.callbacks.ListCalls(rpc.ListCallsRequest(callback_case_id=made.callback_case_id))
            return calls.calls[0]

        yield SimpleNamespace(call=call, ended=ended, **vars(up))


def answering(answer):
    async def give(_request, _context):
        return answer

    return Service(give)


async def test_a_handler_gets_everything_that_came(store_of):
    service = answering(ACCEPTED)
    async with listening(service) as port, one_activity(store_of(), target=f"127.0.0.1:{port}", deadline_s=7) as up:
        headers = [pb.Header(name="x-a", value="1"), pb.Header(name="x-a", value="\xe9")]
        query = [pb.QueryParameter(name="id", value="5")]
        made, answer = await up.call(
            {"callback_activity_case": "order 5", "labels": {"shop": "nl"}, "retryable_after_error": True},
            request_headers=headers, request_query=query, request_query_string="id=5", request_body=b"\0\xff",
            client_address="192.0.2.1",
        )  # fmt: skip
        call_id = (await answer).call_id
    (asked,) = service.asked
    assert asked.call_id == call_id
    assert asked.callback_system_case == made.callback_case_id
    assert (asked.callback_activity, asked.callback_activity_case, asked.attempt) == ("act", "order 5", 1)
    assert (asked.request_method, asked.request_body, asked.client_address) == ("post", b"\0\xff", "192.0.2.1")
    assert (list(asked.request_headers), list(asked.request_query)) == (headers, query)
    assert (asked.request_query_string, dict(asked.labels)) == ("id=5", {"shop": "nl"})
    assert asked.response.response_type == pb.RESPONSE_TYPE_RESPONSE
    assert asked.HasField("deadline")


async def test_a_handler_may_listen_on_a_unix_socket(store_of, tmp_path):
    target = f"unix:{tmp_path}/handler.sock"
    async with listening(answering(ACCEPTED), address=target), one_activity(store_of(), target=target) as up:
        made, answer = await up.call()
        await answer
        assert (await up.ended(made)).status == pb.CALL_STATUS_SUCCEEDED


async def test_a_handler_that_answers_an_error_fails_the_call(store_of):
    async def fail(_request, context):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "hunter2")

    async with listening(Service(fail)) as port, one_activity(store_of(), target=f"127.0.0.1:{port}") as up:
        made, answer = await up.call()
        said = await refusal(answer)
        ended = await up.ended(made)
    assert (said.code, said.reason, said.retry_after_s) == (grpc.StatusCode.INTERNAL, "HANDLER_FAILED", 0)
    assert "hunter2" not in said.text
    assert (ended.status, ended.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_HANDLER_ERROR)
    assert ended.failure_detail == "the handler answered PERMISSION_DENIED"


async def test_a_handler_that_is_late_fails_the_call(store_of):
    async def hang(_request, _context):
        await asyncio.Event().wait()

    async with (
        listening(Service(hang)) as port,
        one_activity(store_of(), target=f"127.0.0.1:{port}", deadline_s=2) as up,
    ):
        made, answer = await up.call()
        said = await refusal(answer)
        ended = await up.ended(made)
    assert (said.code, said.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "HANDLER_DEADLINE_EXCEEDED")
    assert (ended.status, ended.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_DEADLINE_EXCEEDED)


async def test_an_unreachable_handler_was_not_started_and_the_case_stays_open(store_of):
    async with one_activity(store_of(), target=f"127.0.0.1:{free_port()}", connect_timeout_s=0.2) as up:
        made, answer = await up.call()
        said = await refusal(answer)
        ended = await up.ended(made)
        case = await up.callbacks.GetCallback(rpc.GetCallbackRequest(callback_case_id=made.callback_case_id))
    assert (said.code, said.reason) == (grpc.StatusCode.UNAVAILABLE, "HANDLER_NOT_STARTED")
    assert said.retry_after_s > 0
    assert (ended.status, ended.failure) == (pb.CALL_STATUS_NOT_STARTED, pb.CALL_FAILURE_HANDLER_UNREACHABLE)
    assert case.callback.status == pb.CALLBACK_STATUS_OPEN


async def test_a_call_that_waits_for_its_connection_at_the_end_of_the_grace_was_not_started(store_of, limits):
    limits(control_plane, RECORD_S=20)  # a busy machine can take longer than 1 s to record it
    target = f"127.0.0.1:{free_port()}"
    async with one_activity(store_of(), target=target, connect_timeout_s=60, deadline_s=60, grace_s=8) as up:
        made, answer = await up.call()
        asked = rpc.ListCallsRequest(callback_case_id=made.callback_case_id)

        async def has_started():
            return (await up.callbacks.ListCalls(asked)).calls

        await wait_until(has_started, what="the call")
        assert await up.control_plane.stop()
        said = await refusal(answer)
    assert (said.reason, said.retry_after_s > 0) == ("HANDLER_NOT_STARTED", True)


async def test_a_handler_that_is_back_is_reached_again(store_of):
    port = free_port()
    async with one_activity(store_of(), target=f"127.0.0.1:{port}", connect_timeout_s=0.2) as up:
        _, answer = await up.call()
        assert (await refusal(answer)).reason == "HANDLER_NOT_STARTED"
        server = grpc.aio.server()
        add_CallbackHandlerServiceServicer_to_server(answering(ACCEPTED), server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        reached = None
        while reached is None:  # gRPC reconnects at intervals of its own
            _, answer = await up.call()
            with contextlib.suppress(grpc.aio.AioRpcError):
                reached = await answer
        await server.stop(0)
    assert reached.response.response_code == 200


async def test_a_call_of_an_activity_without_a_handler_is_not_started(store_of):
    async with running_services(store_of(), activities={"gone": ActivitySettings(deadline_s=0.2)}) as up:
        made = await up.generate("gone")
        said = await refusal(up.call(made, method="get"))
        calls = await up.callbacks.ListCalls(rpc.ListCallsRequest(callback_case_id=made.callback_case_id))
    assert said.reason == "HANDLER_NOT_STARTED"
    assert calls.calls[0].status == pb.CALL_STATUS_NOT_STARTED
    assert calls.calls[0].failure == pb.CALL_FAILURE_HANDLER_UNREACHABLE


@pytest.mark.parametrize(
    "answer",
    [
        handler_pb.HandleCallbackResponse(),
        handler_pb.HandleCallbackResponse(verdict=9),
        handler_pb.HandleCallbackResponse(verdict=1, response=pb.Response(response_code=302)),
        handler_pb.HandleCallbackResponse(verdict=1, response=pb.Response(response_type=1)),
        handler_pb.HandleCallbackResponse(verdict=1, response=pb.Response(response_redirect_url="//evil.example")),
        handler_pb.HandleCallbackResponse(verdict=2, response=pb.Response(response_type=1)),
        handler_pb.HandleCallbackResponse(
            verdict=1, response=pb.Response(response_headers=pb.ResponseHeaders(headers=[{"name": "a b"}]))
        ),
        handler_pb.HandleCallbackResponse(
            verdict=1,
            response=pb.Response(response_headers=pb.ResponseHeaders(headers=[{"name": "a", "value": "x" * 5000}] * 2)),
        ),
    ],
)
async def test_an_answer_that_cannot_be_rendered_fails_the_call(store_of, answer):
    async with listening(answering(answer)) as port, one_activity(store_of(), target=f"127.0.0.1:{port}") as up:
        made, invoked = await up.call()
        said = await refusal(invoked)
        ended = await up.ended(made)
    assert (said.code, said.reason) == (grpc.StatusCode.INTERNAL, "RESPONSE_INVALID")
    assert (ended.status, ended.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_INVALID_RESPONSE)
    assert ended.failure_detail


async def test_no_more_calls_run_than_may(store_of):
    release, running = asyncio.Event(), asyncio.Event()

    class Waiting:
        async def handle(self, _grant, _request, *, timeout_s):
            running.set()
            await release.wait()
            raise AssertionError(timeout_s)

    async with running_services(store_of(), handlers={"act": Waiting()}, max_in_flight_calls=1) as up:
        made = [await up.generate("act") for _ in range(2)]
        first = up.call(made[0], method="get")
        waiting = asyncio.ensure_future(refusal(first))
        await running.wait()
        second = up.call(made[1], method="get")
        said = await refusal(second)
        release.set()
        await waiting
    assert (said.code, said.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
    assert said.retry_after_s > 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Create a certificate authority, with files of its own certificate, of ours, and of one of another authority."""
    folder = tmp_path_factory.mktemp("certificates")
    ours, other = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other.pem")
    client = ours.issue_cert("callback.example")
    client.private_key_pem.write_to_path(folder / "client.key")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")
    handler = ours.issue_cert("handler.example")
    credentials = grpc.ssl_server_credentials(
        [(handler.private_key_pem.bytes(), handler.cert_chain_pems[0].bytes())],
        root_certificates=ours.cert_pem.bytes(),
        require_client_auth=True,
    )
    return SimpleNamespace(folder=folder, credentials=credentials, issue=ours.issue_cert)


def tls(authority, **differing):
    files = {
        "ca_file": authority.folder / "ca.pem", "cert_file": authority.folder / "client.pem",
        "key_file": authority.folder / "client.key", "server_name": "handler.example",
    }  # fmt: skip
    return TlsSettings(**(files | differing))


async def test_a_handler_is_reached_over_mutual_tls(store_of, authority):
    async with (
        listening(answering(ACCEPTED), authority.credentials) as port,
        one_activity(store_of(), target=f"127.0.0.1:{port}", tls=tls(authority)) as up,
    ):
        _, answer = await up.call()
        assert (await answer).response.response_code == 200


@pytest.mark.parametrize("wrong", ["authority", "name", "no_certificate"])
async def test_a_handler_with_the_wrong_certificate_is_not_asked(store_of, authority, wrong):
    differing = {
        "authority": {"ca_file": authority.folder / "other.pem"},
        "name": {"server_name": "other.example"},
        "no_certificate": {"cert_file": None, "key_file": None},
    }[wrong]
    service = answering(ACCEPTED)
    async with (
        listening(service, authority.credentials) as port,
        one_activity(
            store_of(), target=f"127.0.0.1:{port}", connect_timeout_s=0.5, tls=tls(authority, **differing)
        ) as up,
    ):
        made, answer = await up.call()
        assert (await refusal(answer)).reason in {"HANDLER_NOT_STARTED", "HANDLER_LOST"}
        case = await up.callbacks.GetCallback(rpc.GetCallbackRequest(callback_case_id=made.callback_case_id))
    assert not service.asked
    if wrong != "no_certificate":  # a handler refuses a client without one only after it connects
        assert case.callback.status == pb.CALLBACK_STATUS_OPEN


def write(folder, certificate, *parts):
    """Write these parts of a certificate, `cert` and `key`, to the files that the settings of `tls` name."""
    content = {"cert": certificate.cert_chain_pems[0].bytes(), "key": certificate.private_key_pem.bytes()}
    for part in parts:
        (folder / part).write_bytes(content[part])


@pytest.fixture
def soon(limits):
    """Shorten the interval at which files are checked."""
    limits(push, FILES_INTERVAL_S=0.02)


@pytest.fixture
def told():
    """Return a function that returns all events with a name so far."""
    with capture_logs() as entries:
        yield lambda name: [entry for entry in entries if entry["event"] == name]


async def test_other_tls_files_take_over_and_the_call_under_way_ends(soon, store_of, authority, tmp_path, told):
    async def name_the_caller(request, context):
        if request.request_query_string == "held":
            held.set()
            await gate.wait()
        caller = context.auth_context()["x509_subject_alternative_name"][0]
        return handler_pb.HandleCallbackResponse(
            verdict=handler_pb.VERDICT_ACCEPTED, response=pb.Response(response_body=caller)
        )

    def failures():
        return metrics.RELOADS_FAILED.labels("handler_tls")._value.get()

    held, gate = asyncio.Event(), asyncio.Event()
    second = authority.issue("second.example")
    write(tmp_path, authority.issue("first.example"), "cert", "key")
    files = tls(authority, cert_file=tmp_path / "cert", key_file=tmp_path / "key")
    before = failures()
    async with (
        listening(Service(name_the_caller), authority.credentials) as port,
        one_activity(store_of(), target=f"127.0.0.1:{port}", tls=files, deadline_s=60) as up,
    ):

        async def seen(**request):
            _, answer = await up.call(**request)
            return (await answer).response.response_body

        waiting = asyncio.create_task(seen(request_query_string="held"))
        await held.wait()
        # Half of a pair, garbage, then an untrusted certificate: the current connection and its call continue.
        write(tmp_path, second, "cert")
        await wait_until(lambda: len(told("handler_tls_not_read")) == 1)
        (tmp_path / "key").write_text("nonsense")
        await wait_until(lambda: len(told("handler_tls_not_read")) == 2)
        assert await seen() == b"first.example"
        assert [event["activity"] for event in told("handler_tls_not_read")] == ["act"] * 2
        assert told("handler_tls_not_read")[0]["problem"].startswith(
            f"activities.act.tls.cert_file {tmp_path / 'cert'} "
        )
        assert failures() == before + 2
        write(tmp_path, trustme.CA().issue_cert("stranger.example"), "cert", "key")
        await wait_until(lambda: told("handler_tls_read"))
        assert await seen() == b"first.example"

        write(tmp_path, second, "cert", "key")

        async def has_taken_over():
            return await seen() == b"second.example"

        await wait_until(has_taken_over)
        gate.set()
        assert await waiting == b"first.example"


async def test_a_connection_that_becomes_ready_right_after_a_look_at_it_takes_over(
    soon, monkeypatch, store_of, authority, tmp_path
):
    async def name_the_caller(_request, context):
        caller = context.auth_context()["x509_subject_alternative_name"][0]
        return handler_pb.HandleCallbackResponse(
            verdict=handler_pb.VERDICT_ACCEPTED, response=pb.Response(response_body=caller)
        )

    is_ready, looked_at = push._HandlerConnection.is_ready.fget, set()

    def look(connection):
        """Say what was true before the connection was made, at the first look at one."""
        if connection in looked_at or not looked_at:  # the first connection is no successor
            looked_at.add(connection)
            return is_ready(connection)
        looked_at.add(connection)
        wait_until_sync(lambda: is_ready(connection), what="the new connection")  # gRPC's own threads make it
        return False

    monkeypatch.setattr(push._HandlerConnection, "is_ready", property(look))
    write(tmp_path, authority.issue("first.example"), "cert", "key")
    files = tls(authority, cert_file=tmp_path / "cert", key_file=tmp_path / "key")
    async with (
        listening(Service(name_the_caller), authority.credentials) as port,
        one_activity(store_of(), target=f"127.0.0.1:{port}", tls=files, deadline_s=60) as up,
    ):

        async def has_taken_over():
            _, answer = await up.call()
            return (await answer).response.response_body == b"second.example"

        assert not await has_taken_over()
        write(tmp_path, authority.issue("second.example"), "cert", "key")
        await wait_until(has_taken_over)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ca_file", "nonsense", "no usable PEM content"),
        ("ca_file", "", "no usable PEM content"),
        ("ca_file", None, "No such file or directory"),
        ("key_file", "nonsense", "no usable PEM content"),
    ],
)
async def test_unusable_tls_files_of_a_handler_stop_the_start(authority, tmp_path, name, content, said):
    file, config = tmp_path / "file", tmp_path / "callback.toml"
    if content is not None:
        file.write_text(content)
    files = {"ca_file": authority.folder / "ca.pem", "cert_file": authority.folder / "client.pem",
             "key_file": authority.folder / "client.key", name: file}  # fmt: skip
    table = ", ".join(f'{name} = "{path}"' for name, path in files.items())
    config.write_text(f'[activities.orders]\ntarget = "127.0.0.1:1"\ntls = {{{table}}}\n')
    server = Process("callback_server", tmp_path / "log", CALLBACK_CONFIG=str(config), CALLBACK_GRPC_BIND="127.0.0.1:0",
                     CALLBACK_ADMIN_BIND="127.0.0.1:0", CALLBACK_STORE_URL="redis://127.0.0.1:1")  # fmt: skip
    with pytest.raises(AssertionError):
        await server.start()
    assert server.process.returncode == 1
    (line,) = server.log.read_text().splitlines()
    assert line.startswith("callback server: activities.orders.tls.")
    assert f"activities.orders.tls.{name} {file}" in line
    assert said in line

"""Push handlers: the request that they receive, their failures, and TLS."""

import asyncio
import collections
import contextlib
from types import SimpleNamespace

import grpc
import pytest
import trustme
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.names import changing_names
from support.services import refusal, running_services
from support.store import free_port
from support.system import Process
from support.wait import wait_for, wait_until, wait_until_sync

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback.v1.callback_handler_service_pb2_grpc import (
    CallbackHandlerServiceServicer,
    add_CallbackHandlerServiceServicer_to_server,
)
from callback_launcher.errors import LaunchError
from callback_server import control_plane
from callback_server.handlers import push
from callback_server.settings import ActivitySettings, TlsSettings

ACCEPTED = handler_pb.HandleCallbackResponse(verdict=handler_pb.VERDICT_ACCEPTED)


async def accept(_request, _context):
    return ACCEPTED


@contextlib.asynccontextmanager
async def listening(handle, credentials=None, address="127.0.0.1:0"):
    """Serve a handler: a coroutine function of a request and its context. Yield its address."""

    class Service(CallbackHandlerServiceServicer):
        async def HandleCallback(self, request, context):
            return await handle(request, context)

    server = grpc.aio.server()
    add_CallbackHandlerServiceServicer_to_server(Service(), server)
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield address if address.startswith("unix") else f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def pushing(store, handle, *, credentials=None, address="127.0.0.1:0", server=(), **settings):
    """Run services, with settings of the server, that push the calls of `act` to a handler."""
    async with (
        listening(handle, credentials, address) as target,
        running_services(
            store, activities={"act": ActivitySettings(target=target, **settings)}, **dict(server)
        ) as services,
    ):
        yield services


async def test_a_handler_may_listen_on_a_unix_socket(store_of, tmp_path):
    async with pushing(store_of(), accept, address=f"unix:{tmp_path}/handler.sock") as services:
        assert (await services.call(await services.generate("act"))).response.response_code == 200


async def test_a_handler_that_answers_an_error_fails_the_call(store_of):
    async def fail(_request, context):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "hunter2")

    async with pushing(store_of(), fail) as services:
        made = await services.generate("act")
        said = await refusal(services.call(made))
        ended = await services.ended(made)
    assert (said.code, said.reason, said.retry_after_s) == (grpc.StatusCode.INTERNAL, "HANDLER_FAILED", 0)
    assert "hunter2" not in said.text
    assert (ended.status, ended.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_HANDLER_ERROR)
    assert ended.failure_detail == "the handler answered PERMISSION_DENIED"


async def test_what_a_handler_says_of_its_error_is_on_the_call_where_the_operator_records_it(store_of):
    asked = []

    async def fail(request, context):
        asked.append(request.report_error)
        await context.abort(grpc.StatusCode.INTERNAL, "ValueError: no order 7")

    async with pushing(store_of(), fail, server={"record_handler_errors": True}) as services:
        made = await services.generate("act")
        said = await refusal(services.call(made))
        ended = await services.ended(made)
    assert asked == [True]
    assert "no order" not in said.text
    assert ended.failure_detail == "the handler answered INTERNAL: ValueError: no order 7"


async def test_a_call_that_waits_for_its_connection_at_the_end_of_the_grace_was_not_started(store_of, limits):
    limits(control_plane, RECORD_S=20)  # a busy machine can take longer than 1 s to record it
    away = ActivitySettings(target=f"127.0.0.1:{free_port()}", connect_timeout_s=60, deadline_s=60)
    async with running_services(store_of(), activities={"act": away}, grace_s=8) as services:
        made = await services.generate("act")
        caller = services.call(made)
        await services.running(made)
        assert await services.control_plane.stop()
        said = await refusal(caller)
    assert (said.reason, said.retry_after_s > 0) == ("HANDLER_NOT_STARTED", True)


async def test_a_handler_that_is_back_is_reached_again(store_of):
    port = free_port()
    activity = ActivitySettings(target=f"127.0.0.1:{port}", connect_timeout_s=0.2)
    async with running_services(store_of(), activities={"act": activity}) as services:
        made = await services.generate("act")
        said = await refusal(services.call(made))
        assert (said.reason, said.retry_after_s > 0) == ("HANDLER_NOT_STARTED", True)
        async with listening(accept, address=f"127.0.0.1:{port}"):

            async def is_reached():  # gRPC reconnects at intervals of its own
                with contextlib.suppress(grpc.aio.AioRpcError):
                    return await services.call(made)

            assert (await wait_until(is_reached)).response.response_code == 200


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"verdict": 9},
        {"verdict": 1, "response": pb.Response(response_type=1)},
        {"verdict": 2, "response": pb.Response(response_type=1)},
        {"verdict": 1, "response": {"response_headers": {"headers": [{"name": "a b"}]}}},
    ],
)
async def test_an_answer_that_cannot_be_rendered_fails_the_call(store_of, answer):
    async def give(_request, _context):
        return handler_pb.HandleCallbackResponse(**answer)

    async with pushing(store_of(), give) as services:
        made = await services.generate("act")
        said = await refusal(services.call(made))
        ended = await services.ended(made)
    assert (said.code, said.reason) == (grpc.StatusCode.INTERNAL, "RESPONSE_INVALID")
    assert (ended.status, ended.failure) == (pb.CALL_STATUS_FAILED, pb.CALL_FAILURE_INVALID_RESPONSE)
    assert ended.failure_detail


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
    async with pushing(store_of(), accept, credentials=authority.credentials, tls=tls(authority)) as services:
        assert (await services.call(await services.generate("act"))).response.response_code == 200


@pytest.mark.parametrize("wrong", ["authority", "name", "no_certificate"])
async def test_a_handler_with_the_wrong_certificate_is_not_asked(store_of, authority, wrong):
    asked = []

    async def keep(request, _context):
        asked.append(request)
        return ACCEPTED

    files = {
        "authority": {"ca_file": authority.folder / "other.pem"},
        "name": {"server_name": "other.example"},
        "no_certificate": {"cert_file": None, "key_file": None},
    }[wrong]
    given = {"credentials": authority.credentials, "connect_timeout_s": 0.5, "tls": tls(authority, **files)}
    async with pushing(store_of(), keep, **given) as services:
        made = await services.generate("act")
        assert (await refusal(services.call(made))).reason in {"HANDLER_NOT_STARTED", "HANDLER_LOST"}
        case = await services.case_of(made)
    assert not asked
    if wrong != "no_certificate":  # a handler refuses a client without one only after it connects
        assert case.status == pb.CALLBACK_STATUS_OPEN


def write(folder, certificate, *parts):
    """Write these parts of a certificate, `cert` and `key`, to the files that the settings of `tls` name."""
    content = {"cert": certificate.cert_chain_pems[0].bytes(), "key": certificate.private_key_pem.bytes()}
    for part in parts:
        (folder / part).write_bytes(content[part])


@pytest.fixture
def told():
    """Return a function that returns all events with a name so far."""
    with capture_logs() as entries:
        yield lambda name: [entry for entry in entries if entry["event"] == name]


async def test_other_tls_files_take_over_and_the_call_under_way_ends(limits, store_of, authority, tmp_path, told):
    limits(push, FILES_INTERVAL_S=0.02)

    async def name_the_caller(request, context):
        if request.request_query_string == "held":
            held.set()
            await gate.wait()
        caller = context.auth_context()["x509_subject_alternative_name"][0]
        return handler_pb.HandleCallbackResponse(verdict=1, response=pb.Response(response_body=caller))

    def failures():
        return REGISTRY.get_sample_value("callback_reloads_failed_total", {"file": "handler_tls"})

    held, gate = asyncio.Event(), asyncio.Event()
    second = authority.issue("second.example")
    write(tmp_path, authority.issue("first.example"), "cert", "key")
    files = tls(authority, cert_file=tmp_path / "cert", key_file=tmp_path / "key")
    before = failures()
    given = {"credentials": authority.credentials, "tls": files, "deadline_s": 60}
    async with pushing(store_of(), name_the_caller, **given) as services:

        async def seen(**request):
            return (await services.call(await services.generate("act"), **request)).response.response_body

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
        await wait_for(seen, b"second.example")
        gate.set()
        assert await waiting == b"first.example"


async def test_calls_are_spread_over_the_addresses_of_a_name_and_follow_their_changes(limits, store_of, told):
    limits(push, FILES_INTERVAL_S=0.02)
    names = changing_names(limits, **{"handler.test": ["127.0.0.2", "127.0.0.3"]})
    counts, held, gate, port = collections.Counter(), asyncio.Event(), asyncio.Event(), free_port()

    def serving(ip):
        async def handle(request, _context):
            counts[ip] += 1
            if request.request_query_string == "held":
                held.set()
                await gate.wait()
            return handler_pb.HandleCallbackResponse(verdict=1, response=pb.Response(response_body=ip.encode()))

        return listening(handle, address=f"{ip}:{port}")

    activity = ActivitySettings(target=f"handler.test:{port}", deadline_s=60)
    async with (
        serving("127.0.0.2"),
        serving("127.0.0.3"),
        serving("127.0.0.4"),
        running_services(store_of(), activities={"act": activity}) as services,
    ):

        async def call(**request):
            return (await services.call(await services.generate("act"), **request)).response.response_body.decode()

        async def goes_to(*ips):
            return {await call() for _ in range(8)} == {*ips}

        await wait_until(lambda: goes_to("127.0.0.2", "127.0.0.3"))
        running = asyncio.create_task(call(request_query_string="held"))
        await held.wait()
        names["handler.test"] = ["127.0.0.4"]
        await wait_until(lambda: goes_to("127.0.0.4"))
        gate.set()
        assert await running in {"127.0.0.2", "127.0.0.3"}
    assert told("handler_addresses_changed")[-1]["addresses"] == f"ipv4:127.0.0.4:{port}"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
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
    with pytest.raises(LaunchError):
        await asyncio.to_thread(server.start)
    assert server.process.returncode == 1
    (line,) = server.log.read_text().splitlines()
    assert line.startswith("callback server: activities.orders.tls.")
    assert f"activities.orders.tls.{name} {file}" in line
    assert said in line


async def test_a_connection_that_becomes_ready_during_a_look_at_it_is_looked_at_again():
    ready, looks = grpc.ChannelConnectivity.READY, []

    def state():
        return channel.get_state(try_to_connect=True)

    def look():
        looks.append(state())
        if len(looks) == 1:
            wait_until_sync(lambda: state() is ready, what="the connection")  # gRPC's own threads make it

    async with listening(accept) as address:
        channel = grpc.aio.insecure_channel(address)
        connection = push.HandlerConnection(channel, look)
        await wait_until(lambda: ready in looks[1:], what="another look")
        await connection.close()

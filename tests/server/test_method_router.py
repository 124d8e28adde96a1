"""Refusals at the gRPC port: before they cost anything, and without a trace of what was sent in the log."""

import asyncio
import contextlib
import hashlib
from pathlib import Path

import grpc
import h2.connection
import h2.events
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from support.system import Process
from support.wait import DEADLINE_S, wait_until

from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import worker_service_pb2 as worker_pb2
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub
from callback_launcher.child import running
from callback_server.rpc.services import AUTHENTICATED
from callback_shared.wire_fields import MAX_FIELDS

WORK = "/callback.v1.WorkerService/Work"
STREAM_INVOCATIONS = "/callback.v1.EdgeService/StreamInvocations"
SECRET = "a-credential-of-another-system"


def field(number, content):
    """Return a length-delimited field in the wire format of protobuf."""
    length = len(content)
    size = b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


GENERATE = "/callback.v1.CallbacksService/GenerateCallbackUrl"
HEADERS = {
    STREAM_INVOCATIONS: field(1, field(2, b"\x22\x00" * 7_500_000)),
    GENERATE: field(7, field(5, b"\x0a\x00" * 7_500_000)),
}
"""Messages with as many empty headers as possible, for a call and for a case: 15 MB, and hundreds once they are parsed.

gRPC calls the method of a stream before it reads a message. It reads the message of another RPC before it calls the
method.
"""


def digest_of(name):
    return hashlib.sha256(f"callback_{name}".encode()).hexdigest()


@pytest.fixture(scope="module")
async def server(tmp_path_factory, store_of):
    folder = tmp_path_factory.mktemp("server")
    principals = folder / "principals.toml"
    all_roles = 'roles = ["owner", "admin", "edge", "worker"]\nactivities = ["act"]'
    entries = {"orders": 'roles = ["owner"]', "all": all_roles}
    principals.write_text(
        "".join(
            f'[principals.{name}]\n{entry}\ntokens = [{{sha256 = "{digest_of(name)}"}}]\n'
            for name, entry in entries.items()
        )
    )
    process = Process(
        "callback_server", folder / "log", CALLBACK_GRPC_BIND="127.0.0.1:0", CALLBACK_ADMIN_BIND="127.0.0.1:0",
        CALLBACK_STORE_URL=store_of().url, CALLBACK_DRAIN_S="0", CALLBACK_PRINCIPALS_FILE=str(principals),
        CALLBACK_REFLECTION="true",
    )  # fmt: skip
    async with running(process, ends_gracefully=True):
        yield process


def peak_mib(process):
    """Return the peak memory of a process, in MiB."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


async def code_of(call):
    """Return the code of a stream, once it has ended."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code()


async def code(channel, path, message, *metadata):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(path)(message, metadata=metadata, timeout=DEADLINE_S)
    return caught.value.code()


@pytest.mark.parametrize("path", [STREAM_INVOCATIONS, GENERATE])
@pytest.mark.parametrize("credential", [(), (("authorization", "Bearer callback_nobody"),)])
async def test_a_message_without_a_valid_credential_is_not_read(server, credential, path):
    before = peak_mib(server)
    async with grpc.aio.insecure_channel(server.facts["grpc"]) as channel:
        codes = await asyncio.gather(*(code(channel, path, HEADERS[path], *credential) for _ in range(4)))
        assert set(codes) == {grpc.StatusCode.UNAUTHENTICATED}
    assert peak_mib(server) - before < 150  # 60 MiB arrive; one parsed message takes more than 150


async def raw_request(address, *headers):
    """Send a request head that no gRPC client sends, and return at any reply."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = h2.connection.H2Connection()
    connection.config.validate_outbound_headers = connection.config.normalize_outbound_headers = False
    connection.initiate_connection()
    connection.send_headers(1, [(b":method", b"POST"), (b":scheme", b"http"), (b":path", STREAM_INVOCATIONS.encode()),
                                (b":authority", b"x"), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
                                *headers])  # fmt: skip
    connection.send_data(1, b"\x00\x00\x00\x00\x00", end_stream=True)
    writer.write(connection.data_to_send())
    ends = (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            if any(isinstance(event, ends) for event in connection.receive_data(data)):
                break
    writer.close()


async def test_unreadable_metadata_leave_nothing_in_the_log(server):
    address = server.facts["grpc"]
    await raw_request(address, (b"authorization", b"Bearer \xff" + SECRET.encode()))
    await raw_request(address, (b"x-other", b"\xc3\x28" + SECRET.encode()))
    async with grpc.aio.insecure_channel(address) as channel:
        listed = health_pb2.HealthCheckRequest(service=SECRET).SerializeToString()
        assert await code(channel, "/grpc.health.v1.Health/List", listed) is grpc.StatusCode.UNIMPLEMENTED
        assert await code(channel, f"/{SECRET}/{SECRET}", b"") is grpc.StatusCode.UNIMPLEMENTED
        # A known principal is still served.
        known = (("authorization", "Bearer callback_orders"),)
        await CallbacksServiceStub(channel).ListCallbacks(rpc.ListCallbacksRequest(), metadata=known)
    await wait_until(lambda: server.events("ready"))
    assert SECRET not in server.log.read_text()


METHODS = [
    f"/{service.full_name}/{method.name}"
    for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR, *(each.file for each in AUTHENTICATED))
    for service in file.services_by_name.values()
    for method in service.methods
    if method.name != "List"  # of health: it is not served
]


OF_ALL = (("authorization", "Bearer callback_all"),)
"""The token of a principal with all roles."""


@pytest.fixture
async def channel(server):
    async with grpc.aio.insecure_channel(server.facts["grpc"]) as channel:
        yield channel


async def test_a_message_that_cannot_be_parsed_is_an_invalid_argument_of_each_method(server, channel):
    logged = len(server.log.read_text())
    for path in METHODS:
        for sent in (b"\xff" + SECRET.encode(), b"\x0a\xff" + SECRET.encode()):
            call = channel.stream_stream(path)(iter([sent]), metadata=OF_ALL, timeout=DEADLINE_S)
            assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT, path
    assert not server.log.read_text()[logged:]


async def test_a_message_of_more_fields_than_any_request_is_refused_before_it_is_parsed(server, channel):
    offered = b"\x1a\x00" * (MAX_FIELDS + 1)
    before = peak_mib(server)
    for path, message in {GENERATE: HEADERS[GENERATE], WORK: field(1, offered)}.items():
        call = channel.stream_stream(path)(iter([message]), metadata=OF_ALL, timeout=DEADLINE_S)
        assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT
        assert "has more fields" in await call.details()
    assert peak_mib(server) - before < 100  # of its fields alone, 400; of what is wrong with each, 20,000


async def test_a_stream_ends_by_a_message_that_cannot_be_parsed_behind_one_that_can(server, channel):
    hello = worker_pb2.WorkRequest(messages=[{"hello": {"callback_activities": ["act"], "max_calls": 1}}])
    refused = {}
    for path, first in {WORK: hello.SerializeToString(), STREAM_INVOCATIONS: b""}.items():
        call = channel.stream_stream(path)(metadata=OF_ALL, timeout=DEADLINE_S)
        await call.write(first)
        assert await call.read() is not grpc.aio.EOF  # it has begun
        await call.write(b"\xff")
        refused[path] = await code_of(call)
    assert refused == dict.fromkeys((WORK, STREAM_INVOCATIONS), grpc.StatusCode.INVALID_ARGUMENT)
    assert "Traceback" not in server.log.read_text()

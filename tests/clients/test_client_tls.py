"""TLS of clients and handler servers, and the replacement of certificates at run time."""

import asyncio
import dataclasses
import datetime
import gc
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from support.clients import CASE, callback_message, handle_request, scripted_server
from support.wait import DEADLINE_S

from callback import Handlers, Response, ServerTls, Tls, UnavailableError
from callback.connection import _tls
from callback.connection._tls import TlsFiles
from callback.connection._tls import server_credentials as server_credentials_of
from callback.v1 import callback_handler_service_pb2 as handler_messages
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1.callback_handler_service_pb2_grpc import CallbackHandlerServiceStub


@dataclass
class Files:
    """An authority and a certificate of it, as replaceable files."""

    directory: Path
    name: str = "127.0.0.1"

    def __post_init__(self):
        self.ca_file, self.cert_file, self.key_file = (self.directory / f"{part}.pem" for part in ("ca", "cert", "key"))
        self.replace()

    def replace(self):
        """Replace them with another authority and its certificate."""
        self.directory.mkdir(exist_ok=True)
        authority = trustme.CA()
        certificate = authority.issue_cert(self.name)
        authority.cert_pem.write_to_path(self.ca_file)
        certificate.private_key_pem.write_to_path(self.key_file)
        certificate.cert_chain_pems[0].write_to_path(self.cert_file)


@pytest.fixture
def ours(tmp_path):
    """Return the TLS settings of the server."""
    return Files(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path):
    """Return the TLS settings of the caller."""
    return Files(tmp_path / "theirs", "client.example")


def server_credentials(files, client_ca_file=None):
    pair = (files.key_file.read_bytes(), files.cert_file.read_bytes())
    if client_ca_file is None:
        return grpc.ssl_server_credentials([pair])
    return grpc.ssl_server_credentials([pair], client_ca_file.read_bytes(), require_client_auth=True)


async def is_let_in(client):
    async with client:
        try:
            return (await client.get_callback(CASE)).case_id == CASE
        except UnavailableError:
            return False


async def test_a_client_connects_over_tls_only_to_trusted_servers(client_type, ours, theirs):
    async with scripted_server(credentials=server_credentials(ours)) as server:
        server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())

        def client(tls):
            return client_type(server.address, tls=tls, retry=False)

        assert await is_let_in(client(Tls(ca_file=ours.ca_file)))
        assert await is_let_in(client(Tls(ca_file=str(ours.ca_file))))
        for tls in (None, Tls(), Tls(ca_file=theirs.ca_file), Tls(ca_file=ours.ca_file, server_name="other.example")):
            assert not await is_let_in(client(tls))


async def test_a_client_can_set_the_server_name(client_type, theirs):
    async with scripted_server(credentials=server_credentials(theirs)) as server:
        server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
        named = Tls(ca_file=theirs.ca_file, server_name="client.example")
        assert await is_let_in(client_type(server.address, tls=named, retry=False))
        assert not await is_let_in(client_type(server.address, tls=Tls(ca_file=theirs.ca_file), retry=False))


async def test_a_client_presents_its_certificate(client_type, ours, theirs):
    async with scripted_server(credentials=server_credentials(ours, theirs.ca_file)) as server:
        server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
        showing = Tls(ours.ca_file, theirs.cert_file, theirs.key_file)
        assert await is_let_in(client_type(server.address, tls=showing, retry=False))
        assert not await is_let_in(client_type(server.address, tls=Tls(ours.ca_file), retry=False))
        wrong = Tls(ours.ca_file, ours.cert_file, ours.key_file)
        assert not await is_let_in(client_type(server.address, tls=wrong, retry=False))


async def test_changed_files_of_a_client_take_effect(client_type, ours, theirs, unused_port, caplog):
    address = f"127.0.0.1:{unused_port}"
    async with client_type(address, tls=Tls(ours.ca_file, theirs.cert_file, theirs.key_file)) as client:

        async def is_let_in_by_a_new_server():
            async with scripted_server(address, credentials=now) as server:
                server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
                return (await client.get_callback(CASE)).case_id == CASE

        now = server_credentials(ours, theirs.ca_file)
        assert await is_let_in_by_a_new_server()
        ours.replace()
        theirs.replace()
        now = server_credentials(ours, theirs.ca_file)
        assert await is_let_in_by_a_new_server()
        for broken in (theirs.key_file, ours.ca_file):
            caplog.clear()
            broken.write_text("")
            assert await is_let_in_by_a_new_server()
            assert await is_let_in_by_a_new_server()
            assert caplog.text.count("keep_last_files") == 1


def test_files_that_are_unreadable_for_a_moment_are_read_later(ours, caplog):
    files = TlsFiles(Tls(ours.ca_file))
    ours.replace()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        changed = [files.reload_if_changed() for _ in range(2)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert changed == [False, False]
    assert caplog.text.count("keep_last_files") == 1
    assert files.reload_if_changed()
    assert files.contents[0] == ours.ca_file.read_bytes()


def test_a_replaced_file_of_equal_size_and_time_is_detected(ours):
    before = trustme.CA().cert_pem.bytes()
    after = trustme.CA().cert_pem.bytes()
    length = max(len(before), len(after))
    ours.ca_file.write_bytes(before.ljust(length, b"\n"))
    files, status = TlsFiles(Tls(ours.ca_file)), ours.ca_file.stat()
    ours.ca_file.write_bytes(after.ljust(length, b"\n"))
    os.utime(ours.ca_file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert files.reload_if_changed()


def test_a_file_that_has_just_changed_may_change_again_without_a_trace(ours, limits):
    limits(_tls, SETTLED_NS=3600 * 10**9)
    assert _tls.status_of(ours.ca_file) != _tls.status_of(ours.ca_file)
    limits(_tls, SETTLED_NS=0)
    assert _tls.status_of(ours.ca_file) == _tls.status_of(ours.ca_file)


async def test_a_request_survives_the_replacement_of_files(client_type, ours):
    async with scripted_server(credentials=server_credentials(ours)) as server:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def later(_request):
            asked.set()
            await go_on.wait()
            return messages.GetCallbackResponse(callback=callback_message())

        server.answers["GetCallback"] = later
        server.answers["ListCalls"] = messages.ListCallsResponse()
        async with client_type(server.address, tls=Tls(ours.ca_file), retry=False) as client:
            waiting = asyncio.create_task(client.get_callback(CASE))
            await asked.wait()
            ours.ca_file.write_bytes(ours.ca_file.read_bytes() + trustme.CA().cert_pem.bytes())
            await client.list_calls_page(CASE)
            gc.collect()
            go_on.set()
            assert (await waiting).case_id == CASE


def test_a_certificate_without_its_key_is_refused(ours):
    for one in ({"cert_file": ours.cert_file}, {"key_file": ours.key_file}):
        with pytest.raises(ValueError, match="must be given together"):
            Tls(**one)


def test_unusable_files_raise_an_error_when_the_client_is_created(client_type, ours, theirs, tmp_path):
    empty, junk = tmp_path / "empty.pem", tmp_path / "junk.pem"
    empty.touch()
    junk.write_text("hunter2")
    for tls, file, says in (
        (Tls(empty), empty, "no usable PEM content"),
        (Tls(junk), junk, "no usable PEM content"),
        (Tls(ours.ca_file, empty, ours.key_file), empty, "no usable PEM content"),
        (Tls(ours.ca_file, junk, ours.key_file), junk, "no usable PEM content"),
        (Tls(ours.ca_file, ours.cert_file, empty), empty, "no usable PEM content"),
        (Tls(ours.ca_file, ours.cert_file, junk), junk, "no usable PEM content"),
        (
            Tls(ours.ca_file, ours.cert_file, theirs.key_file),
            theirs.key_file,
            "the key does not belong to the certificate",
        ),
    ):
        with pytest.raises(ValueError, match=says) as raised:
            client_type("127.0.0.1:1", tls=tls)
        assert str(file) in str(raised.value)
        assert "hunter2" not in str(raised.value)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        client_type("127.0.0.1:1", tls=Tls(tmp_path / "nowhere.pem"))


def handlers():
    made = Handlers()

    @made.activity("order-paid")
    async def paid(_call):
        return Response(b"ok")

    return made


async def answers(address, credentials):
    """Return whether a caller with a new connection is answered."""
    # Channels with the same settings would share a connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        try:
            answer = await CallbackHandlerServiceStub(channel).HandleCallback(handle_request(), timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
    return answer.response.response_body == b"ok"


async def test_a_handler_server_answers_over_tls(ours, theirs):
    async with handlers().listen("127.0.0.1:0", tls=ServerTls(ours.cert_file, ours.key_file)) as listening:
        assert await answers(listening.address, grpc.ssl_channel_credentials(ours.ca_file.read_bytes()))
        assert not await answers(listening.address, grpc.ssl_channel_credentials(theirs.ca_file.read_bytes()))
        async with grpc.aio.insecure_channel(listening.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await CallbackHandlerServiceStub(channel).HandleCallback(handle_request(), timeout=DEADLINE_S)


async def test_a_handler_server_accepts_only_certificates_of_the_authority(ours, theirs):
    mutual = ServerTls(ours.cert_file, ours.key_file, client_ca_file=theirs.ca_file)
    async with handlers().listen("127.0.0.1:0", tls=mutual) as listening:
        trust = ours.ca_file.read_bytes()

        def showing(files):
            return grpc.ssl_channel_credentials(trust, files.key_file.read_bytes(), files.cert_file.read_bytes())

        assert await answers(listening.address, showing(theirs))
        assert not await answers(listening.address, showing(ours))
        assert not await answers(listening.address, grpc.ssl_channel_credentials(trust))


ASKED = {
    "HandleCallback": handle_request(),
    "RefuseAnswer": handler_messages.RefuseAnswerRequest(
        call_id="a", callback_activity="order-paid", problem="is none"
    ),
}


async def test_a_handler_server_accepts_only_certificates_with_an_accepted_name(ours, tmp_path, caplog):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    names = {"spiffe://shop/callback", "callback.example"}
    mutual = ServerTls(ours.cert_file, ours.key_file, client_ca_file=tmp_path / "ca.pem", client_names=names)

    async def code(listening, *identities, common_name=None, method="HandleCallback"):
        own = authority.issue_cert(*identities, common_name=common_name)
        showing = grpc.ssl_channel_credentials(
            ours.ca_file.read_bytes(), own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes()
        )
        async with grpc.aio.secure_channel(
            listening.address, showing, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            for _ in range(2):  # per call, not only the first of a connection
                try:
                    await getattr(CallbackHandlerServiceStub(channel), method)(ASKED[method], timeout=DEADLINE_S)
                except grpc.aio.AioRpcError as error:
                    answer = error.code()
                else:
                    answer = grpc.StatusCode.OK
        return answer

    async with handlers().listen("127.0.0.1:0", tls=mutual) as listening:
        assert await code(listening, "callback.example") is grpc.StatusCode.OK
        assert await code(listening, "other.example", "callback.example") is grpc.StatusCode.OK
        assert caplog.messages == []
        assert await code(listening, "other.example") is grpc.StatusCode.PERMISSION_DENIED
        assert await code(listening, "other.example", method="RefuseAnswer") is grpc.StatusCode.PERMISSION_DENIED
        assert caplog.messages == ["caller_refused names=other.example"] * 4
        assert await code(listening, "callback.example", method="RefuseAnswer") is grpc.StatusCode.OK
        assert await code(listening, "a.callback.example") is grpc.StatusCode.PERMISSION_DENIED
        common = "callback.example"
        assert await code(listening, "x@callback.example", common_name=common) is grpc.StatusCode.PERMISSION_DENIED
    nobody = dataclasses.replace(mutual, client_names=())
    async with handlers().listen("127.0.0.1:0", tls=nobody) as listening:
        assert await code(listening, "callback.example") is grpc.StatusCode.PERMISSION_DENIED


def test_client_names_without_an_authority_or_as_a_single_text_are_refused(ours):
    with pytest.raises(ValueError, match="client_ca_file"):
        ServerTls(ours.cert_file, ours.key_file, client_names={"callback.example"})
    with pytest.raises(ValueError, match="collection"):
        ServerTls(ours.cert_file, ours.key_file, ours.ca_file, client_names="callback.example")


async def test_client_names_without_cryptography_are_refused_with_the_extra_to_install(ours, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.delitem(sys.modules, "callback_shared.certificate_names", raising=False)
    every = ServerTls(ours.cert_file, ours.key_file, ours.ca_file)
    async with handlers().listen("127.0.0.1:0", tls=every):
        pass
    with pytest.raises(ImportError, match=r"its extra \[client-names\], see docs/install.md"):
        async with handlers().listen("127.0.0.1:0", tls=dataclasses.replace(every, client_names={"callback.example"})):
            pass


async def test_changed_files_of_a_handler_server_take_effect(ours, theirs, caplog):
    mutual = ServerTls(ours.cert_file, ours.key_file, client_ca_file=theirs.ca_file)

    def caller():
        return grpc.ssl_channel_credentials(
            ours.ca_file.read_bytes(), theirs.key_file.read_bytes(), theirs.cert_file.read_bytes()
        )

    async with handlers().listen("127.0.0.1:0", tls=mutual) as listening:
        before = caller()
        assert await answers(listening.address, before)
        ours.replace()
        theirs.replace()
        assert await answers(listening.address, caller())
        assert not await answers(listening.address, before)

        now = caller()
        ours.key_file.write_text("not a key")
        assert await answers(listening.address, now)
        assert await answers(listening.address, now)
        assert caplog.text.count("keep_last_files") == 1
        theirs.ca_file.write_text("")
        assert await answers(listening.address, now)
        ours.key_file.unlink()
        assert await answers(listening.address, now)
        ours.replace()
        theirs.replace()
        assert await answers(listening.address, caller())


async def test_a_handler_server_with_unusable_files_does_not_start(ours, theirs, tmp_path):
    empty, nowhere = tmp_path / "empty.pem", tmp_path / "nowhere.pem"
    empty.touch()
    for wrong, error in (
        (ServerTls(nowhere, ours.key_file), FileNotFoundError),
        (ServerTls(ours.cert_file, ours.key_file, client_ca_file=nowhere), FileNotFoundError),
        (ServerTls(ours.cert_file, theirs.key_file), ValueError),
        (ServerTls(ours.cert_file, empty), ValueError),
        (ServerTls(ours.cert_file, ours.key_file, client_ca_file=empty), ValueError),
    ):
        with pytest.raises(error, match=r"\.pem"):
            async with handlers().listen("127.0.0.1:0", tls=wrong):
                pass


MAKERS = (
    lambda files: TlsFiles(Tls(files.ca_file, files.cert_file, files.key_file)),
    lambda files: server_credentials_of(ServerTls(files.cert_file, files.key_file)),
)


@pytest.mark.parametrize("make", MAKERS)
def test_an_expired_authority_in_the_file_of_a_certificate_is_no_reason_to_refuse_it(ours, make):
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=old")
    old = x509.CertificateBuilder(name, name, key.public_key(), 1, now - 9 * day, now - day)
    old = old.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    with Path(ours.cert_file).open("ab") as file:
        file.write(old.public_bytes(Encoding.PEM))
    make(ours)


@pytest.mark.parametrize("make", MAKERS)
def test_a_certificate_that_has_expired_is_refused_at_the_start(ours, make):
    make(ours)
    now = datetime.datetime.now(datetime.UTC)
    ended = now - datetime.timedelta(days=2)
    old = trustme.CA().issue_cert("127.0.0.1", not_before=now - datetime.timedelta(days=9), not_after=ended)
    old.private_key_pem.write_to_path(ours.key_file)
    old.cert_chain_pems[0].write_to_path(ours.cert_file)
    with pytest.raises(ValueError, match=f"cert.pem: the certificate expired on {ended:%Y-%m-%d}: renew it"):
        make(ours)

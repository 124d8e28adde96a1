"""The gRPC port of a real server: TLS, client certificates, principals, and files that change while it runs."""

import asyncio
import contextlib
import hashlib
import re
import ssl

import grpc
import httpx
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.store import free_port
from support.system import Process
from support.wait import DEADLINE_S, wait_until

from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub
from callback_launcher import child
from callback_launcher.errors import LaunchError
from callback_server.rpc.grpc_aio.listeners import LISTENERS


def hashed(token):
    return hashlib.sha256(token.encode()).hexdigest()


def principals(*tokens):
    entries = "".join(f'[[principals.orders.tokens]]\nsha256 = "{hashed(token)}"\n' for token in tokens)
    return (
        '[principals.orders]\nroles = ["owner"]\n'
        'certificates = ["orders.example"]\n'
        f'{entries}\n[principals.edges]\nroles = ["edge"]\ncertificates = ["edge-1.example", "shared.example"]\n'
        '[principals.shipping]\nroles = ["owner"]\ncertificates = ["shipping.example"]\n'
    )


class Tls:
    """A server, and a folder with the certificates of one authority that it uses."""

    def __init__(self, directory):
        self.directory = directory
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(directory / "ca.pem")
        self.renew()
        self.principals = directory / "principals.toml"
        self.principals.write_text(principals("callback_first"))
        self.grpc = f"localhost:{free_port()}"

    def renew(self):
        """Replace the certificate of the server, and return the new one."""
        certificate = self.authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(self.directory / "server.key")
        (self.directory / "server.pem").write_bytes(certificate.cert_chain_pems[0].bytes())
        return certificate.cert_chain_pems[0].bytes()

    def credentials(self, *names, authority=None):
        """Return the credentials of a client, with a certificate for these names or without one."""
        ca = self.authority.cert_pem.bytes()
        if not names:
            return grpc.ssl_channel_credentials(ca)
        own = (authority or self.authority).issue_cert(*names)
        return grpc.ssl_channel_credentials(ca, own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())

    def environment(self, store, **more):
        return {
            "CALLBACK_GRPC_BIND": self.grpc, "CALLBACK_STORE_URL": store.url, "CALLBACK_ADMIN_BIND": "127.0.0.1:0",
            "CALLBACK_DRAIN_S": "0", "CALLBACK_PRINCIPALS_FILE": str(self.principals),
            "CALLBACK_TLS_CERT_FILE": str(self.directory / "server.pem"),
            "CALLBACK_TLS_KEY_FILE": str(self.directory / "server.key"), **more,
        }  # fmt: skip


@contextlib.asynccontextmanager
async def running(tls, store, **more):
    server = Process("callback_server", tls.directory / "log", **tls.environment(store, **more))
    async with child.running(server, ends_gracefully=True):
        yield server


@pytest.fixture
def tls(tmp_path):
    return Tls(tmp_path)


@pytest.fixture
def mutual(tls):
    return {"CALLBACK_TLS_CLIENT_CA_FILE": str(tls.directory / "ca.pem")}


async def asked(tls, credentials, token=None):
    """List callbacks over a new connection, and return the status code."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    channel = grpc.aio.secure_channel(tls.grpc, credentials) if credentials else grpc.aio.insecure_channel(tls.grpc)
    async with channel:
        try:
            await CallbacksServiceStub(channel).ListCallbacks(
                rpc.ListCallbacksRequest(), metadata=metadata, timeout=DEADLINE_S
            )
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


OK, REFUSED = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE
UNAUTHENTICATED, FORBIDDEN = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED


async def test_over_tls_a_token_is_enough_and_plain_text_gets_nowhere_and_health_needs_no_principal(tls, store_of):
    async with running(tls, store_of()), grpc.aio.secure_channel(tls.grpc, tls.credentials()) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert await asked(tls, tls.credentials(), "callback_first") is OK
        assert await asked(tls, tls.credentials()) is UNAUTHENTICATED
        assert await asked(tls, tls.credentials("orders.example")) is UNAUTHENTICATED  # not requested from the client
        assert await asked(tls, None, "callback_first") is REFUSED
        stranger = grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())
        assert await asked(tls, stranger, "callback_first") is REFUSED


async def test_with_client_certificates_each_must_show_one_that_is_trusted_and_known(tls, store_of, mutual):
    async with running(tls, store_of(), **mutual):
        assert await asked(tls, tls.credentials("orders.example")) is OK
        assert await asked(tls, tls.credentials("unknown.example", "orders.example")) is OK
        assert await asked(tls, tls.credentials("edge-1.example")) is FORBIDDEN
        assert await asked(tls, tls.credentials("unknown.example")) is UNAUTHENTICATED
        assert await asked(tls, tls.credentials("orders.example", "shipping.example")) is UNAUTHENTICATED
        assert await asked(tls, tls.credentials()) is REFUSED
        assert await asked(tls, tls.credentials("orders.example", authority=trustme.CA())) is REFUSED
        # A token decides alone, whatever certificate comes with it.
        assert await asked(tls, tls.credentials("edge-1.example"), "callback_first") is OK
        assert await asked(tls, tls.credentials("orders.example"), "callback_wrong") is UNAUTHENTICATED


async def test_tokens_come_and_go_while_the_server_runs(tls, store_of):
    async with running(tls, store_of()) as server:
        credentials = tls.credentials()

        async def code_of(token):
            return await asked(tls, credentials, token)

        tls.principals.write_text(principals("callback_first", "callback_second"))
        await wait_until(lambda: server.events("principals_read"))
        assert (await code_of("callback_first"), await code_of("callback_second")) == (OK, OK)

        tls.principals.write_text(principals("callback_second") + "broken")
        await wait_until(lambda: server.events("principals_not_read"))
        assert (await code_of("callback_first"), await code_of("callback_second")) == (OK, OK)
        assert await failed_reloads(server, "principals") == 1

        fresh = tls.directory / "fresh"
        fresh.write_text(principals("callback_second"))
        fresh.replace(tls.principals)
        await wait_until(lambda: len(server.events("principals_read")) == 2)
        assert (await code_of("callback_first"), await code_of("callback_second")) == (UNAUTHENTICATED, OK)


def shown(tls):
    """Return the certificate that the server presents now, as PEM."""
    host, port = tls.grpc.split(":")
    return ssl.get_server_certificate((host, int(port)))


def as_pem(certificate):
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(certificate.decode()))


async def test_a_renewed_certificate_is_shown_without_a_restart(tls, store_of):
    async with running(tls, store_of()) as server:
        first = shown(tls)
        second = tls.renew()
        assert shown(tls) == as_pem(second) != first
        assert len(server.events("certificate_read")) == 1
        assert {shown(tls) for _ in range(8 * LISTENERS)} == {as_pem(second)}  # of any of the listeners
        assert len(server.events("certificate_read")) == 1


async def failed_reloads(server, file):
    """Return the value of this counter."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"http://{server.facts['admin']}/metrics")).text
    found = re.search(rf'callback_reloads_failed_total{{file="{file}"}} (\S+)', text)
    return float(found[1]) if found else 0


async def test_unusable_tls_files_are_logged_once_and_the_former_ones_stay_in_use(tls, store_of, mutual):
    async with running(tls, store_of(), **mutual) as server:
        client, first = tls.credentials("orders.example"), shown(tls)
        third = tls.authority.issue_cert("localhost")
        files = {name: tls.directory / name for name in ("server.pem", "server.key", "ca.pem")}
        good = {name: file.read_bytes() for name, file in files.items()}
        half = third.cert_chain_pems[0].bytes()
        problems = []
        for name, content, words in (
            ("server.pem", half, "the key does not belong to the certificate"),
            ("server.pem", b"junk", "tls_cert_file {} with tls_key_file"),
            ("server.key", b"", "tls_cert_file"),
            ("ca.pem", b"junk", "tls_client_ca_file {}: no usable PEM content"),
            ("ca.pem", b"", "tls_client_ca_file {}: no usable PEM content"),
            ("ca.pem", None, "tls_client_ca_file {}: No such file or directory"),
        ):
            if content is None:
                files[name].unlink()
            else:
                files[name].write_bytes(content)
            for _ in range(3):
                assert shown(tls) == first
                assert await asked(tls, client) is OK
            problems.append(words.format(files[name]))
            told = [event["problem"] for event in server.events("certificate_not_read")]
            assert len(told) == len(problems)
            assert problems[-1] in told[-1]
            assert await failed_reloads(server, "certificate") == len(told)
            files[name].write_bytes(good[name])
            assert shown(tls) == first
        assert not server.events("certificate_read")


async def test_a_pair_that_is_replaced_file_by_file_is_taken_over_when_it_is_one(tls, store_of):
    async with running(tls, store_of()) as server:
        first = shown(tls)
        second = tls.authority.issue_cert("localhost")
        (tls.directory / "server.pem").write_bytes(second.cert_chain_pems[0].bytes())
        assert [shown(tls), shown(tls)] == [first, first]  # the key file is not replaced yet
        assert await asked(tls, tls.credentials(), "callback_first") is OK
        second.private_key_pem.write_to_path(tls.directory / "server.key")
        assert shown(tls) == as_pem(second.cert_chain_pems[0].bytes())
        assert len(server.events("certificate_not_read")) == await failed_reloads(server, "certificate") == 1
        assert len(server.events("certificate_read")) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"CALLBACK_PRINCIPALS_FILE": ""}, "set principals_file, or bind to loopback"),
        ({"CALLBACK_TLS_CERT_FILE": "", "CALLBACK_TLS_KEY_FILE": ""}, "or allow_plaintext where a mesh encrypts"),
        ({"CALLBACK_TLS_KEY_FILE": "{other}"}, "other.key: the key does not belong to the certificate"),
        ({"CALLBACK_TLS_CLIENT_CA_FILE": "{other}"}, "other.key: no usable PEM content"),
        ({"CALLBACK_PRINCIPALS_FILE": "/nowhere"}, "/nowhere: cannot be read: No such file or directory"),
    ],
)
async def test_a_server_that_would_be_open_or_half_closed_does_not_start(tls, store_of, change, words):
    other = tls.directory / "other.key"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(other)
    environment = tls.environment(store_of(), CALLBACK_GRPC_BIND="0.0.0.0:0")
    for name, value in change.items():
        environment[name] = value.format(other=other, ca=tls.directory / "ca.pem")
    server = Process("callback_server", tls.directory / "log", **environment)
    with pytest.raises(LaunchError):
        await asyncio.to_thread(server.start)
    assert server.process.returncode in (1, 2)
    assert words in server.log.read_text()

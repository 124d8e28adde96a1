"""Connections to HTTP handlers: which addresses they may have, TLS, and files that change."""

import asyncio
import socket
import ssl

import pytest
import standardwebhooks
import trustme
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.http_handlers import OTHER_SECRET, SECRET, HttpHandlerServer, answer, http_activity
from support.key_source import NOT_PUBLIC, PUBLIC, REDIRECTS, THIS_MACHINE, resolver
from support.services import redirect, refusal, running_services
from support.store import free_port
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback_process import public_addresses
from callback_process.addresses import parse_network
from callback_process.credentials import CredentialsError
from callback_server.domain.http_target import parse_http_target
from callback_server.handlers.http import handler as module
from callback_server.handlers.http import pool
from callback_server.handlers.http.handler import HttpHandler
from callback_server.handlers.http.pool import ConnectionPool, NotConnectedError
from callback_server.settings import TlsSettings

LOOPBACK = {"private_networks": ["127.0.0.0/8"]}


def http_handler(url, folder, *addresses, resolve=None, **settings):
    """Return a handler whose name has these addresses, or lists of them, one after the other."""
    given = [each if isinstance(each, list) else [each] for each in addresses]
    activity = http_activity(url, folder, **settings)
    return HttpHandler("act", activity, activity.http, resolve=resolve or resolver(*given))


class Names(dict):
    """Addresses by name, for the resolver of the system. `asked` has each name that it was asked for, in order."""

    def __init__(self):
        self.asked = []
        self._of_the_system = socket.getaddrinfo

    def getaddrinfo(self, host, port, *arguments, **options):
        self.asked.append(host)
        if host not in self:
            return self._of_the_system(host, port, *arguments, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self[host]]


@pytest.fixture
def names(monkeypatch):
    """Return names that have the addresses which a test gives them."""
    names = Names()
    monkeypatch.setattr(public_addresses.socket, "getaddrinfo", names.getaddrinfo)
    return names


def pool_of_one(server):
    """Return a pool for one connection at a time."""
    return ConnectionPool(
        parse_http_target(server.url), tls=lambda: None, server_name=None,
        private_networks=[parse_network("127.0.0.0/8")], max_in_flight=1,
    )  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_an_address_that_is_not_public_is_not_connected_to(tmp_path, address):
    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        handler = http_handler("https://orders.example/", tmp_path, addresses)
        assert await handler.check() == f"orders.example has the address {address}, which is not public"


@pytest.mark.parametrize("host", THIS_MACHINE)
async def test_https_leads_to_this_machine_only_if_the_operator_names_it(tmp_path, host):
    handler = http_handler(f"https://{host}/", tmp_path, resolve=public_addresses.resolve)
    assert "which is not public" in await handler.check()


async def test_a_call_is_not_sent_to_an_address_that_is_not_public(shared_store, tmp_path, names):
    async with running_services(
        shared_store, activities={"act": http_activity("https://orders.example/", tmp_path)}
    ) as services:
        made = await services.generate("act")
        for count, address in enumerate(NOT_PUBLIC, 1):
            names["orders.example"] = [PUBLIC, address]
            said = await refusal(services.call(made))
            call, *_ = await services.calls_of(made)
            assert (said.reason, call.failure) == ("HANDLER_NOT_STARTED", pb.CALL_FAILURE_HANDLER_UNREACHABLE), address
            assert call.failure_detail.endswith(f"orders.example has the address {address}, which is not public")
            assert "orders.example" not in said.text + str(said.metadata)
            case = await services.case_of(made)
            assert (case.status, case.call_count) == (pb.CALLBACK_STATUS_OPEN, count)


async def test_a_name_that_changes_its_address_leads_nowhere_else(shared_store, authority, tmp_path, names, limits):
    limits(pool, MAX_IDLE_S=0)
    _, context, folder = authority
    async with HttpHandlerServer(tls=context) as server:
        url = f"https://orders.example:{server.port}/hook"
        act = http_activity(url, tmp_path, tls=tls(folder), private_networks=["127.0.0.1/32"])
        async with running_services(shared_store, activities={"act": act}) as services:
            made = await services.generate("act", allow_multiple_calls=True)
            names["orders.example"] = ["127.0.0.1"]
            await services.call(made)
            for changed in (["127.0.0.2"], ["127.0.0.1", "169.254.169.254"], ["::1"]):
                names["orders.example"] = changed
                assert (await refusal(services.call(made))).reason == "HANDLER_NOT_STARTED"
            names["orders.example"] = ["127.0.0.1"]
            await services.call(made)
        assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("location", REDIRECTS)
async def test_a_redirect_is_that_of_the_caller_and_is_not_followed(shared_store, tmp_path, names, location):
    async with HttpHandlerServer(answer(302, b"", f"location: {location}")) as server:
        act = http_activity(server.url, tmp_path)
        async with running_services(shared_store, activities={"act": act}) as services:
            said = await services.call(await services.generate("act"))
        own = "https://platform.example" if location.startswith("/") else ""
        assert said.response == redirect(response_redirect_url=own + location)
        assert (server.connections, [each.path for each in server.requests]) == (1, ["/hook"])
        assert {*names.asked} <= {"127.0.0.1"}


async def test_http_leads_to_this_machine_alone_whatever_the_settings_allow(tmp_path):
    handler = http_handler("http://localhost/", tmp_path, "10.1.2.3", private_networks=["10.0.0.0/8"])
    assert "10.1.2.3, which is not public" in await handler.check()


async def test_the_addresses_of_a_name_are_tried_in_order_and_resolved_again(tmp_path):
    async with HttpHandlerServer() as server:
        url = f"http://localhost:{server.port}/"
        away, there = "127.0.0.2", "127.0.0.1"
        handler = http_handler(url, tmp_path, [away, there], [away], [there])
        assert await handler.check() == ""
        assert (await handler.check()).startswith(f"{away}: Connect")
        assert await handler.check() == ""
        await wait_until(lambda: server.connections == 2)


async def test_a_name_that_has_no_answer_costs_no_more_than_the_time_of_a_connection(tmp_path):
    async def never(_host, _port):
        await asyncio.Event().wait()

    activity = http_activity("https://orders.example/", tmp_path, connect_timeout_s=0.05)
    async with HttpHandler("act", activity, activity.http, resolve=never) as handler:
        assert await handler.check() == "no connection in 0.05 s"


async def test_a_name_is_looked_up_once_at_a_time_however_many_wait_for_it(tmp_path):
    asked, may_answer = [], asyncio.Event()

    async def slow(host, _port):
        asked.append(host)
        await may_answer.wait()
        return ["10.1.2.3"]

    activity = http_activity("https://orders.example/", tmp_path)
    async with HttpHandler("act", activity, activity.http, resolve=slow) as handler:
        checks = [asyncio.create_task(handler.check()) for _ in range(3)]
        await wait_until(lambda: asked, what="the first look-up")
        checks.pop().cancel()
        may_answer.set()
        assert {await each for each in checks} == {"orders.example has the address 10.1.2.3, which is not public"}
        assert len(asked) == 1
        await handler.check()
        assert len(asked) == 2


async def test_a_pool_that_is_stopped_gives_no_connection_not_even_an_idle_one():
    async with HttpHandlerServer() as server:
        pool = pool_of_one(server)
        pool.release(await pool.acquire(5))
        pool.stop()
        with pytest.raises(NotConnectedError, match="stopped"):
            await pool.acquire(5)
        pool.close()


async def test_a_pool_stops_in_the_moment_in_which_a_request_gives_up_waiting_for_a_connection():
    async with HttpHandlerServer() as server:
        pool = pool_of_one(server)
        connection = await pool.acquire(5)
        waiting = asyncio.create_task(pool.acquire(0))
        for _ in range(4):  # each is one turn of the loop, and in one of them the time of the request has just ended
            await asyncio.sleep(0)
            pool.stop()
        with pytest.raises(NotConnectedError):
            await waiting
        pool.release(connection)
        pool.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Return an authority with the settings of TLS of a handler that asks for certificates, and files for a client."""
    folder, ours = tmp_path_factory.mktemp("tls"), trustme.CA()
    ours.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    write(ours.issue_cert("callback.example"), folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.issue_cert("handler.example").configure_cert(context)
    ours.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return ours, context, folder


def write(certificate, folder):
    """Write a certificate and its key to files in a folder."""
    certificate.private_key_pem.write_to_path(folder / "client.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "client.pem")


def tls(folder, files=None, **differing):
    files = files or folder
    given = {
        "ca_file": folder / "ca.pem", "cert_file": files / "client.pem", "key_file": files / "client.key",
        "server_name": "handler.example",
    }  # fmt: skip
    return TlsSettings(**(given | differing))


async def test_a_handler_is_reached_over_mutual_tls(shared_store, authority, tmp_path):
    _, context, folder = authority
    async with HttpHandlerServer(tls=context) as server:
        act = http_activity(server.url, tmp_path, tls=tls(folder), **LOOPBACK)
        async with running_services(shared_store, activities={"act": act}) as services:
            for _ in range(2):
                await services.call(await services.generate("act"), body=b"paid")
    first, second = server.requests
    first.verify()
    second.verify()
    assert (first.headers["host"], server.connections) == (f"127.0.0.1:{server.port}", 1)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("authority", "its certificate is not trusted: "),
        ("name", "its certificate is not trusted: Hostname mismatch"),
        ("no certificate", ""),
    ],
)
async def test_a_handler_with_the_wrong_certificate_is_not_asked(shared_store, authority, tmp_path, wrong, why):
    _, context, folder = authority
    differing = {
        "authority": {"ca_file": folder / "other.pem"},
        "name": {"server_name": "other.example"},
        "no certificate": {"cert_file": None, "key_file": None},
    }[wrong]
    async with HttpHandlerServer(tls=context) as server:
        act = http_activity(server.url, tmp_path, tls=tls(folder, **differing), **LOOPBACK)
        async with running_services(shared_store, activities={"act": act}) as services:
            made = await services.generate("act")
            said = await refusal(services.call(made))
            (call,) = await services.calls_of(made)
    assert server.requests == []
    assert why in call.failure_detail
    # A handler refuses a client without a certificate only after the client has connected.
    assert said.reason == ("HANDLER_NOT_STARTED" if why else "HANDLER_LOST")


async def test_a_body_without_a_length_is_one_only_if_tls_ends_it(shared_store, authority, tmp_path):
    _, context, folder = authority

    def without_length(end):
        async def script(_request, writer):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\npaid")
            await writer.drain()
            end(writer)

        return script

    ends = without_length(lambda writer: writer.close()), without_length(lambda writer: writer.transport.abort())
    async with HttpHandlerServer(*ends, tls=context) as server:
        act = http_activity(server.url, tmp_path, tls=tls(folder), **LOOPBACK)
        async with running_services(shared_store, activities={"act": act}) as services:
            assert (await services.call(await services.generate("act"))).response.response_body == b"paid"
            assert (await refusal(services.call(await services.generate("act")))).reason == "HANDLER_LOST"


async def test_other_tls_files_are_for_the_next_connection(shared_store, authority, tmp_path, limits):
    limits(module, FILES_INTERVAL_S=0.02)
    ours, context, folder = authority
    names = []

    async def closes(_request, writer):
        ((_kind, name),) = writer.get_extra_info("peercert")["subjectAltName"]
        names.append(name)
        writer.write(answer(200, b"", "connection: close"))

    write(ours.issue_cert("first.example"), tmp_path)
    async with HttpHandlerServer(closes, tls=context) as server:
        act = http_activity(server.url, tmp_path, tls=tls(folder, tmp_path), **LOOPBACK)
        with capture_logs() as entries:
            async with running_services(shared_store, activities={"act": act}) as services:
                await services.call(await services.generate("act"))
                write(ours.issue_cert("second.example"), tmp_path)
                await wait_until(lambda: any(each["event"] == "handler_tls_read" for each in entries))
                await services.call(await services.generate("act"))
    assert names == ["first.example", "second.example"]


async def test_two_secrets_sign_and_files_that_change_are_read_again(shared_store, tmp_path, limits):
    limits(module, FILES_INTERVAL_S=0.02)

    def failures():
        return REGISTRY.get_sample_value("callback_reloads_failed_total", {"file": "handler_secrets"})

    async with HttpHandlerServer() as server:
        act = http_activity(server.url, tmp_path, SECRET, OTHER_SECRET)
        async with running_services(shared_store, activities={"act": act}) as services:

            async def verifies(secret):
                await services.call(await services.generate("act"), body=b"paid")
                try:
                    server.requests[-1].verify(secret)
                except standardwebhooks.WebhookVerificationError:
                    return False
                return True

            assert await verifies(SECRET)
            assert await verifies(OTHER_SECRET)
            before = failures()
            (tmp_path / "secret-0").write_text("nonsense")
            await wait_until(lambda: failures() == before + 1)
            assert await verifies(SECRET)
            (tmp_path / "secret-0").write_text(OTHER_SECRET)
            await wait_until(lambda: _is_not(verifies(SECRET)))
            assert await verifies(OTHER_SECRET)


async def _is_not(awaitable):
    return not await awaitable


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hunter2", "does not start with whsec_"), ("whsec_hunter2!", "is not base64"),
        ("whsec_aHVudGVyMg==", "has 7 bytes, needs at least 24"), ("", "is empty"), (None, "No such file"),
    ],
)  # fmt: skip
def test_a_secret_that_cannot_sign_is_named_at_the_start(tmp_path, content, said):
    activity = http_activity("https://orders.example/", tmp_path)
    (file,) = activity.http.secret_files
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(CredentialsError) as caught:
        HttpHandler("act", activity, activity.http)
    assert str(caught.value).startswith(f"activities.act.http.secret_files[0] {file}: ")
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_an_address_that_is_away_leaves_the_callback_open(shared_store, tmp_path):
    away = http_activity(f"https://127.0.0.1:{free_port()}/hook", tmp_path, **LOOPBACK)
    async with running_services(shared_store, activities={"act": away}) as services:
        made = await services.generate("act")
        assert (await refusal(services.call(made))).reason == "HANDLER_NOT_STARTED"
        assert (await services.case_of(made)).status == pb.CALLBACK_STATUS_OPEN

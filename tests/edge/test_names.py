"""Names of servers get other addresses: the edge looks them up again, and loses no call while it moves."""

import asyncio
import collections
import contextlib
import socket

import grpc
import pytest
import trustme
from support.edge import DEADLINE_S, ask, control_plane, plain, running_edge
from support.names import changing_names
from support.store import free_port
from support.wait import wait_until

from callback_edge.upstream import channel, client


@pytest.fixture
def names(limits):
    """Return names that can be changed. The edge looks them up all the time."""
    limits(client, FILE_CHECK_S=0.05)
    limits(channel, STREAM_LIFETIME_S=0.5)
    return changing_names(limits)


@contextlib.asynccontextmanager
async def servers(*ips):
    """Run a server at each of these addresses, at one port."""
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        yield port, [await stack.enter_async_context(control_plane(ip=ip, port=port)) for ip in ips]


@contextlib.asynccontextmanager
async def calling(edge, callers=4):
    """Make calls all the time, and yield the number of each status."""
    statuses, enough = collections.Counter(), asyncio.Event()

    async def call():
        while not enough.is_set():
            statuses[(await ask(edge)).status] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())
        try:
            yield statuses
        finally:
            enough.set()


async def gets_calls(plane):
    had = plane.started
    await wait_until(lambda: plane.started > had, what="a call")


async def gets_no_more(plane, statuses):
    """Wait until a hundred calls in a row go to other servers."""

    async def all_go_elsewhere():
        had, total = plane.started, statuses.total()
        await wait_until(lambda: statuses.total() > total + 100)
        return plane.started == had

    await wait_until(all_go_elsewhere)


async def test_a_list_of_names_that_all_have_new_addresses_is_followed_and_no_call_fails(names, log):
    async with servers("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5") as (port, planes):
        names |= {"one.test": ["127.0.0.2"], "two.test": ["127.0.0.3"]}
        async with (
            running_edge(f"one.test:{port},two.test:{port}", allow_plaintext=True) as edge,
            calling(edge) as statuses,
        ):
            for plane in planes[:2]:
                await gets_calls(plane)
            names |= {"one.test": ["127.0.0.4"], "two.test": ["127.0.0.5"]}
            for plane in planes[2:]:
                await gets_calls(plane)
            for plane in planes[:2]:
                await gets_no_more(plane, statuses)
        assert set(statuses) == {200}
        assert statuses.total() == sum(plane.ended for plane in planes)
    # Both names are looked up one after the other, so what is found between their changes may be an event too.
    *_, moved = [entry for entry in log if entry["event"] == "server_addresses_changed"]
    assert moved["addresses"] == f"ipv4:127.0.0.4:{port},127.0.0.5:{port}"


@pytest.mark.parametrize("scheme", ["", "dns:///"])
async def test_servers_join_and_leave_one_name(names, scheme):
    async with servers("127.0.0.2", "127.0.0.3") as (port, (first, second)):
        names["callback.test"] = ["127.0.0.2"]
        async with (
            running_edge(f"{scheme}callback.test:{port}", allow_plaintext=True) as edge,
            calling(edge) as statuses,
        ):
            await gets_calls(first)
            names["callback.test"] = ["127.0.0.3", "127.0.0.2"]
            await gets_calls(second)
            await gets_calls(first)
            names["callback.test"] = ["127.0.0.3"]
            await gets_no_more(first, statuses)
        assert set(statuses) == {200}


async def test_a_call_ends_on_the_server_that_has_left_its_name(names):
    async with servers("127.0.0.2", "127.0.0.3") as (port, (first, second)):
        names["callback.test"] = ["127.0.0.2"]
        async with running_edge(f"callback.test:{port}", allow_plaintext=True) as edge:
            gate = first.hold(plain(b"as before"))
            held = asyncio.create_task(ask(edge))
            await first.until(lambda: first.started)
            names["callback.test"] = ["127.0.0.3"]

            async def second_is_used():
                return (await asyncio.wait_for(ask(edge), DEADLINE_S)).body == b"ok"

            async with contextlib.AsyncExitStack() as stack:
                stack.callback(gate.set)
                await wait_until(lambda: second.opened >= channel.STREAM_COUNT)
                await wait_until(second_is_used)
            assert (await held).body == b"as before"


async def test_names_that_are_gone_or_cannot_be_looked_up_keep_the_servers_in_use(names, limits):
    async with servers("127.0.0.2") as (port, _):
        names["callback.test"] = ["127.0.0.2"]
        async with running_edge(f"callback.test:{port}", allow_plaintext=True) as edge:
            del names["callback.test"]
            looked_up = names.count
            await wait_until(lambda: names.count > looked_up + 2)
            assert (await ask(edge)).status == 200
            names["callback.test"] = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            looked_up = names.count
            await wait_until(lambda: names.count > looked_up + 2)
            assert (await ask(edge)).status == 200


async def test_an_edge_whose_names_do_not_exist_yet_starts_and_finds_them(names):
    async with (
        servers("127.0.0.2") as (port, _),
        running_edge(f"one.test:{port},two.test:{port}", ready=False, allow_plaintext=True) as edge,
    ):
        assert (await ask(edge)).status == 503
        names["two.test"] = ["127.0.0.2"]
        await wait_until(lambda: not edge.upstream.why_not_ready())
        assert (await ask(edge)).status == 200


async def test_tls_checks_the_name_of_a_single_target_and_not_its_address(names, tmp_path):
    authority, port = trustme.CA(), free_port()
    (tmp_path / "ca").write_bytes(authority.cert_pem.bytes())
    certificate = authority.issue_cert("callback.test")
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)])
    async with control_plane(credentials, ip="127.0.0.2", port=port):
        names["callback.test"] = ["127.0.0.2"]
        async with running_edge(f"callback.test:{port}", server_tls={"ca_file": tmp_path / "ca"}) as edge:
            assert (await ask(edge)).status == 200

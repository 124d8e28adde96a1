"""Several servers in one target: the first that can be reached is used, and the next one once it is gone.

Their names get other addresses: the client follows them.
"""

import asyncio
import contextlib
import gc
import threading

import pytest
from support.clients import CASE, CLIENTS, callback_message, run_callback, scripted_server
from support.names import changing_names
from support.store import free_port
from support.wait import wait_until

from callback import AsyncCallbackClient, Handlers, Tls, Worker
from callback.v1 import callbacks_service_pb2 as messages
from callback_shared import addresses as lookups
from callback_shared.addresses import Addresses
from callback_shared.targets import has_several, is_local, servers_of, target_problem


def answering(server, owner):
    """Make a server answer with a callback of an owner."""
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message(owner=owner))


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_client_uses_the_first_server_of_a_list_and_the_next_one_after_it(kind):
    async with scripted_server() as second:
        answering(second, "second")
        async with scripted_server() as first:
            answering(first, "first")
            target = f"localhost:{first.address.partition(':')[2]},{second.address}"
            client = CLIENTS[kind](target)
            await client.__aenter__()
            assert (await client.get_callback(CASE)).owner == "first"
        assert (await client.get_callback(CASE)).owner == "second"
        await client.__aexit__(None, None, None)


async def test_the_command_line_takes_a_list_whose_first_server_is_away():
    async with scripted_server() as server:
        answering(server, "shop")
        target = f"127.0.0.1:{free_port()},{server.address}"
        assert (await run_callback("get", CASE, "--jq", ".owner", CALLBACK_TARGET=target)).output == "shop\n"


@pytest.mark.parametrize(
    ("target", "taken"),
    [
        ("127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2"),
        ("[::1]:1,[::2]:2", "ipv6:[::1]:1,[::2]:2"),
        ("127.0.0.1:1,[::1]:2", "ipv6:[::ffff:127.0.0.1]:1,[::1]:2"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("[::1]:1", "[::1]:1"),
        ("gone.test:1,127.0.0.1:2", "ipv4:127.0.0.1:2"),
        ("gone.test:1,neither.test:2", "dns:///gone.test:1"),
        ("gone.test:1", "gone.test:1"),
        (f"{'a' * 64}.test:1,127.0.0.1:2", "ipv4:127.0.0.1:2"),
        ("one.test:1", "ipv4:127.0.0.2:1,127.0.0.3:1"),
        ("dns:///one.test:1", "ipv4:127.0.0.2:1,127.0.0.3:1"),
        ("dns://127.0.0.1/one.test:1", "dns://127.0.0.1/one.test:1"),
        ("both.test:1,one.test:2", "ipv6:[::1]:1,[::ffff:127.0.0.2]:1,[::ffff:127.0.0.2]:2,[::ffff:127.0.0.3]:2"),
        ("ipv4:127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2"),
        ("unix:/run/a,b.sock", "unix:/run/a,b.sock"),
    ],
)
async def test_grpc_gets_the_addresses_of_the_names(target, taken, limits):
    changing_names(limits, **{"one.test": ["127.0.0.2", "127.0.0.3"], "both.test": ["::1", "127.0.0.2"]})
    assert target_problem(target) is None
    addresses = Addresses(target)
    await addresses.look_up_within(60)
    assert addresses.target == taken


def test_a_look_up_that_lasts_is_the_only_one_and_nothing_waits_for_it(limits):
    names, gate = changing_names(limits, **{"one.test": ["127.0.0.2"]}), threading.Event()
    limits(lookups, GETADDRINFO=lambda *given, **options: gate.wait() and names.getaddrinfo(*given, **options))
    addresses = Addresses("one.test:1")
    end = addresses.look_up()
    assert not addresses.refresh()
    assert addresses.look_up() is end
    assert not addresses.is_known
    gate.set()
    end.result()
    assert addresses.refresh()
    assert (addresses.target, names.count) == ("ipv4:127.0.0.2:1", 1)


@contextlib.asynccontextmanager
async def servers(*ips):
    """Run a server at each of these addresses, at one port. Each answers with a callback that its address owns."""
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        for ip in ips:
            answering(await stack.enter_async_context(scripted_server(f"{ip}:{port}")), ip)
        yield port


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("target", ["one.test:{port},two.test:{port}", "one.test:{port}", "dns:///one.test:{port}"])
async def test_a_client_follows_its_names_to_other_addresses(kind, target, limits):
    names = changing_names(limits, **{"one.test": ["127.0.0.2"], "two.test": ["127.0.0.3"]})
    async with (
        servers("127.0.0.2", "127.0.0.3", "127.0.0.4") as port,
        CLIENTS[kind](target.format(port=port)) as client,
    ):

        async def owner():
            return (await client.get_callback(CASE)).owner

        assert await owner() == "127.0.0.2"
        names |= {"one.test": ["127.0.0.4"], "two.test": ["127.0.0.4"]}

        async def has_moved():
            return await owner() == "127.0.0.4"

        await wait_until(has_moved)


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_client_whose_servers_are_all_gone_finds_them_at_their_new_addresses(kind, limits):
    names = changing_names(limits, **{"one.test": ["127.0.0.2"], "two.test": ["127.0.0.3"]})
    limits(lookups, INTERVAL_S=600)  # only a failure makes it look
    async with contextlib.AsyncExitStack() as stack:
        async with servers("127.0.0.2", "127.0.0.3") as port:
            client = await stack.enter_async_context(CLIENTS[kind](f"one.test:{port},two.test:{port}", timeout=60))
            assert (await client.get_callback(CASE)).owner == "127.0.0.2"
        answering(await stack.enter_async_context(scripted_server(f"127.0.0.4:{port}")), "127.0.0.4")
        names |= {"one.test": ["127.0.0.4"], "two.test": ["127.0.0.4"]}
        assert (await client.get_callback(CASE)).owner == "127.0.0.4"


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_request_ends_on_the_server_that_has_left_the_name(kind, limits):
    names, gate, began = changing_names(limits, **{"one.test": ["127.0.0.2"]}), asyncio.Event(), asyncio.Event()

    async def after_the_gate(_request):
        began.set()
        await gate.wait()
        return messages.GetCallbackResponse(callback=callback_message(owner="before"))

    port = free_port()
    async with (
        scripted_server(f"127.0.0.2:{port}") as first,
        scripted_server(f"127.0.0.3:{port}") as second,
        CLIENTS[kind](f"one.test:{port}", retry=False) as client,
    ):
        answering(second, "after")
        first.answers["GetCallback"] = after_the_gate
        running = asyncio.create_task(client.get_callback(CASE))
        await began.wait()
        names["one.test"] = ["127.0.0.3"]

        async def is_there():
            return (await client.get_callback(CASE)).owner == "after"

        first.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message(owner="first"))
        await wait_until(is_there)
        gc.collect()
        gate.set()
        assert (await running).owner == "before"


async def test_the_clients_of_one_name_spread_over_its_addresses(limits):
    changing_names(limits, **{"one.test": ["127.0.0.2", "127.0.0.3"]})
    async with servers("127.0.0.2", "127.0.0.3") as port:

        async def owner():
            async with AsyncCallbackClient(f"one.test:{port}") as client:
                return (await client.get_callback(CASE)).owner

        assert {await owner() for _ in range(40)} == {"127.0.0.2", "127.0.0.3"}


def test_a_list_names_each_server_and_is_local_if_all_are():
    assert servers_of("a:1,b:2") == ["a:1", "b:2"]
    assert servers_of("ipv4:10.0.0.1:1,10.0.0.2:2") == ["ipv4:10.0.0.1:1", "ipv4:10.0.0.2:2"]
    assert servers_of("dns:///a:1") == ["dns:///a:1"]
    assert [has_several(each) for each in ("a:1,b:2", "dns:///a:1", "a:1")] == [True, False, False]
    assert is_local("localhost:1,127.0.0.1:2")
    assert not is_local("localhost:1,callback:2")
    assert "has no port" in target_problem("a:1,b")


def test_tls_to_several_servers_needs_the_name_in_their_certificates():
    with pytest.raises(ValueError, match="TLS needs the server_name"):
        Worker(Handlers(), "a:1,b:1", tls=Tls())
    Worker(Handlers(), "a:1,b:1", tls=Tls(server_name="callback.example"))

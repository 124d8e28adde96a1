"""Several servers in one target: the first that can be reached is used, and the next one once it is gone."""

import pytest
from support.clients import CASE, CLIENTS, callback_message, run_callback, scripted_server
from support.store import free_port

from callback import Handlers, Tls, Worker
from callback.v1 import callbacks_service_pb2 as messages
from callback_shared.targets import channel_target, has_several, is_local, servers_of, target_problem


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
        ("no-such-host.invalid:1,127.0.0.1:2", "ipv4:127.0.0.1:2"),
        ("no-such-host.invalid:1,neither.invalid:2", "dns:///no-such-host.invalid:1"),
        ("callback:1", "callback:1"),
        ("ipv4:127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2"),
        ("unix:/run/a,b.sock", "unix:/run/a,b.sock"),
    ],
)
def test_grpc_gets_the_addresses_of_the_names(target, taken):
    assert target_problem(target) is None
    assert channel_target(target) == taken


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

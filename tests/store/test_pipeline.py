"""Pipelined commands to the store: many at a time on few connections, each with its own reply or error."""

import asyncio
import contextlib
import errno
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis.asyncio
import trustme
import uvloop
from redis.exceptions import ClusterDownError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from support.store import StoreProcess, free_port
from support.wait import wait_until

from callback_prove.tunnel import Tunnel
from callback_server.store.connection import client as client_module
from callback_server.store.connection import pipeline as pipeline_module
from callback_server.store.connection.client import StoreConnection, connect
from callback_server.store.connection.errors import NotSentError, StoreError, store_errors
from callback_server.store.connection.pipeline import CONNECTIONS_PER_NODE, Pipeline
from callback_server.store.connection.pipelined_connection import PipelinedConnection

KEY, OTHER = "{cb:1}", "{cb:2}"
ECHO = ("EVAL", "return ARGV[1]", 1, KEY)
COUNT = ("EVAL", "return redis.call('INCR', KEYS[1])", 1, KEY)
OTHER_ECHO = (*ECHO[:3], OTHER)
OTHER_COUNT = (*COUNT[:3], OTHER)


@pytest.fixture(params=["valkey", "redis", "valkey-cluster"])
async def pipeline(store_of, request):
    client = connect(store_of(request.param).url)
    yield Pipeline(client)
    await client.aclose()


async def test_many_commands_take_few_connections_and_each_gets_its_reply(store_of):
    store = store_of()
    async with connect(store.url) as client, redis.asyncio.Redis(port=store.port) as plain:
        others = len(await plain.client_list())
        pipeline = Pipeline(client)
        for size in (1, 7, 5000):
            replies = await asyncio.gather(*(pipeline.send(KEY, *ECHO, f"{n}." * size) for n in range(300)))
            assert replies == [f"{n}.".encode() * size for n in range(300)]
        assert len(await plain.client_list()) - others <= CONNECTIONS_PER_NODE


async def test_commands_sent_while_one_is_under_way_go_in_one_write_after_its_reply(store_of, monkeypatch):
    monkeypatch.setattr(pipeline_module, "BATCH_WAIT_S", 10_000 * pipeline_module.BATCH_WAIT_S)
    store = store_of()
    async with connect(store.url) as client, redis.asyncio.Redis(port=store.port) as plain:

        async def reads():
            return (await plain.info("stats"))["total_reads_processed"]

        others = len(await plain.client_list())
        pipeline = Pipeline(client)
        await pipeline.send(KEY, *ECHO, "x")
        first, asked = asyncio.ensure_future(pipeline.send(KEY, "BLPOP", KEY, 0)), []
        for n in range(20):
            await plain.ping()  # so that each command arrives alone
            asked.append(asyncio.ensure_future(pipeline.send(KEY, *ECHO, n)))
        before = await reads()
        assert not any(each.done() for each in asked)
        await plain.rpush(KEY, "go")
        assert await asyncio.gather(*asked) == [b"%d" % n for n in range(20)]
        assert await first == [KEY.encode(), b"go"]
        assert await reads() == before + 3  # one for RPUSH, one for all waiting commands, one for this query
        assert len(await plain.client_list()) == others + 1


async def test_commands_behind_a_slow_one_are_soon_answered_on_another_connection(store_of):
    store = store_of()
    async with connect(store.url) as client, redis.asyncio.Redis(port=store.port) as plain:
        others = len(await plain.client_list())
        pipeline = Pipeline(client)
        await pipeline.send(KEY, *ECHO, "x")
        async with asyncio.timeout(60):  # behind the slow one they would wait without end
            for n in range(10):
                slow = asyncio.ensure_future(pipeline.send(KEY, "BLPOP", KEY, 0))
                await asyncio.sleep(0)  # the command is sent
                assert await pipeline.send(KEY, *ECHO, n) == b"%d" % n
                assert not slow.done()
                await plain.rpush(KEY, n)
                assert await slow == [KEY.encode(), b"%d" % n]
        assert len(await plain.client_list()) == others + 2


@pytest.fixture
def ways(tmp_path):
    """Run a store that listens on TLS and on a Unix socket, and yield its URLs."""
    authority, port = trustme.CA(), free_port()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "store.pem")
    settings = {
        "--tls-port": port, "--tls-cert-file": tmp_path / "store.pem", "--tls-key-file": tmp_path / "store.pem",
        "--tls-ca-cert-file": tmp_path / "ca.pem", "--tls-auth-clients": "no", "--unixsocket": tmp_path / "socket",
    }  # fmt: skip
    store = StoreProcess(tmp_path, kind="redis", settings=[str(each) for pair in settings.items() for each in pair])
    store.start()
    yield {
        "tls": f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path / 'ca.pem'}",
        "socket": f"unix://{tmp_path / 'socket'}",
    }
    store.stop()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("way", ["tls", "socket"])
def test_replies_of_any_size_arrive_over_every_transport_and_connections_close_with_the_client(ways, way, loop):
    async def use():
        async with connect(ways[way]) as client, redis.asyncio.Redis.from_url(ways["socket"]) as plain:
            others = len(await plain.client_list())
            pipeline = Pipeline(client)
            for size in (1, 7, 300_000):
                replies = await asyncio.gather(*(pipeline.send(KEY, *ECHO, f"{n}." * size) for n in range(20)))
                assert replies == [f"{n}.".encode() * size for n in range(20)]
            await client.aclose()

            async def are_gone():
                return len(await plain.client_list()) == others

            await wait_until(are_gone, what="a store without our connections")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(use())


async def test_a_refusal_belongs_to_one_command(pipeline):
    def wrong(n):
        return pipeline.send(KEY, "EVAL", "return redis.error_reply('ODD ' .. ARGV[1])", 1, KEY, n)

    replies = await asyncio.gather(
        *(wrong(n) if n % 2 else pipeline.send(KEY, *ECHO, n) for n in range(100)), return_exceptions=True
    )
    for n, reply in enumerate(replies):
        if n % 2:
            assert isinstance(reply, ResponseError)
            assert str(reply).startswith(f"ODD {n}")
        else:
            assert reply == b"%d" % n


async def test_a_command_that_cannot_be_packed_fails_alone(pipeline):
    right = pipeline.send(KEY, *ECHO, "x")
    with pytest.raises(TypeError):
        pipeline.send(KEY, *ECHO, None)
    assert await right == b"x"


async def test_a_cancelled_sender_does_not_disturb_others(pipeline):
    chance = random.Random(5)
    for _ in range(20):
        asked = [asyncio.ensure_future(pipeline.send(KEY, *ECHO, n)) for n in range(40)]
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        cancelled = set(chance.sample(range(40), 20))
        for n in cancelled:
            asked[n].cancel()
        replies = await asyncio.gather(*asked, return_exceptions=True)
        assert all(replies[n] == b"%d" % n for n in range(40) if n not in cancelled)


async def test_commands_on_a_connection_that_breaks_are_unknown_and_not_sent_again(store_of):
    store = store_of()
    async with (
        Tunnel(f"127.0.0.1:{store.port}") as tunnel,
        connect(f"redis://{tunnel.address}") as client,
        redis.asyncio.Redis(port=store.port) as plain,
    ):
        pipeline = Pipeline(client)
        await pipeline.send(KEY, *ECHO, "x")
        tunnel.is_losing_answers = True
        asked = [asyncio.ensure_future(pipeline.send(KEY, *COUNT)) for _ in range(20)]

        async def are_done():
            return await plain.get(KEY) == b"20"

        await wait_until(are_done, what="a store that has done them all")
        tunnel.cut()
        for error in await asyncio.gather(*asked, return_exceptions=True):
            with pytest.raises(StoreError) as caught, store_errors():
                raise error
            assert caught.value.maybe_done
        tunnel.is_losing_answers = False
        assert await pipeline.send(KEY, *COUNT) == 21


async def test_commands_on_a_socket_that_times_out_are_unknown(store_of, monkeypatch):
    def gives_up(connection, _data):
        connection.connection_lost(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))

    async with connect(store_of().url) as client:
        pipeline = Pipeline(client)
        assert await pipeline.send(KEY, *ECHO, "x") == b"x"
        with monkeypatch.context() as patched:
            patched.setattr(PipelinedConnection, "data_received", gives_up)
            with pytest.raises(RedisConnectionError) as raised:
                await pipeline.send(KEY, *ECHO, "y")
        assert not isinstance(raised.value, NotSentError)
        assert await pipeline.send(KEY, *ECHO, "z") == b"z"


@pytest.mark.parametrize("wrong", [b"?no reply\r\n", b"+a reply to nothing\r\n"])
async def test_a_connection_with_a_malformed_reply_is_closed(store_of, monkeypatch, wrong):
    receive = PipelinedConnection.data_received
    async with connect(store_of().url) as client:
        pipeline = Pipeline(client)
        first = await pipeline.send(KEY, "CLIENT", "ID")
        with monkeypatch.context() as patched:
            patched.setattr(PipelinedConnection, "data_received", lambda self, data: receive(self, data + wrong))
            assert await pipeline.send(KEY, "CLIENT", "ID") == first
        assert await pipeline.send(KEY, "CLIENT", "ID") > first


async def test_commands_without_a_reply_in_time_are_unknown(store_of, monkeypatch):
    receive = PipelinedConnection.data_received
    async with connect(store_of().url) as client:
        pipeline = Pipeline(client)
        assert await pipeline.send(KEY, *ECHO, "x") == b"x"
        with monkeypatch.context() as patched:
            patched.setattr(PipelinedConnection, "data_received", lambda self, _data: receive(self, b"?no reply\r\n"))
            with pytest.raises(StoreError, match="Protocol error") as caught, store_errors():
                await pipeline.send(KEY, *ECHO, "y")
        assert caught.value.maybe_done
        assert await pipeline.send(KEY, *ECHO, "z") == b"z"


async def test_commands_that_wait_for_an_unreachable_store_were_certainly_not_sent(tmp_path):
    store = StoreProcess(tmp_path).start()
    async with connect(store.url) as client:
        pipeline = Pipeline(client)
        await pipeline.send(KEY, *ECHO, "x")
        for _ in range(CONNECTIONS_PER_NODE + 1):
            await asyncio.to_thread(store.kill)  # the pipeline notices this with the next commands
            for error in await asyncio.gather(
                *(pipeline.send(KEY, *ECHO, n) for n in range(300)), return_exceptions=True
            ):
                assert isinstance(error, NotSentError)
                with pytest.raises(StoreError) as caught, store_errors():
                    raise error
                assert not caught.value.maybe_done
            await asyncio.to_thread(store.start)
            assert await pipeline.send(KEY, *ECHO, "x") == b"x"
    store.stop()


async def test_nothing_is_sent_on_a_connection_that_was_closed_while_it_was_made(store_of, monkeypatch):
    store = store_of()
    connect_it = StoreConnection.connect
    monkeypatch.setattr(client_module, "POOL_SIZE", 1)  # the connection is kept for the next attempt
    async with connect(store.url) as client, redis.asyncio.Redis(port=store.port) as plain:
        pipeline = Pipeline(client)
        former = await pipeline.send(KEY, "CLIENT", "ID")

        async def connect_and_end(connection):
            await connect_it(connection)
            host, port = connection._writer.get_extra_info("sockname")
            await plain.client_kill_filter(addr=f"{host}:{port}")
            await wait_until(connection._reader.at_eof, what="a connection at its end")

        await plain.client_kill_filter(_id=str(former))
        await wait_until(
            lambda: not pipeline._node_pipeline("", client.connection_pool, 0)._connections, what="no connection"
        )
        with monkeypatch.context() as patched:
            patched.setattr(StoreConnection, "connect", connect_and_end)
            for _ in range(2):
                with pytest.raises(NotSentError):
                    await pipeline.send(KEY, *COUNT)
        assert await pipeline.send(KEY, *COUNT) == 1


async def test_existing_connections_are_used_while_no_more_can_be_opened(store_of, monkeypatch):
    store = store_of()
    async with connect(store.url) as client, redis.asyncio.Redis(port=store.port) as plain:

        async def refused():
            return (await plain.info("stats"))["rejected_connections"]

        pipeline = Pipeline(client)
        await pipeline.send(KEY, *ECHO, "x")
        others, before = len(await plain.client_list()), await refused()
        monkeypatch.setattr(pipeline_module, "REOPEN_DELAY_S", 3600)
        limit = (await plain.config_get("maxclients"))["maxclients"]
        await plain.config_set("maxclients", others)
        try:
            for _ in range(3):
                replies = await asyncio.gather(*(pipeline.send(KEY, *ECHO, n) for n in range(1000)))
                assert replies == [b"%d" % n for n in range(1000)]
            assert await refused() == before + 1  # the pipeline did not retry at once
        finally:
            await plain.config_set("maxclients", limit)
        monkeypatch.setattr(pipeline_module, "REOPEN_DELAY_S", 0)
        await asyncio.gather(*(pipeline.send(KEY, *ECHO, n) for n in range(1000)))
        assert len(await plain.client_list()) == others + 1


async def test_a_silent_connection_delays_only_its_own_commands(store_of):
    store = store_of()
    async with Tunnel(f"127.0.0.1:{store.port}") as tunnel, connect(f"redis://{tunnel.address}") as client:
        pipeline = Pipeline(client)
        await pipeline.send(KEY, *ECHO, "x")
        tunnel.is_losing_answers = True
        stuck = asyncio.ensure_future(pipeline.send(KEY, *ECHO, "stuck"))
        await wait_until(lambda: tunnel.lost_bytes, what="a reply that nobody gets")
        tunnel.is_losing_answers = False
        replies = [await pipeline.send(KEY, *ECHO, n) for n in range(20)]
        assert replies == [b"%d" % n for n in range(20)]
        assert not stuck.done()
        with pytest.raises(RedisConnectionError, match="no reply in time"):
            await stuck


TIMEOUT = "cluster-node-timeout"


@pytest.fixture
def nodes(tmp_path_factory):
    """Run two nodes, each a cluster of its own."""
    nodes = [StoreProcess(tmp_path_factory.mktemp("node"), kind="valkey-cluster") for _ in range(2)]
    with ThreadPoolExecutor() as threads:  # a new node takes no commands for 2 seconds
        list(threads.map(StoreProcess.start, nodes))
    yield nodes
    for node in nodes:
        node.stop()


async def move(slot, old, new, port):
    """Add the new node to the cluster of the old one, and move a slot to it."""
    # A node that joins takes no commands for this timeout, up to 5 s. As short as this, it would lose nodes later.
    timeouts = [(await node.config_get(TIMEOUT))[TIMEOUT] for node in (old, new)]
    for node in (old, new):
        await node.config_set(TIMEOUT, 500)
    await new.execute_command("CLUSTER FLUSHSLOTS")
    await new.execute_command("CLUSTER MEET", "127.0.0.1", *port)
    name = await new.execute_command("CLUSTER MYID")

    async def known():
        return name in await old.execute_command("CLUSTER", "NODES")

    async def agreed():
        return all([b"cluster_state:ok" in await each.execute_command("CLUSTER", "INFO") for each in (old, new)])

    await wait_until(known, what="a node that has joined")
    for node in (old, new):
        await node.execute_command("CLUSTER SETSLOT", slot, "NODE", name)
    await wait_until(agreed, what="a cluster that works")
    for node, timeout in zip((old, new), timeouts, strict=True):
        await node.config_set(TIMEOUT, timeout)
    await wait_until(agreed, what="a cluster that works")


@pytest.mark.parametrize("left", [False, True])
async def test_new_connections_are_used_after_the_client_reads_the_cluster_again(store_of, left):
    """`left`: the node was not part of the cluster for a time."""
    store = store_of("valkey-cluster")
    async with connect(store.url) as client, redis.asyncio.Redis(port=store.port) as plain:
        pipeline = Pipeline(client)
        former = await pipeline.send(KEY, "CLIENT", "ID")
        assert await pipeline.send(KEY, "CLIENT", "ID") == former
        if left:
            client.nodes_manager.nodes_cache.clear()
        await client.nodes_manager.initialize()
        assert await pipeline.send(KEY, "CLIENT", "ID") > former

        async def is_gone():
            return str(former) not in [each["id"] for each in await plain.client_list()]

        await wait_until(is_gone, what="a store without the former connection")


async def test_a_slot_that_has_moved_is_found(nodes):
    old, new = nodes
    async with (
        connect(old.url) as client,
        redis.asyncio.Redis(port=old.port) as on_old,
        redis.asyncio.Redis(port=new.port) as on_new,
    ):
        pipeline = Pipeline(client)
        assert await pipeline.send(KEY, *ECHO, "x") == b"x"
        await move(client.keyslot(KEY), on_old, on_new, (old.port, old.cluster_port))
        counted = await asyncio.gather(*(pipeline.send(KEY, *COUNT) for _ in range(50)))
        assert sorted(counted) == list(range(1, 51))
        assert await on_new.get(KEY) == b"50"
        assert await pipeline.send(KEY, *COUNT) == 51


async def give(slot, owner, *nodes):
    """Set the owner of a slot at these nodes. What a node that does not know it yet says meanwhile does not count."""
    name = await owner.execute_command("CLUSTER MYID")
    await owner.execute_command("CLUSTER BUMPEPOCH")
    for node in nodes:
        await node.execute_command("CLUSTER SETSLOT", slot, "NODE", name)


@pytest.fixture
async def pair(nodes):
    """A cluster of two nodes: a client that knows both, a connection to each, and a slot of the second node.

    The first node owns all other slots.
    """
    old, new = nodes
    async with (
        connect(old.url) as client,
        redis.asyncio.Redis(port=old.port) as on_old,
        redis.asyncio.Redis(port=new.port) as on_new,
    ):
        await move(client.keyslot(OTHER), on_old, on_new, (old.port, old.cluster_port))
        await client.nodes_manager.initialize()
        yield client, on_old, on_new


async def test_a_node_cut_off_from_its_cluster_is_replaced_by_the_owner_of_the_slot(pair):
    client, on_old, on_new = pair
    pipeline = Pipeline(client)
    assert await pipeline.send(KEY, *ECHO, "x") == b"x"
    slot = client.keyslot(KEY)
    await give(slot, on_new, on_new, on_old)
    await on_old.execute_command("CLUSTER FORGET", await on_new.execute_command("CLUSTER MYID"))
    with contextlib.suppress(ResponseError):  # the node forgot the slot with its owner
        await on_old.execute_command("CLUSTER DELSLOTS", slot)
    with pytest.raises(ResponseError, match=r"^(Hash slot not served|The cluster is down)"):
        await on_old.get(KEY)

    waiting = asyncio.ensure_future(pipeline.send(OTHER, "BLPOP", OTHER, 1))

    async def is_waiting():
        return (await on_new.info("clients"))["blocked_clients"]

    await wait_until(is_waiting, what="a command under way")
    counted = await asyncio.gather(*(pipeline.send(KEY, *COUNT) for _ in range(50)), return_exceptions=True)
    found = [each for each in counted if isinstance(each, int)]
    assert found  # the commands that look at the cluster; the others are refused meanwhile
    assert all(isinstance(each, ClusterDownError) for each in counted if each not in found)
    assert await pipeline.send(KEY, *COUNT) == len(found) + 1
    assert await waiting is None


async def test_commands_for_an_unreachable_node_without_successor_were_not_sent_and_the_other_node_works(nodes, pair):
    pipeline = Pipeline(pair[0])
    assert await pipeline.send(OTHER, *OTHER_ECHO, "x") == b"x"
    nodes[1].kill()
    for _ in range(2):
        replies = await asyncio.gather(*(pipeline.send(OTHER, *OTHER_COUNT) for _ in range(20)), return_exceptions=True)
        assert {type(each) for each in replies} == {NotSentError}
        assert await pipeline.send(KEY, *ECHO, "x") == b"x"


async def test_nothing_is_done_while_a_whole_cluster_is_down(nodes):
    store, _ = nodes
    async with connect(store.url) as client, redis.asyncio.Redis(port=store.port) as plain:
        pipeline = Pipeline(client)
        assert await pipeline.send(KEY, *COUNT) == 1
        await plain.execute_command("CLUSTER DELSLOTS", client.keyslot("{cb:3}"))

        async def is_down():
            return b"cluster_state:fail" in await plain.execute_command("CLUSTER", "INFO")

        await wait_until(is_down, what="a cluster that is down")
        for error in await asyncio.gather(*(pipeline.send(KEY, *COUNT) for _ in range(50)), return_exceptions=True):
            with pytest.raises(StoreError) as caught, store_errors():
                raise error
            assert not caught.value.maybe_done
        await plain.execute_command("CLUSTER ADDSLOTS", client.keyslot("{cb:3}"))

        async def is_up():
            return b"cluster_state:ok" in await plain.execute_command("CLUSTER", "INFO")

        await wait_until(is_up, what="a cluster that works")
        assert await pipeline.send(KEY, *COUNT) == 2


@pytest.mark.parametrize("enough", [True, False])
async def test_a_slot_that_moves_again_meanwhile_is_found_or_nothing_was_done(pair, monkeypatch, enough):
    client, on_old, on_new = pair
    pipeline = Pipeline(client)
    assert await pipeline.send(KEY, *ECHO, "x") == b"x"
    slot = client.keyslot(KEY)
    await give(slot, on_new, on_new, on_old)
    if not enough:
        monkeypatch.setattr(pipeline_module, "MAX_NODES_TRIED", 1)

    async def are_sent_elsewhere():
        return (await on_old.info("errorstats")).get("errorstat_MOVED") == {"count": 20}

    async with pipeline._refreshing:
        asked = [asyncio.ensure_future(pipeline.send(KEY, *ECHO, n)) for n in range(20)]
        await wait_until(are_sent_elsewhere, what="a node that says where the slot is")
        assert await client.get(KEY) is None  # so the client knows the new owner
        await give(slot, on_old, on_new, on_old)
    replies = await asyncio.gather(*asked, return_exceptions=True)
    if enough:
        assert replies == [b"%d" % n for n in range(20)]
    for error in replies if not enough else ():
        with pytest.raises(StoreError, match="moved again") as caught, store_errors():
            raise error
        assert not caught.value.maybe_done


async def test_a_command_for_a_slot_without_owner_is_refused_and_not_done(pair):
    client, on_old, on_new = pair
    pipeline = Pipeline(client)
    assert await pipeline.send(KEY, *ECHO, "x") == b"x"
    slot = client.keyslot(KEY)
    await give(slot, on_new, on_old)
    for error in await asyncio.gather(*(pipeline.send(KEY, *COUNT) for _ in range(5)), return_exceptions=True):
        with pytest.raises(StoreError) as caught, store_errors():
            raise error
        assert not caught.value.maybe_done


async def test_connections_to_a_node_without_slots_are_closed(pair):
    client, on_old, on_new = pair
    pipeline = Pipeline(client)
    former = await pipeline.send(OTHER, "CLIENT", "ID")
    # First at the node that loses its last slot: once it hears of that from the other, it is a replica and refuses.
    await give(client.keyslot(OTHER), on_old, on_new, on_old)
    await client.nodes_manager.initialize()
    await pipeline.send(OTHER, *OTHER_ECHO, "x")

    async def is_gone():
        return str(former) not in [each["id"] for each in await on_new.client_list()]

    await wait_until(is_gone, what="a node without the former connection")

"""Pipelined commands to the store: many at a time on few connections, each with its own reply or error."""

import asyncio
import contextlib
import random

import pytest
import redis.asyncio
import trustme
import uvloop
from redis.crc import key_slot
from redis.exceptions import ClusterDownError, ResponseError
from support.proxy import StoreProxy
from support.store import Launcher, StoreProcess, free_port, program
from support.wait import wait_until

from callback_launcher.cluster import SLOTS, Cluster, Node
from callback_prove.tunnel import Tunnel
from callback_server.store.connection import pipeline as pipeline_module
from callback_server.store.connection import pipelined_connection
from callback_server.store.connection.client import StoreConnection, connect
from callback_server.store.connection.errors import NotSentError, StoreError, store_errors
from callback_server.store.connection.pipeline import CONNECTIONS_PER_NODE, Pipeline

KEY, OTHER = "{cb:1}", "{cb:2}"
ECHO = ("EVAL", "return ARGV[1]", 1, KEY)
COUNT = ("EVAL", "return redis.call('INCR', KEYS[1])", 1, KEY)
OTHER_ECHO = (*ECHO[:3], OTHER)
OTHER_COUNT = (*COUNT[:3], OTHER)


@contextlib.asynccontextmanager
async def piped(url):
    """Connect to a store, and yield a pipeline that has sent a first command."""
    async with connect(url) as client:
        pipeline = Pipeline(client)
        assert await pipeline.send(KEY, *ECHO, "x") == b"x"
        yield pipeline


@pytest.fixture
async def pipeline(store):
    async with piped(store.url) as pipeline:
        yield pipeline


on_each_kind = pytest.mark.parametrize("store", ["valkey", "redis", "valkey-cluster"], indirect=True)


def sent_at_once(pipeline, command, times, *, key=KEY):
    """Send a command some times at once, and return the replies and errors."""
    return asyncio.gather(*(pipeline.send(key, *command) for _ in range(times)), return_exceptions=True)


def echoed(pipeline, count, *, size=1):
    """Send different texts at once, and return the replies."""
    return asyncio.gather(*(pipeline.send(KEY, *ECHO, f"{n}." * size) for n in range(count)))


def texts(count, *, size=1):
    """Return the replies of `echoed`."""
    return [f"{n}.".encode() * size for n in range(count)]


def may_be_done(errors):
    """Return what senders learn from errors: whether their commands may have been done."""
    told = set()
    for error in errors:
        with pytest.raises(StoreError) as caught, store_errors():
            raise error
        told.add(caught.value.maybe_done)
    return told


async def connections(plain):
    """Return the ids of the connections that the store has."""
    return [each["id"] for each in await plain.client_list()]


async def test_many_commands_take_few_connections_and_each_gets_its_reply(store, plain):
    others = len(await connections(plain))
    async with piped(store.url) as pipeline:
        for size in (1, 7, 5000):
            assert await echoed(pipeline, 300, size=size) == texts(300, size=size)
        assert len(await connections(plain)) - others <= CONNECTIONS_PER_NODE


@pytest.fixture
async def quiet_store(tmp_path):
    """Run a store to which nothing of another test is connected, and yield it with a client."""
    with StoreProcess(tmp_path) as store:
        async with redis.asyncio.Redis(port=store.port) as client:
            yield store, client


async def test_commands_sent_while_one_is_under_way_go_in_one_write_after_its_reply(quiet_store, limits):
    store, plain = quiet_store
    limits(pipeline_module, BATCH_WAIT_S=10_000 * pipeline_module.BATCH_WAIT_S)

    async def reads():
        return (await plain.info("stats"))["total_reads_processed"]

    others = len(await connections(plain))
    async with piped(store.url) as pipeline:
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
        assert len(await connections(plain)) == others + 1


async def test_commands_behind_a_slow_one_are_soon_answered_on_another_connection(store, plain):
    others = len(await connections(plain))
    async with piped(store.url) as pipeline:
        for n in range(10):  # behind the slow one they would wait without end
            slow = asyncio.ensure_future(pipeline.send(KEY, "BLPOP", KEY, 0))
            await asyncio.sleep(0)  # the command is sent
            assert await pipeline.send(KEY, *ECHO, n) == b"%d" % n
            assert not slow.done()
            await plain.rpush(KEY, n)
            assert await slow == [KEY.encode(), b"%d" % n]
        assert len(await connections(plain)) == others + 2


@pytest.fixture(scope="module")
def ways(tmp_path_factory):
    """Run a store that listens on TLS and on a Unix socket, and yield its URLs."""
    authority, port, folder = trustme.CA(), free_port(), tmp_path_factory.mktemp("ways")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "store.pem")
    settings = {
        "--tls-port": port, "--tls-cert-file": folder / "store.pem", "--tls-key-file": folder / "store.pem",
        "--tls-ca-cert-file": folder / "ca.pem", "--tls-auth-clients": "no", "--unixsocket": folder / "socket",
    }  # fmt: skip
    with StoreProcess(folder, kind="redis", settings=[str(each) for pair in settings.items() for each in pair]):
        yield {
            "tls": f"rediss://127.0.0.1:{port}?ssl_ca_certs={folder / 'ca.pem'}",
            "socket": f"unix://{folder / 'socket'}",
        }


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("way", ["tls", "socket"])
def test_replies_of_any_size_arrive_over_every_transport_and_connections_close_with_the_client(ways, way, loop):
    async def use():
        async with redis.asyncio.Redis.from_url(ways["socket"]) as plain:
            others = len(await connections(plain))
            async with piped(ways[way]) as pipeline:
                for size in (1, 7, 300_000):
                    assert await echoed(pipeline, 20, size=size) == texts(20, size=size)

            async def are_gone():
                return len(await connections(plain)) == others

            await wait_until(are_gone, what="a store without our connections")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(use())


@on_each_kind
async def test_a_refusal_belongs_to_one_command(pipeline):
    def wrong(n):
        return pipeline.send(KEY, "EVAL", "return redis.error_reply('ODD ' .. ARGV[1])", 1, KEY, n)

    replies = await asyncio.gather(
        *(wrong(n) if n % 2 else pipeline.send(KEY, *ECHO, n) for n in range(100)), return_exceptions=True
    )
    assert replies[::2] == [b"%d" % n for n in range(0, 100, 2)]
    assert {type(each) for each in replies[1::2]} == {ResponseError}
    assert [str(each).partition(" script")[0] for each in replies[1::2]] == [f"ODD {n}" for n in range(1, 100, 2)]


@on_each_kind
async def test_a_command_that_cannot_be_packed_fails_alone(pipeline):
    right = pipeline.send(KEY, *ECHO, "x")
    with pytest.raises(TypeError):
        pipeline.send(KEY, *ECHO, None)
    assert await right == b"x"


@on_each_kind
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


async def test_commands_on_a_connection_that_breaks_are_unknown_and_not_sent_again(store, plain):
    async with Tunnel(f"127.0.0.1:{store.port}") as tunnel, piped(f"redis://{tunnel.address}") as pipeline:
        tunnel.is_losing_answers = True
        asked = asyncio.ensure_future(sent_at_once(pipeline, COUNT, 20))

        async def are_done():
            return await plain.get(KEY) == b"20"

        await wait_until(are_done, what="a store that has done them all")
        tunnel.cut()
        assert may_be_done(await asked) == {True}
        tunnel.is_losing_answers = False
        assert await pipeline.send(KEY, *COUNT) == 21


async def test_a_connection_with_a_malformed_reply_is_closed_and_commands_without_one_are_unknown(store):
    wrong = b"?no reply\r\n"
    async with StoreProxy(store, lambda _command: False) as proxy, piped(proxy.url) as pipeline:
        known = await pipeline.send(KEY, "CLIENT", "ID")
        for more in (wrong, b"+a reply to nothing\r\n"):
            proxy.change = lambda reply, more=more: reply + more
            assert await pipeline.send(KEY, "CLIENT", "ID") == known
            proxy.change = bytes
            former, known = known, await pipeline.send(KEY, "CLIENT", "ID")
            assert known > former
        proxy.change = lambda _reply: wrong
        errors = await sent_at_once(pipeline, COUNT, 1)
        assert ["Protocol error" in str(error) for error in errors] == [True]
        assert may_be_done(errors) == {True}
        proxy.change = bytes
        assert await pipeline.send(KEY, *COUNT) == 2


async def test_commands_that_wait_for_an_unreachable_store_were_certainly_not_sent(tmp_path):
    with StoreProcess(tmp_path) as store:
        async with piped(store.url) as pipeline:
            for _ in range(CONNECTIONS_PER_NODE + 1):
                await asyncio.to_thread(store.kill)  # the pipeline notices this with the next commands
                errors = await sent_at_once(pipeline, COUNT, 300)
                assert {type(error) for error in errors} == {NotSentError}
                assert may_be_done(errors) == {False}
                await asyncio.to_thread(store.start)
                assert await pipeline.send(KEY, *ECHO, "x") == b"x"


class EndingConnection(StoreConnection, redis.asyncio.Connection):
    """A connection that its store ends while it is made, if there is a client for that."""

    plain = None

    async def connect(self):
        await super().connect()
        if self.plain is not None:
            host, port = self._writer.get_extra_info("sockname")
            await self.plain.client_kill_filter(addr=f"{host}:{port}")
            await wait_until(self._reader.at_eof, what="a connection at its end")


async def test_nothing_is_sent_on_a_connection_that_was_closed_while_it_was_made(store, plain):
    made = []

    def make(**options):
        made.append(EndingConnection(**options))
        return made[-1]

    pool = redis.asyncio.BlockingConnectionPool(max_connections=1, connection_class=make, port=store.port)
    async with redis.asyncio.Redis.from_pool(pool) as client:
        pipeline = Pipeline(client)
        former = await pipeline.send(KEY, "CLIENT", "ID")
        await plain.client_kill_filter(_id=str(former))
        await wait_until(lambda: not made[0].is_connected, what="no connection")
        made[0].plain = plain
        for _ in range(2):
            assert may_be_done(await sent_at_once(pipeline, COUNT, 1)) == {False}
        made[0].plain = None
        assert await pipeline.send(KEY, *COUNT) == 1
        assert len(made) == 1


async def test_existing_connections_are_used_while_no_more_can_be_opened(store, plain, limits):
    async def refused():
        return (await plain.info("stats"))["rejected_connections"]

    async with piped(store.url) as pipeline:
        others, before = len(await connections(plain)), await refused()
        limits(pipeline_module, REOPEN_DELAY_S=3600)
        limit = (await plain.config_get("maxclients"))["maxclients"]
        await plain.config_set("maxclients", others)
        try:
            for _ in range(3):
                assert await echoed(pipeline, 1000) == texts(1000)
            assert await refused() == before + 1  # the pipeline did not retry at once
        finally:
            await plain.config_set("maxclients", limit)
        limits(pipeline_module, REOPEN_DELAY_S=0)
        await echoed(pipeline, 1000)
        assert len(await connections(plain)) == others + 1


async def test_a_silent_connection_delays_only_its_own_commands(store):
    async with Tunnel(f"127.0.0.1:{store.port}") as tunnel, piped(f"redis://{tunnel.address}") as pipeline:
        tunnel.is_losing_answers = True
        stuck = asyncio.ensure_future(pipeline.send(KEY, *ECHO, "stuck"))
        await wait_until(lambda: tunnel.lost_bytes, what="a reply that nobody gets")
        tunnel.is_losing_answers = False
        assert await echoed(pipeline, 20) == texts(20)
        assert not stuck.done()
        stuck.cancel()


async def test_a_command_without_a_reply_in_time_is_unknown(store, limits):
    limits(pipelined_connection, SOCKET_TIMEOUT_S=0.3)
    async with Tunnel(f"127.0.0.1:{store.port}") as tunnel, connect(f"redis://{tunnel.address}") as client:
        pipeline = Pipeline(client)

        async def is_connected():
            (reply,) = await sent_at_once(pipeline, COUNT, 1)
            return isinstance(reply, int)

        await wait_until(is_connected, what="a connection")
        tunnel.is_losing_answers = True
        errors = await sent_at_once(pipeline, COUNT, 2)
    assert {str(error) for error in errors} == {"no reply in time"}
    assert may_be_done(errors) == {True}


@pytest.fixture
def nodes(tmp_path_factory):
    """Return two nodes, which do not run yet."""
    launcher = Launcher(tmp_path_factory.mktemp("cluster"), store=program("valkey-cluster"))
    return [Node(launcher, name) for name in ("old", "new")]


@pytest.fixture
async def old(nodes):
    """Run a cluster of one node, which the other may join. Yield the cluster, a client, and its pipeline."""
    cluster = Cluster(nodes[:1], spares=nodes[1:])
    async with cluster.running([range(SLOTS)]), connect(cluster.url) as client:
        pipeline = Pipeline(client)
        assert await pipeline.send(KEY, *ECHO, "x") == b"x"
        yield cluster, client, pipeline


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("store", ["valkey-cluster"], indirect=True)
async def test_new_connections_are_used_after_the_client_reads_the_cluster_again(store, plain, left):
    """`left`: the node was not part of the cluster for a time."""
    async with connect(store.url) as client:
        pipeline = Pipeline(client)
        former = await pipeline.send(KEY, "CLIENT", "ID")
        assert await pipeline.send(KEY, "CLIENT", "ID") == former
        if left:
            client.nodes_manager.nodes_cache.clear()
        await client.nodes_manager.initialize()
        assert await pipeline.send(KEY, "CLIENT", "ID") > former
        await is_gone(former, plain)


async def is_gone(connection, node):
    """Wait until a node has lost a connection."""

    async def gone():
        return str(connection) not in await connections(node)

    await wait_until(gone, what="a store without the former connection")


async def test_a_slot_that_has_moved_is_found(nodes, old):
    cluster, client, pipeline = old
    new = await cluster.add_spares()
    await nodes[0].move_by_keys(client.keyslot(KEY), new)
    assert sorted(await sent_at_once(pipeline, COUNT, 50)) == list(range(1, 51))
    assert await new.execute("GET", KEY) == "50"
    assert await pipeline.send(KEY, *COUNT) == 51


async def give(slot, owner, *nodes):
    """Set the owner of a slot at these nodes. What a node that does not know it yet says meanwhile does not count."""
    name = await owner.execute_command("CLUSTER MYID")
    await owner.execute_command("CLUSTER BUMPEPOCH")
    for node in nodes:
        await node.execute_command("CLUSTER SETSLOT", slot, "NODE", name)


@pytest.fixture
async def pair(nodes):
    """Run a cluster of both nodes: a client that knows both, its pipeline, a connection to each.

    The second node owns the slot of `OTHER`, and the first all others.
    """
    cluster, slot = Cluster(nodes), key_slot(OTHER.encode())
    async with (
        cluster.running([{*range(SLOTS)} - {slot}, {slot}]),
        connect(cluster.url) as client,
        redis.asyncio.Redis(port=nodes[0].address.port) as on_old,
        redis.asyncio.Redis(port=nodes[1].address.port) as on_new,
    ):
        for node in (on_old, on_new):
            await node.config_set("cluster-node-timeout", 60_000)  # no node misses the other during a test
        pipeline = Pipeline(client)
        assert await pipeline.send(KEY, *ECHO, "x") == b"x"
        yield client, pipeline, on_old, on_new


async def test_a_node_cut_off_from_its_cluster_is_replaced_by_the_owner_of_the_slot(pair):
    client, pipeline, on_old, on_new = pair
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
    counted = await sent_at_once(pipeline, COUNT, 50)
    found = [each for each in counted if isinstance(each, int)]
    assert found  # the commands that look at the cluster; the others are refused meanwhile
    assert all(isinstance(each, ClusterDownError) for each in counted if each not in found)
    assert await pipeline.send(KEY, *COUNT) == len(found) + 1
    assert await waiting is None


async def test_commands_for_an_unreachable_node_without_successor_were_not_sent_and_the_other_node_works(nodes, pair):
    _, pipeline, *_ = pair
    assert await pipeline.send(OTHER, *OTHER_ECHO, "x") == b"x"
    nodes[1].kill()
    for _ in range(2):
        assert {type(each) for each in await sent_at_once(pipeline, OTHER_COUNT, 20, key=OTHER)} == {NotSentError}
        assert await pipeline.send(KEY, *ECHO, "x") == b"x"


async def test_nothing_is_done_while_a_whole_cluster_is_down(nodes, old):
    (cluster, client, pipeline), node = old, nodes[0]
    assert await pipeline.send(KEY, *COUNT) == 1
    await node.execute("CLUSTER", "DELSLOTS", client.keyslot("{cb:3}"))

    async def is_down():
        return "cluster_state:fail" in await node.execute("CLUSTER", "INFO")

    await wait_until(is_down, what="a cluster that is down")
    assert may_be_done(await sent_at_once(pipeline, COUNT, 50)) == {False}
    await node.execute("CLUSTER", "ADDSLOTS", client.keyslot("{cb:3}"))
    await cluster.wait_until_whole()
    assert await pipeline.send(KEY, *COUNT) == 2


@pytest.mark.parametrize("enough", [True, False])
async def test_a_slot_that_moves_again_meanwhile_is_found_or_nothing_was_done(pair, limits, enough):
    client, pipeline, on_old, on_new = pair
    slot = client.keyslot(KEY)
    await give(slot, on_new, on_new, on_old)
    if not enough:
        limits(pipeline_module, MAX_NODES_TRIED=1)

    async def are_sent_elsewhere():
        return (await on_old.info("errorstats")).get("errorstat_MOVED") == {"count": 20}

    async with pipeline.refreshing:
        asked = asyncio.ensure_future(sent_at_once(pipeline, (*ECHO, "y"), 20))
        await wait_until(are_sent_elsewhere, what="a node that says where the slot is")
        assert await client.get(KEY) is None  # so the client knows the new owner
        await give(slot, on_old, on_new, on_old)
    replies = await asked
    if enough:
        assert replies == [b"y"] * 20
    else:
        assert {str(error) for error in replies} == {"the slot has moved again each time"}
        assert may_be_done(replies) == {False}


async def test_a_command_for_a_slot_without_owner_is_refused_and_not_done(pair):
    client, pipeline, on_old, on_new = pair
    await give(client.keyslot(KEY), on_new, on_old)
    assert may_be_done(await sent_at_once(pipeline, COUNT, 5)) == {False}


async def test_connections_to_a_node_without_slots_are_closed(pair):
    client, _, on_old, on_new = pair
    pipeline = Pipeline(client)
    former = await pipeline.send(OTHER, "CLIENT", "ID")
    # First at the node that loses its last slot: once it hears of that from the other, it is a replica and refuses.
    await give(client.keyslot(OTHER), on_old, on_new, on_old)

    async def works():
        return b"cluster_state:ok" in await on_old.execute_command("CLUSTER", "INFO")

    await wait_until(works, what="a cluster that works")
    await client.nodes_manager.initialize()
    await pipeline.send(OTHER, *OTHER_ECHO, "x")
    await is_gone(former, on_new)

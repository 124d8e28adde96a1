"""The primary changes: behind Sentinels, behind one address, in a cluster. Connections to the old one are given up."""

import asyncio
import contextlib
import re
import time

import pytest
import redis.asyncio
from support.cases import Cases
from support.replicas import running_stores
from support.sentinel import SERVICE, running_trio, tls_files
from support.store import StoreProcess, free_port
from support.wait import wait_until

from callback_prove.tunnel import Tunnel
from callback_server.store.connection.client import connect
from callback_server.store.connection.errors import NotSentError, StoreError, store_errors
from callback_server.store.connection.pipeline import Pipeline
from callback_server.store.queries.read import read_case
from callback_server.store.safety import known_replicas

KEY = "{cb:1}"
ECHO = ("EVAL", "return ARGV[1]", 1, KEY)
WRITE = ("EVAL", "return redis.call('INCR', KEYS[1])", 1, KEY)


async def new_case(cases):
    """Make a case as soon as the store accepts it."""

    async def made():
        try:
            return await cases.new()
        except StoreError:
            return None

    return await wait_until(made, what="a store that accepts writes")


async def refuse(url, why):
    """Check that nothing can be sent to a store, and that the error says why, once the Sentinels answer in time."""

    async def is_refused():
        async with connect(url) as client:
            with pytest.raises(StoreError) as refused, store_errors():
                await Pipeline(client).send(KEY, *ECHO, "x")
        return re.search(why, str(refused.value))

    await wait_until(is_refused, what=f"a refusal: {why}")


@pytest.mark.parametrize(("kind", "is_secured"), [("redis", True), ("valkey", False)])
async def test_the_primary_that_sentinels_name_is_used_and_the_next_one_after_a_failover(tmp_path, kind, is_secured):
    """Secured: TLS and passwords between all, and to the Sentinels."""
    secrets = {"password": "of-the-store", "sentinel_password": "of-the-sentinels"} if is_secured else {}
    async with running_trio(tmp_path, kind, has_tls=is_secured, **secrets) as trio:
        url = trio.url + ("&sentinel_password=of-the-sentinels" if is_secured else "")
        if is_secured:
            await refuse(trio.url, "already authenticated")
            await refuse(url.replace("of-the-store", "another"), "invalid username-password")
            of_public_authorities = re.sub("ssl_ca_certs=[^&]*&", "", url)
            await refuse(of_public_authorities, "certificate verify failed")
            await refuse(of_public_authorities.replace("rediss", "redis"), "0 of 3 named one")
        async with connect(url) as client:
            cases = Cases(client)
            case = await cases.new()
            old, new = trio.stores
            await old.execute("WAIT", 1, 5000)
            await trio.notice_soon()
            began = time.monotonic()
            old.kill()
            later = await new_case(cases)
            print(f"\n{kind}: writes again {time.monotonic() - began:.1f} s after the primary was killed")
            assert await read_case(cases.scripts, case.id)
            assert await read_case(cases.scripts, later.id)
            await wait_until(lambda: trio.agrees_on(new), what="Sentinels that all name it")


async def test_a_planned_failover_moves_every_connection_and_then_the_old_primary_confirms_writes(tmp_path):
    """A replica counts while it is away, and a sentinel without the others is not believed."""
    async with running_trio(tmp_path, "valkey") as trio, connect(trio.url) as client:
        cases = Cases(client, replicas=1)
        await new_case(cases)
        old, new = trio.stores
        await trio.sentinels[0].execute("SENTINEL", "FAILOVER", SERVICE)
        await wait_until(lambda: trio.agrees_on(new), what="another primary")

        async def is_replica():
            return (await old.execute("ROLE"))[0] == "slave"

        await wait_until(is_replica, what="a replica that was the primary")
        case = await new_case(cases)
        for store in (new, old):
            async with redis.asyncio.Redis(port=store.address.port) as plain:
                assert [key async for key in plain.scan_iter(f"*case:{case.id}")]

        await asyncio.to_thread(old.stop)
        async with connect(trio.url) as later:
            await wait_until(lambda: has_no_replica(later), what="a primary without replicas")
            assert await known_replicas(later, later.execute_command) == 1
        for each in trio.sentinels[1:]:
            await asyncio.to_thread(each.stop)
        async with connect(trio.url) as later:
            with pytest.raises(NotSentError, match=r"agree on a primary of callbacks: 1 of 3 named one .*failed"):
                await Pipeline(later).send(KEY, *ECHO, "x")


async def has_no_replica(client):
    """Return whether no replica is attached to the primary."""
    return (await client.info("replication"))["connected_slaves"] == 0


@pytest.fixture
async def two_stores(tmp_path):
    """Run two primaries. Return the second, a tunnel to the first, a client through it, and a plain one."""
    with running_stores(tmp_path, 2) as (old, new):
        async with (
            Tunnel(f"127.0.0.1:{old.port}") as tunnel,
            connect(f"redis://{tunnel.address}") as client,
            redis.asyncio.Redis(port=old.port) as plain,
        ):
            yield new, tunnel, client, plain


async def test_behind_one_address_connections_to_a_node_that_became_a_replica_are_closed_at_once(two_stores):
    new, tunnel, client, plain = two_stores
    pipeline = Pipeline(client)
    assert await pipeline.send(KEY, *WRITE) == 1
    assert await client.get(KEY) == b"1"
    await plain.replicaof("127.0.0.1", new.port)
    tunnel.target = f"127.0.0.1:{new.port}"
    with pytest.raises(StoreError) as refused, store_errors():
        await pipeline.send(KEY, *WRITE)
    assert not refused.value.maybe_done
    assert await pipeline.send(KEY, *WRITE) == 1  # at the new primary, which is empty here
    assert await client.get(KEY) == b"1"
    async with redis.asyncio.Redis(port=new.port) as other:
        assert await other.get(KEY) == b"1"


async def test_a_pooled_connection_that_meets_a_replica_is_closed(two_stores):
    new, tunnel, client, plain = two_stores
    await client.rpush("list", "x")
    await plain.replicaof("127.0.0.1", new.port)
    tunnel.target = f"127.0.0.1:{new.port}"
    with pytest.raises(redis.ReadOnlyError):
        await client.blpop(["list"], timeout=1)
    assert await client.rpush("list", "y") == 1


async def test_a_cluster_is_found_at_any_of_several_nodes(store_of):
    store = store_of("valkey-cluster")
    async with connect(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{store.port}") as client:
        assert await Pipeline(client).send(KEY, *ECHO, "x") == b"x"
        assert await client.get(KEY) is None


async def test_a_cluster_whose_nodes_all_have_other_addresses_is_found_by_its_url_again(store_of):
    """As after a restart of all nodes at a place that gives out other addresses, but keeps their names."""
    store = store_of("valkey-cluster")
    node = f"127.0.0.1:{store.port}"
    async with redis.asyncio.Redis(port=store.port) as plain, Tunnel(node) as name:
        client = connect(f"redis+cluster://{name.address}")
        pipeline = Pipeline(client)
        try:
            async with Tunnel(node) as former:
                await plain.config_set("cluster-announce-port", former.address.rpartition(":")[2])
                assert await pipeline.send(KEY, *ECHO, "x") == b"x"
                assert former.address in {each.name for each in client.get_nodes()}
        finally:
            await plain.config_set("cluster-announce-port", 0)
        with contextlib.suppress(redis.ConnectionError):  # the connection that the former address led to
            await pipeline.send(KEY, *ECHO, "y")
        assert await pipeline.send(KEY, *ECHO, "z") == b"z"
        assert await client.get(KEY) is None
        await client.aclose()


async def test_a_cluster_is_reached_over_tls(tmp_path):
    port, (authority, tls) = free_port(), tls_files(tmp_path)
    settings = ["--tls-port", str(port), "--tls-cluster", "yes", *tls]
    with StoreProcess(tmp_path, kind="redis-cluster", settings=settings):
        async with connect(f"rediss+cluster://127.0.0.1:{port}?ssl_ca_certs={authority}") as client:
            assert await Pipeline(client).send(KEY, *WRITE) == 1
            assert await client.get(KEY) == b"1"
        with pytest.raises(StoreError, match="certificate verify failed"), store_errors():
            async with connect(f"rediss+cluster://127.0.0.1:{port}"):
                pass

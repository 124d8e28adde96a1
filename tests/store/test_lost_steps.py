"""What was acknowledged and is not there any more was reported, whatever happened to stores, servers and their files.

The stores are `always`. Steps are new cases; `callback losses` shows what is recorded.
"""

import asyncio
import contextlib
import shutil

import pytest
import redis.asyncio
import structlog
from soak.counts import count
from support.cases import Cases
from support.replicas import running_stores, until_replicated
from support.store import StoreProcess
from support.wait import wait_until

from callback_process.tasks import TaskSet
from callback_prove.tunnel import Tunnel
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.connection.errors import StoreError
from callback_server.store.epochs.exchange import EpochExchange
from callback_server.store.epochs.fence import EpochFence
from callback_server.store.epochs.keeper import EpochKeeper
from callback_server.store.epochs.known import Epochs
from callback_server.store.epochs.losses import accept_store, read_losses
from callback_server.store.scripts import Scripts

USED = range(5)
"""The partitions that have steps."""


class Server:
    """What a server has of the store: a memory of the epochs with its file, and an address that can lead elsewhere."""

    def __init__(self, keeper, tunnel, client, **options):
        self._tunnel = tunnel
        self.keeper = keeper
        self.exchange = EpochExchange(keeper.epochs, b"key")
        self.cases = Cases(client, epochs=keeper.epochs, **options)
        self.acknowledged = {partition: set() for partition in USED}

    def lead_to(self, store):
        self._tunnel.lead_to(str(store.address))

    async def steps(self, number):
        """Make cases in turn in each partition, and keep those that are acknowledged. Return how many are."""
        return sum([await self.step(n % len(USED)) for n in range(number)])

    async def step(self, partition):
        try:
            case = await self.cases.new(partition=partition)
        except StoreError:
            return False
        self.acknowledged[partition].add(case.id)
        return True


@contextlib.asynccontextmanager
async def server_at(store, file, **options):
    """Run a server at a store, until it stops and writes its file."""
    keeper = EpochKeeper(file)
    async with Tunnel(str(store.address)) as tunnel, connect(f"redis://{tunnel.address}") as client, TaskSet() as tasks:
        server = Server(keeper, tunnel, client, **options)
        tasks.start(keeper.run(server.cases.scripts, lambda: None))
        yield server
    keeper.close()


@contextlib.asynccontextmanager
async def plain(store):
    async with redis.asyncio.Redis(port=store.port) as client:
        yield client


async def follow(replica, primary):
    """Let a store be the replica of another one, with all that it has."""
    await replica.follow(str(primary.address))
    await until_replicated(primary)


async def restart(store):
    """Kill a store and start it again, while servers and their connections go on."""
    await asyncio.to_thread(store.restart)


async def begin_epochs(store, number):
    """Let the partitions seem to be on another primary so many times."""
    async with plain(store) as client:
        for partition in USED:
            for each in range(number):
                await client.hset(keys.key(partition, "epochs"), "primary", f"another {each}")
                await client.execute_command(*EpochFence(Epochs()).question(keys.tag(partition)))


def tell_each_other(*servers):
    """Pass on what each server knows, as an edge does that is connected to all."""
    messages = [server.exchange.message() for server in servers]
    for message in messages:
        for server in servers:
            server.exchange.receive(message)


async def serves(server):
    """Return whether each partition accepts a step."""
    return all([await server.step(partition) for partition in USED])


async def lost_and_reported(store, *servers):
    """Return, for each partition, how many acknowledged steps a store does not have, and how many are recorded as lost.

    Wait before until the servers accept steps again, and until all that is lost is recorded.
    """
    for server in servers:
        await wait_until(lambda server=server: serves(server), what="a server that accepts steps")
    lost = dict.fromkeys(USED, 0)
    async with plain(store) as client:
        for server in servers:
            for partition, cases in server.acknowledged.items():
                there = [await client.exists(keys.key(partition, "case", case)) for case in cases]
                lost[partition] += there.count(0)

        async def reported():
            recorded = dict.fromkeys(USED, 0)
            for loss in await read_losses(client):
                if loss.partition in recorded:
                    recorded[loss.partition] += loss.steps
            return recorded if all(recorded[each] >= lost[each] for each in USED) else None

        return lost, await wait_until(reported, what=f"a report of {lost}")


@pytest.mark.parametrize("what", ["restarts", "restarts twice", "its file deleted", "its file from a backup"])
async def test_what_was_acknowledged_at_an_old_primary_is_reported(tmp_path, what):
    """A primary restarts while its replica is promoted. One server is at each, until an edge knows both."""
    files = tmp_path / "one", tmp_path / "two"
    with running_stores(tmp_path, 2) as (old, new):
        await follow(new, old)
        async with server_at(new if what == "its file from a backup" else old, files[1]) as two:
            async with server_at(old, files[0]) as one:
                assert await one.steps(10) == 10
            if what == "its file from a backup":
                shutil.copy(files[0], tmp_path / "backup")
                new.promote()
                await follow(old, new)
                async with server_at(new, files[0]) as one:
                    assert await one.steps(10) == 10
                shutil.copy(tmp_path / "backup", files[0])
                old, new = new, old
            if what == "its file deleted":
                files[0].unlink()
            assert await two.steps(10) == 10
            await follow(new, old)
            new.promote()
            two.lead_to(new)
            await restart(old)
            async with server_at(old, files[0]) as one:
                if what == "restarts twice":
                    await wait_until(lambda: serves(one), what="a server at the old primary")
                    await restart(old)
                for server in (one, two):
                    await wait_until(lambda server=server: serves(server), what="a server at each primary")
                    await server.steps(30)
                tell_each_other(one, two)
                assert not await one.steps(len(USED))
                one.lead_to(new)
                lost, reported = await lost_and_reported(new, one, two)
    assert sum(lost.values()) >= 30
    assert lost == reported


async def test_no_step_is_lost_without_a_report_while_primaries_restart_and_replicas_are_promoted(tmp_path):
    total = 0
    with running_stores(tmp_path, 2) as (old, new):
        async with server_at(old, tmp_path / "one") as one, server_at(old, tmp_path / "two") as two:
            for _ in range(count(3, 10)):
                await follow(new, old)
                for server in (one, two):
                    await wait_until(lambda server=server: serves(server), what="a server that accepts steps")

                async def fail_over(old=old, new=new):
                    two.lead_to(new)
                    await asyncio.gather(restart(old), asyncio.to_thread(new.promote))

                await asyncio.gather(one.steps(60), two.steps(60), fail_over())
                await asyncio.gather(one.steps(30), two.steps(30))
                tell_each_other(one, two)
                one.lead_to(new)
                lost, _ = await lost_and_reported(new, one, two)
                total = sum(lost.values())
                old, new = new, old
    assert total


@pytest.mark.parametrize("number", [1, 7, 40])
async def test_an_older_dump_that_is_loaded_serves_nothing_and_what_it_lacks_is_reported(tmp_path, number):
    """Few steps are lost, and many are tried afterwards, also by a server that has made none of them."""
    with StoreProcess(tmp_path / "store", settings=("--enable-debug-command", "yes")) as store:
        async with (
            server_at(store, tmp_path / "one") as one,
            server_at(store, tmp_path / "two") as two,
            plain(store) as client,
        ):
            for server in (one, two):
                assert await serves(server)
            await client.save()
            assert await one.steps(number) == number
            for partition in USED:
                await two.cases.sweep(partition)
            await client.execute_command("DEBUG", "RELOAD", "NOSAVE")
            short = USED[:number]
            for server in (two, one, two):
                for partition in short:
                    assert not any([await server.step(partition) for _ in range(number + 1)])
            assert all(server.keeper.epochs.problem for server in (one, two))
            async with connect(store.url) as operator:
                await accept_store(Scripts(operator))
            lost, reported = await lost_and_reported(store, one, two)
            assert sum(lost.values()) == number
            assert lost == reported


@pytest.mark.parametrize(
    ("how", "meanwhile"),
    [
        ("DEBUG RELOAD", "connected"),
        ("DEBUG RELOAD", "restarts"),
        ("FLUSHALL", "connected"),
        ("REPLICAOF", "connected"),
        ("REPLICAOF", "connected, then the store restarts"),
    ],
)
async def test_steps_are_not_replaced_by_as_many_of_another_server_without_a_report(tmp_path, how, meanwhile):
    """The store gets older data below open connections, and a server that does not know what is lost goes on there."""
    with running_stores(tmp_path, 2, "--enable-debug-command", "yes") as (store, behind):
        async with (
            server_at(store, tmp_path / "two") as two,
            plain(store) as client,
            contextlib.AsyncExitStack() as ones,
        ):
            one = await ones.enter_async_context(server_at(store, tmp_path / "one"))
            if how != "FLUSHALL":
                assert await serves(two)
            assert await serves(one)
            await follow(behind, store)
            behind.promote()
            await client.save()
            assert await one.steps(20) == 20
            if meanwhile == "restarts":
                await ones.aclose()
            if how == "REPLICAOF":
                await follow(store, behind)
                store.promote()
            else:
                await client.execute_command(*(how.split() + ["NOSAVE"] * (how == "DEBUG RELOAD")))
            await two.steps(40)
            if meanwhile == "restarts":
                was, one = one, await ones.enter_async_context(server_at(store, tmp_path / "one"))
                one.acknowledged = was.acknowledged
            for partition in USED:  # with what a sweep can learn, too
                with contextlib.suppress(StoreError):
                    await one.cases.sweep(partition)
            await one.steps(10)
            if meanwhile == "connected, then the store restarts":
                await restart(store)
            async with connect(store.url) as operator:
                await accept_store(Scripts(operator))
            lost, reported = await lost_and_reported(store, one, two)
            assert sum(lost.values()) >= 20
            assert lost == reported


@pytest.mark.parametrize(("ends", "restarts"), [("by a kill", 0), ("by a kill", 9), ("by a stop", 0)])
async def test_a_server_that_was_killed_says_that_it_does_not_remember_its_last_steps(tmp_path, ends, restarts):
    """They are lost with the primary, whose replica is behind. A server that has stopped counts them."""
    with running_stores(tmp_path, 2) as (old, new):
        await follow(new, old)
        async with server_at(old, tmp_path / "one") as one:
            assert await one.steps(10) == 10
            new.promote()
            await one.keeper.write()
            shutil.copy(tmp_path / "one", tmp_path / "killed")
            assert await one.steps(10) == 10
        if restarts:
            await begin_epochs(new, 1)
            await restart(new)
            await begin_epochs(new, restarts)
        with structlog.testing.capture_logs() as log:
            async with server_at(new, tmp_path / ("killed" if ends == "by a kill" else "one")) as again:
                await wait_until(lambda: serves(again), what="a server at the promoted replica")
                await again.step(0)
    events = [each["event"] for each in log]
    assert events.count("steps_not_counted") == (ends == "by a kill")
    assert ("steps_lost" in events) == (ends == "by a stop")


@pytest.mark.parametrize("never_loses", [True, False])
async def test_after_a_restart_of_the_store_steps_are_not_counted_only_where_it_can_lose_some(tmp_path, never_loses):
    with StoreProcess(tmp_path / "store") as store:
        async with server_at(store, tmp_path / "one") as one:
            assert await one.steps(10) == 10
            await one.keeper.write()
            shutil.copy(tmp_path / "one", tmp_path / "killed")
        await restart(store)
        with structlog.testing.capture_logs() as log:
            async with server_at(store, tmp_path / "killed", never_loses=never_loses) as again:
                assert await serves(again)
    assert ["steps_not_counted" in [each["event"] for each in log]] == [not never_loses]


@pytest.mark.parametrize("restarts", [0, 2])
@pytest.mark.parametrize("knows", ["nothing", "its own store"])
async def test_a_server_at_the_store_of_another_system_excludes_no_server_from_its_own(tmp_path, restarts, knows):
    """A new server is led to a wrong store, which can also have restarted more often. An edge is connected to both."""
    with running_stores(tmp_path, 2) as (right, wrong):
        for _ in range(restarts):
            async with server_at(wrong, tmp_path / "other") as other:
                assert await serves(other)
            await restart(wrong)
        async with (
            server_at(right, tmp_path / "one") as one,
            server_at(wrong, tmp_path / ("other" if knows == "its own store" else "new")) as other,
        ):
            for server in (one, other):
                await wait_until(lambda server=server: serves(server), what="a server at each store")
            with structlog.testing.capture_logs() as log:
                tell_each_other(one, other)
            assert await serves(one)
            if restarts and knows == "nothing":  # it has taken what it found, until another server tells it better
                assert not await serves(other)
            else:
                reasons = [each.get("reason") for each in log]
                assert reasons == ["the server that sent them has another store than this one"] * 2


@pytest.mark.parametrize("epochs", [9, 70])
async def test_a_server_is_refused_by_the_store_of_another_system_that_was_restarted_and_promoted_more_often(
    tmp_path, epochs
):
    """All that it has made is lost there, if that store is accepted, also what the steps there have the numbers of."""
    with running_stores(tmp_path, 2) as (right, wrong):
        await begin_epochs(wrong, 1)
        async with connect(wrong.url) as direct:
            other = Cases(direct)
            for partition in USED:
                for _ in range(20):
                    await other.new(partition=partition)
        await begin_epochs(wrong, epochs)
        async with server_at(right, tmp_path / "one") as one:
            assert await one.steps(10) == 10
            one.lead_to(wrong)
            await restart(right)
            assert not await one.steps(10)
            assert "are older than what servers have seen" in one.keeper.epochs.problem
            one.lead_to(right)
            await wait_until(lambda: serves(one), what="a server at its own store")
            one.lead_to(wrong)
            await restart(right)
            async with connect(wrong.url) as operator:
                await accept_store(Scripts(operator))
            lost, reported = await lost_and_reported(wrong, one)
            assert sum(lost.values()) >= 15
            assert lost == reported


async def test_a_promoted_replica_that_restarted_before_a_server_met_it_is_refused_and_can_be_accepted(tmp_path):
    """Nothing shows that it was promoted, and it lacks an epoch, so it could be a backup."""
    with running_stores(tmp_path, 2) as (old, new):
        await follow(new, old)
        async with server_at(old, tmp_path / "one") as one:
            assert await serves(one)
            await until_replicated(old)
            new.promote()
            await restart(old)
            await wait_until(lambda: serves(one), what="a server at the primary that restarted")
            await restart(new)
            one.lead_to(new)
            await restart(old)
            assert not await one.steps(len(USED))
            assert "epoch 1 in place of 2" in one.keeper.epochs.problem
            async with connect(new.url) as operator:
                await accept_store(Scripts(operator))
            lost, reported = await lost_and_reported(new, one)
            assert sum(lost.values()) >= len(USED)
            assert lost == reported

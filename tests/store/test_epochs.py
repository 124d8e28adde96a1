"""Epochs: an old primary is recognized and never written to, and what a failover loses is counted exactly."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import redis.asyncio
import structlog
from support.cases import Cases
from support.cluster import STAYING, running_cluster, slot_of
from support.replicas import running_stores
from support.store import KINDS
from support.wait import wait_until

from callback_process.tasks import TaskSet
from callback_prove.tunnel import Tunnel
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.epochs.exchange import EpochExchange
from callback_server.store.epochs.keeper import EpochKeeper
from callback_server.store.epochs.known import Epoch, EpochChangedError, Epochs, Loss, PrimaryChanged
from callback_server.store.queries.list_cases import list_cases
from callback_server.store.recording import Recording
from callback_server.store.transitions.open_epoch import open_epoch
from callback_server.store.transitions.record_loss import record_loss
from callback_server.store.transitions.sweep_partition import sweep_partition
from callback_server.store.transitions.write_statistics import write_statistics

PARTITION = 7
TAG = keys.tag(PARTITION)
EPOCHS = keys.key(PARTITION, "epochs")


class Server:
    """What a server has of a store: cases in one partition, and what it knows of its epochs."""

    def __init__(self, client, epochs=None, **options):
        self.reports = []
        self.epochs = epochs or Epochs(self.reports.append)
        self.cases = Cases(client, epochs=self.epochs, **options)

    async def new(self, count=1):
        return [await self.cases.new(partition=PARTITION) for _ in range(count)]

    @property
    def losses(self):
        return [report for report in self.reports if isinstance(report, Loss)]

    @property
    def number(self):
        return self.epochs.current(TAG).number

    @property
    def steps(self):
        return self.epochs.known[TAG].steps


@contextlib.asynccontextmanager
async def server_on(store, epochs=None, **options):
    """Connect a server to a store, with what it knows of its epochs."""
    async with connect(store.url) as client:
        yield Server(client, epochs, **options)


@pytest.fixture
def connected(store):
    """Return a function that connects another server to the store."""
    return lambda epochs=None, **options: server_on(store, epochs, **options)


@pytest.fixture
async def server(store):
    async with server_on(store) as server:
        yield server


@pytest.fixture
async def pair(tmp_path):
    """Run a primary and its replica."""
    with running_stores(tmp_path, 2) as (first, second):
        await second.follow(str(first.address))
        yield first, second


async def refused(step, why=r"epoch 1 in place of (2|1001)"):
    """Await a step that the server refuses to send, and return the error."""
    with pytest.raises(StoreError, match=why) as caught:
        await step
    return caught.value


async def saved(plain):
    """Return everything that the partition has."""
    names = [name async for name in plain.scan_iter(f"{TAG}:*".replace("{", "\\{"))]
    return {name: await plain.dump(name) for name in names}


async def change_primary(plain):
    """Let the partition seem to be on another primary."""
    await plain.hset(EPOCHS, "primary", "another")


async def restore(plain, contents):
    """Let the partition have this, and no more, on another primary."""
    await plain.delete(*await saved(plain))
    for name, value in contents.items():
        await plain.restore(name, 0, value)
    await change_primary(plain)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_first_server_begins_an_epoch_and_others_find_it(store_of, kind):
    store = store_of(kind)
    async with connect(store.url) as client, connect(store.url) as other:
        first, second = Server(client), Server(other)
        await first.new()
        await second.new()
        assert first.number == 1
        assert first.epochs.current(TAG) == second.epochs.current(TAG)
        assert first.epochs.current(TAG).primary


async def test_another_primary_with_the_same_data_begins_an_epoch_and_nothing_is_lost(connected, plain, server):
    await server.new(3)
    await change_primary(plain)
    async with connected(server.epochs) as again:
        await again.new()
    assert (server.number, server.losses, server.epochs.problem) == (2, [], "")
    await server.new()  # on the connection that was open before
    assert server.steps == 5


@pytest.mark.parametrize("by_release_before", [(b"1", b"2"), (b"2",)])
async def test_the_epochs_of_one_store_have_one_origin_also_after_those_that_a_release_before_has_begun(
    connected, plain, server, by_release_before
):
    await server.new()
    first = server.epochs.current(TAG)
    await change_primary(plain)
    async with connected(server.epochs) as again:
        await again.new()
    assert again.epochs.current(TAG).origin == first.origin != ""
    for name in by_release_before:
        value = await plain.hget(EPOCHS, name)
        await plain.hset(EPOCHS, name, value[:17] + value[value.index(b":") :])
    before = Epochs()
    before.restore(PARTITION, replace(server.epochs.known[TAG], epoch=Epoch(2, again.epochs.current(TAG).id[:17], "")))
    for _ in range(2):
        await change_primary(plain)
        async with connected(before) as later:
            await later.new()
        assert before.current(TAG).origin == first.origin
    assert (later.number, before.problem) == (4, "")


async def test_keys_of_no_partition_have_no_epoch(plain, server):
    await write_statistics(server.cases.scripts, "replica", minute=1, counts={"calls": 1})
    await server.new()
    assert [*server.epochs.known] == [TAG]
    assert not await plain.exists(f"{keys.STATISTICS_KEY}:epochs")


async def test_a_primary_is_reported_once_for_all_partitions_and_whether_it_was_known(connected, server):
    async with connected() as late:
        for partition in (1, 2):
            await server.cases.new(partition=partition)
        assert server.reports == []  # a new store
        await late.cases.new(partition=1)
        await late.cases.new(partition=2)
        assert late.reports == [PrimaryChanged(1, was_known=False)]


async def test_a_list_from_an_old_primary_is_refused(connected, plain, server):
    async def list_all(server):
        return await list_cases(
            server.cases.scripts, owner="shop", activities=(), status=None, labels={}, after=None, limit=10
        )

    async with connected(server.epochs) as second:
        (case,) = await server.new()
        assert await list_all(server) == ([case.id], None)
        old = await saved(plain)
        await change_primary(plain)
        await second.new()
        await restore(plain, old)
        for each in (server, second):  # with a connection for lists, and without one
            await refused(list_all(each))


async def test_a_store_without_the_known_epoch_is_refused_and_not_written_to(connected, plain, server):
    await server.new()
    before = await saved(plain)
    await change_primary(plain)
    async with connected(server.epochs) as second:
        await second.new()
    assert server.number == 2
    await restore(plain, before)
    returned = await saved(plain)
    async with connected(server.epochs) as third:
        error = await refused(third.new())
        assert not error.maybe_done
    assert await saved(plain) == returned
    assert "1 of 64 partitions are older" in server.epochs.problem
    assert "callback losses --accept" in server.epochs.problem


async def test_the_same_number_with_another_id_is_another_epoch(connected, plain, server):
    await server.new()
    await plain.hset(EPOCHS, "1", "0000000000000000:0")
    async with connected(server.epochs) as second:
        await refused(second.new(), "epoch 1 of another primary")


async def test_an_empty_store_is_refused_and_an_operator_can_accept_it(connected, plain, server):
    await server.new(3)
    await plain.flushall()
    async with connected(server.epochs) as second:
        await refused(second.new(), "epoch 0 in place of 1")
        accepted = await open_epoch(Cases(second.cases.client).scripts, PARTITION)
        await second.new()
        assert server.epochs.problem == ""
        assert server.number == accepted > 1_000_000_000
        assert [(loss.partition, loss.steps, loss.epoch) for loss in server.losses] == [(PARTITION, 3, accepted)]


async def test_what_a_power_loss_takes_is_counted_where_that_is_accepted(connected, plain, server):
    await server.new(2)
    backup = await saved(plain)
    (case,) = await server.new()
    call = await server.cases.claim(case)
    await server.cases.finish(call.call_id)
    assert server.steps == 5
    await restore(plain, backup)
    async with connected(server.epochs, never_loses=False) as second:
        await second.new(4)
        assert (second.number, second.steps) == (2, 6)
        (lost,) = server.losses
        assert (lost.partition, lost.epoch, lost.lost_epoch, lost.steps) == (PARTITION, 2, 1, 3)


async def test_a_backup_of_the_same_epoch_serves_nothing_before_it_is_accepted(connected, plain, server):
    """On another primary, as after a restart, and on the same one, as after DEBUG RELOAD."""
    await server.new(2)
    backup, primary = await saved(plain), await plain.hget(EPOCHS, "primary")
    await server.new(3)
    await restore(plain, backup)
    returned = await saved(plain)
    async with connected(server.epochs) as second:
        await refused(second.new(), "have fewer steps than servers have seen: 2 in place of 5")
        assert await saved(plain) == returned
        await plain.hset(EPOCHS, "primary", primary)
        await refused(second.new(), "2 in place of 5")
        accepted = await open_epoch(Cases(second.cases.client).scripts, PARTITION)
        await second.new()
        assert [(loss.epoch, loss.lost_epoch, loss.steps) for loss in server.losses] == [(accepted, 1, 3)]


async def test_a_store_that_loses_steps_while_servers_are_connected_acknowledges_nothing(plain, server):
    """As after DEBUG RELOAD of an older dump, or FLUSHALL."""
    await server.new(2)
    older = await saved(plain)
    await server.new(3)
    await plain.delete(*await saved(plain))
    for name, value in older.items():
        await plain.restore(name, 0, value)
    error = await refused(server.new(), "the store has 2 steps, and not all of the 5 that it had")
    assert not error.maybe_done
    await refused(server.new(), "have fewer steps than servers have seen: 2 in place of 5")
    await plain.flushall()
    await refused(server.new(), "epoch 0 in place of 1")
    await open_epoch(Cases(server.cases.client).scripts, PARTITION)
    await server.new()
    assert sum(loss.steps for loss in server.losses) == 5


async def test_where_a_power_loss_may_take_steps_those_that_are_gone_are_counted_at_once(connected, plain, server):
    async with connected(never_loses=False) as lenient:
        await lenient.new(2)
        older = await saved(plain)
        await lenient.new(3)
        await plain.delete(*await saved(plain))
        for name, value in older.items():
            await plain.restore(name, 0, value)
        await refused(lenient.new(), "the store has 2 steps, and not all of the 5 that it had")
        await lenient.new()
        assert [(loss.epoch, loss.lost_epoch, loss.steps) for loss in lenient.losses] == [(1, 1, 3)]


async def test_a_server_that_comes_late_counts_by_the_beginning_of_the_epoch(connected, plain, server):
    await server.new(2)
    backup = await saved(plain)
    await server.new(3)
    await restore(plain, backup)
    async with connected() as other:  # it does not know what was lost, and goes on
        await other.new(20)
        assert other.losses == []
    async with connected(server.epochs, never_loses=False) as second:
        await second.new()
        assert [loss.steps for loss in server.losses] == [3]


async def test_a_step_that_is_sent_again_is_counted_as_well(server):
    case = (await server.new())[0]
    call = await server.cases.claim(case)
    server.epochs.known[TAG].steps = 0
    await server.cases.claim(case, call.call_id)
    assert server.steps == 2


async def test_a_sweep_shows_the_steps_of_other_servers(connected, server):
    async with connected() as other:
        await server.new()
        await other.new(3)
        assert server.steps == 1
        await sweep_partition(server.cases.scripts, PARTITION, recording=Recording())
        assert server.steps == 4


async def test_a_server_of_an_earlier_release_works_beside_and_its_steps_are_counted(store, server):
    async with connect(store.url) as client:
        await server.new()
        case = await Cases(client).new(partition=PARTITION)
        await server.cases.claim(case)
        assert (server.steps, server.losses, server.epochs.problem) == (3, [], "")


async def test_a_reply_acknowledges_nothing_once_a_newer_epoch_is_known(server):
    await server.new()
    epoch = server.epochs.current(TAG)
    server.epochs.remember(PARTITION, Epoch(2, "ab", "cd"))
    with pytest.raises(EpochChangedError):
        server.epochs.acknowledge(TAG, epoch, 2)
    await refused(server.new())  # also where the connection was used before


async def test_what_other_servers_know_keeps_the_count_until_the_store_shows_it(connected, plain, server):
    async with connected() as other:
        await server.new(2)
        backup = await saved(plain)
        await server.new(3)
        await restore(plain, backup)
        await other.new()
        server.epochs.remember(PARTITION, other.epochs.current(TAG))
    async with connected(server.epochs, never_loses=False) as again:
        await again.new()
        assert [(loss.epoch, loss.lost_epoch, loss.steps) for loss in server.losses] == [(2, 1, 3)]


async def test_a_server_that_only_found_its_store_believes_another_that_knew_the_primary_before(
    connected, plain, server
):
    await server.new()
    old = await saved(plain)
    await restore(plain, old)
    async with connected(server.epochs) as second:
        await second.new()
    await restore(plain, old)  # the old primary has restarted, so its next epoch has the same number
    async with connected() as blind:
        await blind.new()
        assert (blind.number, server.number) == (2, 2)
        assert EpochExchange(blind.epochs, b"key").message() == b""
        EpochExchange(blind.epochs, b"key").receive(EpochExchange(server.epochs, b"key").message())
        await refused(blind.new(), "epoch 2 of another primary")


async def test_a_server_that_found_its_store_goes_on_when_the_store_has_what_another_knew(connected, plain, server):
    async with connected() as found:
        await server.new()
        await change_primary(plain)
        await found.new()
        found.epochs.remember(PARTITION, server.epochs.current(TAG))
        await found.new()
        assert (found.number, found.epochs.problem, found.losses) == (2, "", [])
        assert EpochExchange(found.epochs, b"key").message()


async def test_a_primary_that_gets_its_first_replica_goes_on_and_no_steps_are_reported_as_lost(tmp_path):
    with running_stores(tmp_path, 2) as (primary, replica):
        async with connect(primary.url) as client, connect(primary.url) as other, connect(primary.url) as third:
            server, before = Server(client), Server(other)
            await server.new()
            await before.new()
            replication_id = server.epochs.current(TAG).primary
            await replica.follow(str(primary.address))
            await Server(third, before.epochs).new()  # a new connection
            await server.new(3)  # on the one that was open before
            async with connect(primary.url) as fourth:
                await Server(fourth, server.epochs).new()
            assert server.epochs.current(TAG).primary != replication_id
            assert (server.number, server.reports, before.reports[1:]) == (1, [], [])


async def test_a_partition_remembers_its_last_64_epochs(connected, plain, server):
    await server.new()
    old = Epochs()
    old.restore(PARTITION, replace(server.epochs.known[TAG]))
    for n in range(70):
        await plain.hset(EPOCHS, "primary", str(n))
        async with connected(server.epochs) as again:
            await again.new()
    assert await plain.hlen(EPOCHS) == 64 + len({"primary", "number", "first", "replication_ids"})
    async with connected(old) as late:
        await late.new()
        assert late.number == 71
    old.remember(PARTITION, Epoch(72, "ab", ""))
    async with connected(old) as late:
        await refused(late.new(), "epoch 71 in place of 72")


async def test_a_loss_is_recorded_once_with_the_highest_number(connected, plain, server):
    await server.new(2)
    await plain.delete(keys.key(PARTITION, "events"))
    await change_primary(plain)
    async with connected(server.epochs, never_loses=False) as second:
        await second.new()
        (lost,) = server.losses
        for steps in (1, 2, 1):
            await record_loss(
                second.cases.scripts, PARTITION, epoch=lost.epoch, lost_epoch=lost.lost_epoch, steps=steps
            )
    (value,) = (await plain.hgetall(keys.key(PARTITION, "losses"))).values()
    assert value.split(b":")[:2] == [b"2", b"1"]


async def test_the_file_keeps_what_is_known_across_a_restart(connected, plain, tmp_path):
    file = tmp_path / "epochs"
    keeper = EpochKeeper(file)
    async with connected(keeper.epochs) as server:
        await server.new(3)
        async with TaskSet() as tasks:
            tasks.start(keeper.run(server.cases.scripts, lambda: None))
            await wait_until(file.exists, what="the file")
        await server.new(2)
    keeper.close()
    again = EpochKeeper(file)
    assert again.epochs.known == keeper.epochs.known
    again.epochs.known[TAG].is_found = True
    again.close()
    again = EpochKeeper(file)
    assert again.epochs.known[TAG].is_found
    await plain.flushall()
    async with connected(again.epochs) as server:
        await refused(server.new(), "epoch 0 in place of 1")
        await open_epoch(Cases(server.cases.client).scripts, PARTITION)
        async with TaskSet() as tasks:
            tasks.start(again.run(server.cases.scripts, lambda: None))
            await server.new()
            await wait_until(lambda: plain.exists(keys.key(PARTITION, "losses")), what="a recorded loss")
        (value,) = (await plain.hgetall(keys.key(PARTITION, "losses"))).values()
        assert value.split(b":")[:2] == [b"5", b"1"]
    again.close()


@pytest.mark.parametrize("contents", [b"", b"{}", b'{"partitions": {"0": [1]}}'])
def test_a_damaged_file_stops_the_start_and_says_what_to_do(tmp_path, contents):
    file = tmp_path / "epochs"
    file.write_bytes(contents)
    for _ in range(2):  # it releases its lock
        with pytest.raises(ValueError, match=r"is damaged .*; delete it to start without what this server knew"):
            EpochKeeper(file)


def test_a_file_has_what_was_known_at_one_time_also_if_the_disk_is_slow(tmp_path):
    keeper = EpochKeeper(tmp_path / "epochs")
    disk = threading.Event()

    async def remember_while_it_writes():
        asyncio.get_running_loop().set_default_executor(threads := ThreadPoolExecutor(1))
        threads.submit(disk.wait)
        keeper.epochs.remember(PARTITION, Epoch(1, "a", "a"))
        writing = asyncio.create_task(keeper.write())
        await asyncio.sleep(0)
        keeper.epochs.remember(PARTITION, Epoch(2, "b", "b"))
        disk.set()
        await writing

    asyncio.run(remember_while_it_writes())  # a loop of its own: others would keep the single thread
    assert EpochKeeper(tmp_path / "epochs", writes=False).epochs.current(TAG).id == "a"
    keeper.close()


async def test_a_file_that_is_written_at_the_stop_while_it_is_written_has_what_is_known_then(tmp_path):
    with structlog.testing.capture_logs() as log:
        for number in range(1, 101):
            keeper = EpochKeeper(tmp_path / "epochs")
            keeper.epochs.remember(PARTITION, Epoch(2 * number, "a", "a"))
            writing = asyncio.create_task(keeper.write())
            await asyncio.sleep(0)
            keeper.epochs.remember(PARTITION, Epoch(2 * number + 1, "b", "b"))
            keeper.close()
            await writing
            assert EpochKeeper(tmp_path / "epochs", writes=False).epochs.known == keeper.epochs.known
    assert log == []


@pytest.mark.parametrize("writes", [False, True])
def test_a_file_in_a_folder_that_does_not_exist_stops_the_start(tmp_path, writes):
    with pytest.raises(ValueError, match="its folder does not exist"):
        EpochKeeper(tmp_path / "nowhere" / "epochs", writes=writes)


async def test_a_file_has_one_server_at_a_time_and_others_can_read_it(tmp_path):
    file = tmp_path / "epochs"
    keeper = EpochKeeper(file)
    keeper.epochs.remember(PARTITION, Epoch(1, "a", "a"))
    await keeper.write()
    with pytest.raises(ValueError, match="another server uses it; each server has its own"):
        EpochKeeper(file)
    reader = EpochKeeper(file, writes=False)
    assert reader.epochs.known[TAG].epoch.id == "a"
    reader.close()
    keeper.close()
    keeper.epochs.remember(PARTITION, Epoch(2, "b", "b"))
    await keeper.write()  # the task of a server that has stopped
    next_one = EpochKeeper(file)
    assert next_one.epochs.known[TAG].epoch.id == "a"
    next_one.close()


def test_a_file_that_cannot_be_written_stops_the_start(tmp_path):
    (tmp_path / "epochs.lock").mkdir()
    with pytest.raises(ValueError, match=r"epochs\.lock cannot be written \(Is a directory\); the user"):
        EpochKeeper(tmp_path / "epochs")


async def test_a_partition_whose_slot_moves_to_another_node_and_back_continues(tmp_path_factory):
    async with (
        running_cluster(tmp_path_factory, "valkey-cluster", moving=[PARTITION]) as cluster,
        connect(cluster.url) as client,
    ):
        server = Server(client)
        await server.new(2)
        await cluster.source.begin_to_move(slot_of(PARTITION), cluster.target)
        await cluster.source.move_keys((await cluster.keys_of(PARTITION))[:2], cluster.target)
        with pytest.raises(StoreError):
            await server.new()
        await cluster.source.move_keys(await cluster.keys_of(PARTITION), cluster.target)
        await cluster.source.give_slot(slot_of(PARTITION), cluster.target)
        await server.new()
        assert (server.number, server.steps, server.losses, server.epochs.problem) == (2, 3, [], "")


async def test_an_old_primary_of_a_cluster_is_refused_although_another_node_has_changed_since(tmp_path_factory):
    async with (
        running_cluster(tmp_path_factory, "valkey-cluster", moving=[PARTITION]) as cluster,
        connect(cluster.url) as client,
        connect(cluster.url) as again,
    ):
        server, elsewhere = Server(client), keys.tag(0)
        for partition in (PARTITION, STAYING, 0):
            await server.cases.new(partition=partition)
        kept = Epochs()
        for tag, known in server.epochs.known.items():
            kept.restore(keys.partition_of_tag(tag), replace(known))
        kept.remember(PARTITION, Epoch(2, "b" * 16, "of the next primary"))
        changed = ("primary", "another", "3", f"{'c' * 16}:1", "number", "3")
        await cluster.target.execute("HSET", keys.key(0, "epochs"), *changed)
        kept.remember(0, Epoch(3, "c" * 16, server.epochs.current(elsewhere).primary))
        for each in (Server(client, kept), Server(again, kept)):  # with a connection to the old one, and without
            await refused(each.cases.new(partition=STAYING))
            await each.cases.new(partition=0)
        assert await cluster.source.execute("XLEN", keys.key(STAYING, "events")) == 1


async def test_a_replica_that_was_promoted_before_it_had_the_newest_epoch_is_no_old_primary(pair):
    first, second = pair
    async with connect(first.url) as client:
        server = Server(client)
        second.promote()
        await server.new(3)
        async with connect(second.url) as other:
            promoted = Server(other, server.epochs)
            await promoted.new()
            assert (promoted.number, promoted.steps) == (1001, 1)
            assert [loss.steps for loss in server.losses] == [3]
        await refused(server.new())


async def test_an_old_primary_is_refused_everywhere_although_the_connection_to_the_next_one_broke_at_once(pair):
    first, second = pair
    async with (
        Tunnel(f"127.0.0.1:{second.port}") as tunnel,
        connect(first.url) as client,
        connect(f"redis://{tunnel.address}") as broken,
        connect(first.url) as again,
    ):
        server = Server(client, Epochs(lambda _report: tunnel.cut()))  # when it notices the next primary
        for partition in range(4):
            await server.cases.new(partition=partition)
        await client.wait(1, 0)
        second.promote()
        with pytest.raises(StoreError):
            await Server(broken, server.epochs).cases.new(partition=0)
        assert [server.epochs.current(keys.tag(partition)).number for partition in range(4)] == [1001, 1, 1, 1]
        for each in (server, Server(again, server.epochs)):  # with a connection to the old one, and without
            for partition in (1, 2):
                await refused(each.cases.new(partition=partition))
        assert await client.xlen(keys.key(1, "events")) == 1
        kept = Epochs()
        for partition in range(4):
            kept.restore(partition, replace(server.epochs.known[keys.tag(partition)]))
        async with connect(first.url) as later:
            await refused(Server(later, kept).cases.new(partition=3))


async def test_of_two_primaries_that_servers_have_met_at_the_same_time_the_promoted_replica_counts(pair):
    first, second = pair
    async with connect(first.url) as client:
        server = Server(client)
        await server.new()
        await client.wait(1, 0)
        first.kill()
    second.promote()
    first.start()
    async with connect(first.url) as client, connect(second.url) as other:
        old, promoted = Server(client), Server(other)
        for each in (old, promoted):
            each.epochs.restore(PARTITION, replace(server.epochs.known[TAG]))
            await each.new()
        assert (old.number, promoted.number) == (2, 1001)
        exchanges = [EpochExchange(each.epochs, b"k" * 32) for each in (old, promoted)]
        messages = [exchange.message() for exchange in exchanges]
        for exchange, message in zip(exchanges, reversed(messages), strict=True):
            exchange.receive(message)
        await refused(old.new(), "epoch 2 in place of 1001")
        await promoted.new()
        assert (bool(old.epochs.problem), promoted.epochs.problem) == (True, "")


async def test_what_was_acknowledged_at_the_primary_that_loses_is_reported_however_often_it_restarted(pair):
    """Each of two servers knows one primary, and both begin an epoch after the last one that both know."""
    first, second = pair
    async with connect(first.url) as client:
        before = Server(client)
        await before.new(2)
        await client.wait(1, 0)
    second.promote()
    told = []
    later, new = Epochs(told.append), Epochs()
    for epochs in (later, new):
        epochs.restore(PARTITION, replace(before.epochs.known[TAG]))
    for _ in range(3):
        first.restart()
        async with connect(first.url) as client:
            await Server(client, later).new(10)
    async with connect(second.url) as client:
        await Server(client, new).new(50)
    assert (later.current(TAG).number, new.current(TAG).number) == (4, 1001)
    EpochExchange(later, b"key").receive(EpochExchange(new, b"key").message())
    async with connect(first.url) as client:
        await refused(Server(client, later).new(), "epoch 4 in place of 1001")
    async with connect(second.url) as client:
        await Server(client, later).new()
    assert [report for report in told if isinstance(report, Loss)] == [Loss(PARTITION, 1001, 4, 30)]


async def test_a_promoted_replica_is_taken_by_servers_that_only_know_its_primary_after_restarts(pair):
    first, second = pair
    async with connect(first.url) as client:
        server = Server(client)
        await server.new()
        await client.wait(1, 0)
    second.promote()
    for _ in range(2):
        first.restart()
        async with connect(first.url) as client:
            await Server(client, server.epochs).new(10)
    async with connect(second.url) as client, connect(first.url) as again:
        await Server(client, server.epochs).new()
        await refused(Server(again, server.epochs).new(), "epoch 3 in place of 1003")
    assert [loss.steps for loss in server.losses] == [20]


@pytest.mark.parametrize(("of_old", "of_new"), [(12, 0), (0, 70), (12, 70)])
async def test_the_loss_is_exact_however_often_the_primaries_have_restarted(tmp_path, of_old, of_new):
    """A server was at the primary that lost, and comes back after the promoted replica has restarted."""

    async def restarts(store, number, epochs):
        async with redis.asyncio.Redis(port=store.port) as plain:
            for n in range(number):
                await plain.hset(EPOCHS, "primary", f"another {n}")
                async with connect(store.url) as client:
                    await Server(client, epochs).new()

    with running_stores(tmp_path, 2) as (first, second):
        await second.follow(str(first.address))
        async with connect(first.url) as client, redis.asyncio.Redis(port=second.port) as plain:
            server = Server(client)
            await server.new(5)
            await client.wait(1, 0)
            await plain.execute_command("REPLICAOF", "NO", "ONE")
            await server.new(7)
        await restarts(first, of_old, server.epochs)
        async with connect(second.url) as client:
            other = Server(client)
            await other.new()
            second.kill()
            second.start()
        await restarts(second, of_new, other.epochs)
        async with connect(second.url) as client:
            await Server(client, server.epochs).new()
        assert [loss.steps for loss in server.losses] == [7 + of_old]


@contextlib.asynccontextmanager
async def replica_that_loads(store):
    """Attach a replica to a store that is listed as online, and has confirmed nothing yet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", store.port)
    try:
        async with TaskSet() as tasks, redis.asyncio.Redis(port=store.port) as plain:
            await plain.config_set("repl-diskless-sync", "no")  # otherwise it is listed once it has confirmed
            writer.write(b"REPLCONF listening-port 1\r\n")
            assert await reader.readline() == b"+OK\r\n"
            writer.write(b"PSYNC ? -1\r\n")
            tasks.start(_read_all(reader))

            async def is_online():
                return (await plain.info("replication")).get("slave0", {}).get("state") == "online"

            await wait_until(is_online, what="a replica that is listed")
            yield
    finally:
        writer.close()


async def _read_all(reader):
    while await reader.read(65536):
        pass


@pytest.mark.parametrize("attached", [contextlib.nullcontext, replica_that_loads], ids=["no replica", "one that loads"])
async def test_an_old_primary_whose_replicas_confirm_nothing_begins_no_epoch(pair, attached):
    """The epoch would exclude the promoted replica."""
    first, second = pair
    async with connect(first.url) as client:
        server = Server(client, replicas=1)
        await resend(server.new, unsent_s=60, unsure_s=60)
        first.kill()
    second.promote()
    first.start()
    async with attached(first), connect(first.url) as client:
        error = await refused(Server(client, server.epochs, replicas=1).new(), "0 of 1 replicas had the write")
        assert not error.maybe_done
    await first.follow(str(second.address))
    async with connect(second.url) as client:
        await resend(Server(client, server.epochs, replicas=1).new, unsent_s=60, unsure_s=60)
    assert (server.number, server.losses, server.epochs.problem) == (1001, [], "")

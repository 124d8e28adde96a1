"""Writes that replicas must confirm: their replies come once enough replicas have them on disk."""

import asyncio
import collections
import contextlib
import signal

import pytest
import redis.asyncio
from prometheus_client import REGISTRY
from pydantic import ValidationError
from structlog.testing import capture_logs
from support.cases import Cases, cases_on
from support.limits import limited
from support.proxy import StoreProxy
from support.replicas import running_stores
from support.store import Launcher, program, set_up
from support.wait import wait_until

from callback_launcher.cluster import SLOTS, Cluster, Node
from callback_process.findings import Level
from callback_process.tasks import TaskSet
from callback_prove.tunnel import Tunnel
from callback_server.domain import ids
from callback_server.domain.call import CallStatus
from callback_server.domain.case import AnswerMode, CallMode, CaseStatus
from callback_server.operations import doctor
from callback_server.rpc.health import Health
from callback_server.settings import ServerSettings
from callback_server.store import health, keys
from callback_server.store.connection import replication
from callback_server.store.connection.client import connect
from callback_server.store.connection.errors import StoreError, store_errors
from callback_server.store.connection.pipeline import Pipeline
from callback_server.store.connection.resend import resend
from callback_server.store.epochs.known import Epochs
from callback_server.store.health import StoreProbe
from callback_server.store.queries.read import list_calls, read_case, read_held
from callback_server.store.recording import Recording
from callback_server.store.safety import (
    Durability,
    UnsafeStoreError,
    check_store,
    known_replicas,
    refusals,
    setting_problems,
)
from callback_server.store.transitions.announce_slots import announce_slots

KEY = "{cb:1}:number"
WRITE = ("EVAL", "return redis.call('INCR', KEYS[1])", 1, KEY)


@pytest.fixture(scope="module")
async def stores(tmp_path_factory):
    """Run a primary, its replica, and another store."""
    with running_stores(tmp_path_factory.mktemp("stores"), 3) as made:
        await made[1].follow(str(made[0].address))
        yield made


@contextlib.contextmanager
def stopped(store):
    """Stop the process of a store meanwhile."""
    store.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        store.process.send_signal(signal.SIGCONT)


@pytest.fixture
def silent(stores):
    """Return a context in whose body the replica says nothing, and waits for it are short."""

    @contextlib.contextmanager
    def silent():
        with stopped(stores[1]), limited(replication, WAIT_MS=20, WAITAOF_MS=20):
            yield

    return silent


async def unconfirmed(step):
    """Send a step until it has its answer, that no replica confirms it, and return the error."""
    while True:
        with pytest.raises(StoreError) as seen:
            await step()
        if "0 of 1 replicas" in str(seen.value):
            return seen.value


async def done(step):
    """Send a step until it is confirmed, as its senders do. A busy machine can take longer than one wait."""
    return await resend(step, unsent_s=60, unsure_s=60)


@pytest.fixture
async def cases(stores):
    async with cases_on(stores[0], replicas=1) as cases:
        yield cases


async def test_a_write_that_has_its_reply_is_at_the_replica(stores, cases):
    made = await asyncio.gather(*(done(cases.new) for _ in range(50)))
    async with redis.asyncio.Redis(port=stores[1].port) as replica:
        for case in made:
            assert await replica.exists(keys.key(keys.partition_of(case.id), "case", case.id))


async def test_a_step_that_no_replica_confirms_is_unknown_also_when_it_is_sent_again_and_done_once(
    stores, cases, silent
):
    """The second attempt writes nothing. On another connection, a wait for what that has written ends at once."""
    case = await done(lambda: cases.new("record", CallMode.SINGLE))
    call_id = ids.new_call_id(case.id)
    with silent():
        for _ in range(3):
            async with cases_on(stores[0], replicas=1) as other:
                error = await unconfirmed(lambda other=other: other.claim(case, call_id))
            assert error.maybe_done
        assert (await read_case(cases.scripts, case.id)).call_count == 1  # it is done, and may be lost
    settled = await done(lambda: cases.claim(case, call_id))
    assert settled.call_id == call_id
    ((call,), _) = await list_calls(cases.scripts, case.id, before=None, limit=10)
    assert (call.id, call.status) == (call_id, CallStatus.SUCCEEDED)


async def test_reads_and_announcements_do_not_wait_for_replicas(cases, silent):
    before = confirmed(), confirmed("too_few")
    with silent():
        case = await read_case(cases.scripts, "a" * 32)
        assert case is None
        assert await cases.scripts.read(KEY, "GET", f"{KEY}:nothing") is None
        await announce_slots(cases.scripts, "replica", {})
    assert (confirmed(), confirmed("too_few")) == before


async def test_an_end_of_a_held_call_is_not_read_before_the_replica_has_it(cases, silent):
    """Otherwise its caller would get an answer, and the answer sent again a success, which a failover can undo."""
    case = await done(lambda: cases.new(answer_mode=AnswerMode.HOLD))
    call_id = ids.new_call_id(case.id)
    await done(lambda: cases.claim(case, call_id))
    with silent():
        assert (await read_held(cases.scripts, call_id)).status is CallStatus.RUNNING
        await unconfirmed(lambda: cases.finish(call_id))
        await unconfirmed(lambda: read_held(cases.scripts, call_id))
    held = await done(lambda: read_held(cases.scripts, call_id))
    assert held.status is CallStatus.SUCCEEDED


async def test_an_end_of_a_held_call_is_read_once_where_no_replica_must_have_it(stores, cases):
    case = await done(lambda: cases.new(answer_mode=AnswerMode.HOLD))
    call_id = ids.new_call_id(case.id)
    await done(lambda: cases.claim(case, call_id))
    await done(lambda: cases.finish(call_id))
    async with cases_on(stores[0]) as others:
        await others.client.config_resetstat()
        held = await read_held(others.scripts, call_id)
        sent = await others.client.info("commandstats")
    assert held.status is CallStatus.SUCCEEDED
    assert {name: sent[f"cmdstat_{name}"]["calls"] for name in ("hmget", "get")} == {"hmget": 1, "get": 1}
    assert not {"cmdstat_wait", "cmdstat_waitaof", "cmdstat_evalsha"} & sent.keys()


async def test_a_refused_command_at_the_head_of_a_batch_leaves_the_others_confirmed(stores):
    """A node of a cluster refuses commands about a slot that moves. Here, a user may not use the key."""
    other = "{cb:2}:number"
    async with redis.asyncio.Redis(port=stores[0].port) as plain:
        await plain.execute_command("ACL SETUSER", "limited", "on", ">word", "~{cb:1}*", "&*", "+@all")
        try:
            async with connect(f"redis://limited:word@127.0.0.1:{stores[0].port}") as client:
                pipeline = Pipeline(client, replicas=1)
                await done(lambda: sent(pipeline, KEY))
                for _ in range(2):
                    refused, *others = await asyncio.gather(
                        *(pipeline.send(key, *WRITE[:3], key, is_durable=True) for key in (other, KEY, KEY)),
                        return_exceptions=True,
                    )
                    assert isinstance(refused, redis.exceptions.NoPermissionError)
                    assert not any("could not be confirmed" in str(each) for each in others)
        finally:
            await plain.execute_command("ACL DELUSER", "limited")


async def sent(pipeline, key):
    """Send a write that is confirmed."""
    with store_errors():
        return await pipeline.send(key, *WRITE[:3], key, is_durable=True)


def confirmed(outcome="confirmed"):
    """Return how many batches had this outcome."""
    return REGISTRY.get_sample_value("callback_store_replication_seconds_count", {"outcome": outcome})


async def test_a_batch_is_counted_by_its_outcome(cases, silent):
    await done(cases.new)  # so that the store knows the script
    before = confirmed()
    await done(cases.new)
    assert confirmed() > before
    before, too_few = confirmed(), confirmed("too_few")
    with silent():
        await unconfirmed(cases.new)
    assert confirmed() == before
    assert confirmed("too_few") > too_few


async def test_a_refusal_belongs_to_one_command_and_a_cancelled_sender_disturbs_no_other(stores):
    async with connect(stores[0].url) as client:
        await done(Cases(client, replicas=1).new)
        pipeline = Pipeline(client, replicas=1)
        wrong = ("EVAL", "return redis.error_reply('ODD')", 1, KEY)

        async def replied():
            asked = [
                asyncio.ensure_future(pipeline.send(KEY, *(wrong if n % 3 == 1 else WRITE), is_durable=True))
                for n in range(30)
            ]
            await asyncio.sleep(0)  # they are sent
            for each in asked[::3]:
                each.cancel()
            kinds = [type(reply) for reply in await asyncio.gather(*asked, return_exceptions=True)]
            # On a busy machine, a replica can take longer than the wait for it.
            return [] if replication.NotReplicatedError in kinds else kinds

        kinds = await wait_until(replied, what="a batch that the replica confirms")
        assert kinds == [asyncio.CancelledError, redis.ResponseError, int] * 10


async def test_a_connection_that_is_lost_while_it_waits_leaves_the_step_unknown(stores):
    primary = stores[0]
    async with (
        Tunnel(f"127.0.0.1:{primary.port}") as tunnel,
        connect(f"redis://{tunnel.address}") as client,
        redis.asyncio.Redis(port=primary.port) as plain,
    ):
        pipeline = Pipeline(client, replicas=1)
        await plain.delete(KEY)

        async def is_done():
            return await plain.get(KEY) == b"1"

        with stopped(stores[1]):
            asked = asyncio.ensure_future(pipeline.send(KEY, *WRITE, is_durable=True))
            await wait_until(is_done, what="a store that has done it")
            tunnel.cut()
            with pytest.raises(StoreError) as unknown, store_errors():
                await asked
            assert unknown.value.maybe_done


async def test_a_full_store_confirms_the_steps_that_need_no_memory(stores, cases):
    case = await done(cases.new)
    call_id = ids.new_call_id(case.id)
    await done(lambda: cases.claim(case, call_id))
    with set_up(stores[0], maxmemory=1):
        assert await done(lambda: cases.finish(call_id))
        assert await done(lambda: cases.close(case.id))
    assert (await read_case(cases.scripts, case.id)).status is CaseStatus.CLOSED


async def test_a_replica_without_an_append_only_file_confirms_nothing(stores, cases):
    await done(cases.new)
    with set_up(stores[1], appendonly="no"):

        async def said():  # a busy replica can say too late that it has received it
            return "had the write on disk in time, and 1 had received it" in str(await unconfirmed(cases.new))

        await wait_until(said, what="a write that a replica has received")
    await done(cases.new)


# ---- Which stores are accepted ----


async def refusal(url, durability):
    """Return why a store is refused, or an empty text."""
    async with connect(url) as client:
        try:
            await check_store(client, Durability.parse(durability))
        except UnsafeStoreError as error:
            return str(error)
        return ""


def test_a_durability_is_one_of_four_and_names_how_many_replicas_it_waits_for():
    assert ServerSettings(store_durability="replicated:2").to_durability().replicas == 2
    assert ServerSettings(store_durability="everysec").to_durability() == Durability.parse("everysec")
    for wrong in ("replicated", "replicated:0", "replicated:10", "replicated:one", "never"):
        with pytest.raises(ValidationError, match="must be always, everysec, unchecked, or replicated:N"):
            ServerSettings(store_durability=wrong)


async def test_a_primary_with_more_replicas_than_are_waited_for_is_refused(stores, store_of):
    assert not await refusal(stores[0].url, "replicated:1")
    assert not await refusal(stores[0].url, "replicated:2")  # the other may come later
    await stores[2].follow(str(stores[0].address))
    seen = await refusal(stores[0].url, "replicated:1")
    with set_up(stores[2], replica_priority=0):  # no Sentinel elects it, but WAIT counts it
        assert await refusal(stores[0].url, "replicated:1") == seen
    stores[2].promote()
    async with redis.asyncio.Redis(port=stores[0].port) as plain:
        await wait_until(lambda: has_replicas(plain, 1), what="a primary without the third")
    assert seen == (
        "a primary has 2 replicas and store_durability replicated:1 waits for 1, so a failover can lose acknowledged "
        "calls; set store_durability replicated:2, or remove a replica, also one that is never elected"
    )


async def test_a_backup_and_a_second_connection_of_a_replica_are_no_more_replicas(stores):
    async with redis.asyncio.Redis(port=stores[0].port) as plain, contextlib.AsyncExitStack() as stack:
        # Until its data is sent, each stays connected.
        stack.enter_context(set_up(stores[0], repl_diskless_sync_delay=3600))
        for said in (f"listening-port {stores[1].port}", "rdb-only 1"):  # the second as `redis-cli --rdb` says
            reader, writer = await asyncio.open_connection("127.0.0.1", stores[0].port)
            stack.callback(writer.close)
            for replconf in (said, "capa eof"):  # without it, a primary does not wait, but sends the data at once
                writer.write(f"REPLCONF {replconf}\r\n".encode())
                assert await reader.readline() == b"+OK\r\n"
            writer.write(b"PSYNC ? -1\r\n")
        await wait_until(lambda: has_replicas(plain, 3), what="a primary with three connections")
        assert await known_replicas(plain, plain.execute_command) == 1
        assert not await refusal(stores[0].url, "replicated:1")


async def test_a_node_that_is_a_replica_now_is_waited_for_and_not_refused(stores):
    """A failover takes a moment, and leads to another node."""
    async with connect(stores[1].url) as client:
        with pytest.raises(StoreError, match="not the primary any more") as raised, refusals():
            await setting_problems(client, Durability.parse("replicated:1"))
        assert not raised.value.maybe_done


async def test_a_store_that_does_not_know_waitaof_is_refused(stores, store_of):
    async with redis.asyncio.Redis(port=store_of("redis").port) as plain:
        is_known = b"waitaof" in await plain.execute_command("COMMAND LIST")
    seen = await refusal(store_of("redis").url, "replicated:1")
    assert seen == (
        ""
        if is_known
        else "it does not know WAITAOF, which store_durability replicated needs; use Redis 7.2 or Valkey 7.2 or newer"
    )
    assert not await refusal(store_of("redis").url, "always")


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory):
    """Run a cluster of one primary and one replica, and a node that no cluster has."""
    launcher = Launcher(tmp_path_factory.mktemp("cluster"), store=program("valkey-cluster"))
    *nodes, spare = (Node(launcher, name) for name in ("primary", "replica", "spare"))
    cluster = Cluster(nodes, spares=[spare])
    async with cluster.running([range(SLOTS)]):
        yield cluster


async def test_in_a_cluster_replicas_are_waited_for_and_those_that_are_away_count_too(cluster, limits):
    primary, replica = cluster.nodes
    async with connect(cluster.url) as client:
        cases = Cases(client, replicas=1)
        case = await done(cases.new)
        async with redis.asyncio.Redis(port=replica.address.port) as plain:
            await plain.readonly()
            assert await plain.exists(keys.key(keys.partition_of(case.id), "case", case.id))
        async with redis.asyncio.Redis(port=primary.address.port) as plain:
            ask = plain.execute_command
            assert await known_replicas(client, ask) == 1
            with stopped(replica):
                await plain.client_kill_filter(_type="replica")
                await wait_until(lambda: has_replicas(plain, 0), what="a primary without replicas")
                assert await known_replicas(client, ask) == 1
                limits(replication, WAIT_MS=20, WAITAOF_MS=20)
                await unconfirmed(cases.new)


async def test_a_replica_of_a_cluster_that_is_never_elected_must_be_waited_for_too(cluster):
    """WAIT and WAITAOF count it, in place of the one that is elected and does not have the step."""
    (primary, replica), (other,) = cluster.nodes, cluster.spares
    with set_up(other, cluster_replica_no_failover="yes"):
        await cluster.add_spares(primary)

        async def is_known():
            lines = await primary.execute("CLUSTER", "REPLICAS", await primary.id())
            return any(other_id in line and "nofailover" in line for line in lines)

        other_id = await other.id()
        await wait_until(is_known, what="a replica that is never elected")
        assert "a primary has 2 replicas" in await refusal(cluster.url, "replicated:1")
        assert not await refusal(cluster.url, "replicated:2")
        with stopped(replica):
            async with cases_on(cluster, replicas=1) as cases:
                with pytest.raises(StoreError, match="2 replicas are attached, and 1 must confirm a write"):
                    await cases.new()
        await cluster.remove_spares()


async def has_replicas(plain, count):
    """Return whether this many replicas are attached to a node."""
    return (await plain.info("replication"))["connected_slaves"] == count


# ---- While servers run ----


async def test_the_doctor_says_how_many_replicas_there_are_and_what_keeps_unconfirmed_writes_away(stores):
    async def finding(durability, **settings):
        with set_up(stores[0], **settings):
            settings = ServerSettings(store_url=stores[0].url, store_durability=durability)
            found = [each async for each in doctor.check_store(settings) if each.check == "store replicas"]
        return (found[0].level, f"{found[0].seen}; {found[0].advice}") if found else None

    assert await finding("always", min_replicas_to_write=1) == (Level.OK, "1 attached; ")
    level, text = await finding("always")
    assert (level, "set min-replicas-to-write 1 on every node, or" in text) == (Level.WARNING, True)
    assert await finding("replicated:1", min_replicas_to_write=1) == (Level.OK, "1 attached; ")
    level, text = await finding("replicated:1")
    assert (level, "set min-replicas-to-write 1 on every node" in text) == (Level.WARNING, True)
    level, text = await finding("replicated:2")
    assert (level, "1 attached, and store_durability replicated:2 waits for 2" in text) == (Level.PROBLEM, True)


@pytest.fixture
def probed(limits):
    """Return a context in which a store is probed all the time. It yields the lines of the log."""
    limits(health, CHECK_INTERVAL_S=0, PROBE_INTERVAL_S=0.01)

    @contextlib.asynccontextmanager
    async def probed(url, report, scripts=None):
        async with connect(url) as client, TaskSet() as tasks:
            probe = StoreProbe(
                scripts or Cases(client).scripts,
                Recording(),
                Epochs(),
                durability=Durability.parse("always"),
                tolerance_s=600,
                report=report,
            )
            with capture_logs() as logs:
                tasks.start(probe.run())
                yield logs

    return probed


async def test_a_store_that_is_not_safe_any_more_is_reported_until_it_is_again(stores, probed):
    """After a failover, the primary is a node with settings of its own."""
    reported, health = collections.deque(maxlen=1), Health(lambda _is_ready: None)

    def report(is_up):
        reported.append(is_up)
        health.set_store_up(is_up)

    async with probed(stores[0].url, report):
        await wait_until(lambda: reported and reported[0], what="a store that is up")
        with set_up(stores[0], appendfsync="everysec"):
            await wait_until(lambda: not reported[0], what="a store that is not safe")
            assert "see store_unsafe" in await health.why_not_ready()
        await wait_until(lambda: reported[0], what="a store that is safe again")
        assert not await health.why_not_ready()


async def test_a_store_that_is_known_to_be_unsafe_acknowledges_nothing(stores, probed):
    async with cases_on(stores[0]) as cases:
        case = await cases.new()
        async with probed(stores[0].url, lambda _is_up: None, cases.scripts):
            with set_up(stores[0], appendfsync="everysec"):
                await wait_until(lambda: cases.scripts.unsafe, what="a store that is known to be unsafe")
                with pytest.raises(StoreError, match="the store is not safe: appendfsync is everysec") as refused:
                    await cases.new()
                assert not refused.value.maybe_done
                assert await read_case(cases.scripts, case.id)
            await wait_until(lambda: not cases.scripts.unsafe, what="a store that is safe again")
        under_way = asyncio.create_task(cases.new())
        await asyncio.sleep(0)  # the step begins
        cases.scripts.unsafe = "appendfsync is everysec"
        with pytest.raises(StoreError, match="the store is not safe") as refused:
            await under_way
        assert refused.value.maybe_done


async def test_a_fault_in_the_check_of_the_settings_does_not_end_the_probe(stores, probed):
    reported = []
    async with StoreProxy(stores[0], lambda _command: False) as proxy:
        proxy.change = lambda reply: reply.replace(b"_version:", b"_versiom:")  # fields that the check does not find
        async with probed(proxy.url, reported.append) as logs:
            await wait_until(lambda: len(reported) > 2, what="a probe that goes on")
    assert all(reported)
    assert {each["event"] for each in logs} == {"store_probe_failed"}


async def test_a_store_whose_settings_become_hidden_is_logged_once_and_stays_safe(stores, probed):
    reported = []

    async with redis.asyncio.Redis(port=stores[0].port) as plain:
        await plain.execute_command("ACL SETUSER", "limited", "on", ">word", "~*", "&*", "+@all", "-config")
        try:
            async with probed(f"redis://limited:word@127.0.0.1:{stores[0].port}", reported.append) as logs:
                await wait_until(lambda: len(reported) > 2, what="a store that was checked")
        finally:
            await plain.execute_command("ACL DELUSER", "limited")
    assert all(reported)
    assert [each["event"] for each in logs] == ["store_settings_hidden"]

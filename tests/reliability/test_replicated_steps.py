"""A primary is lost before its replica has everything, and comes back later: what was acknowledged is not lost.

With `always`, a failover does lose, and says how many steps. An old primary that comes back takes nothing with any
`store_durability`.
"""

import asyncio
import contextlib

import httpx
import pytest
import redis.asyncio
from reliability.test_store_loss import Acknowledged, healthy
from soak.counts import count
from support.replicas import follows, running_stores
from support.system import running_system
from support.wait import wait_until

from callback import Response, UnavailableError
from callback_prove.tunnel import Tunnel
from callback_server.store import keys


@contextlib.asynccontextmanager
async def load(system, seen):
    """Let callers create and call cases in the body."""
    stopping = asyncio.Event()
    running = asyncio.create_task(seen.callers(system, stopping))
    try:
        yield running
    finally:
        stopping.set()
        await running


async def more(seen, running, name, number):
    """Wait until this many more requests had a result."""
    goal = seen.answers[name] + number
    await wait_until(lambda: running.done() or seen.answers[name] >= goal, what=f"results {name}")


async def recorded_losses(plain):
    """Return how many lost steps a store has recorded."""
    recorded = [await plain.hvals(keys.key(partition, "losses")) for partition in range(keys.PARTITIONS)]
    return sum(int(value.split(b":")[0]) for values in recorded for value in values)


async def is_recorded(plain, steps):
    """Return whether a store has recorded that this many steps are lost."""
    return await recorded_losses(plain) == steps


async def has_opened_all(plain):
    """Return whether the second epoch of every partition has begun on a store."""
    begun = [await plain.hexists(keys.key(partition, "epochs"), "2") for partition in range(keys.PARTITIONS)]
    return all(begun)


def steps_gone(first, second):
    """Start the lost primary again, and return how many of its events the next one did not have."""
    first.start()
    gone = 0
    with redis.Redis(port=first.port) as old, redis.Redis(port=second.port) as new:
        for partition in range(keys.PARTITIONS):
            (newest, *_) = old.xrevrange(keys.key(partition, "events"), count=1) or [(b"0-0", {})]
            begun = new.hget(keys.key(partition, "epochs"), "2")
            gone += int(newest[0][2:]) - int(begun.rpartition(b":")[2])
    return gone


async def failover(tmp_path, handler, durability):
    """Lose a primary whose replica does not get the last steps. Return what was acknowledged, and what is lost."""
    seen, is_replicated = Acknowledged(), durability == "replicated:1"
    with running_stores(tmp_path, 3) as (first, second, third):
        async with (
            Tunnel(f"127.0.0.1:{first.port}") as link,
            Tunnel(f"127.0.0.1:{first.port}") as address,
            redis.asyncio.Redis(port=second.port) as plain,
        ):
            await follows(second, link.address)
            async with running_system(
                tmp_path,
                first,
                store_url=f"redis://{address.address}",
                config=handler.config,
                server={"CALLBACK_STORE_DURABILITY": durability},
            ) as system:
                async with load(system, seen) as running:
                    await more(seen, running, 200, 20)
                    link.is_losing_answers = True
                    await more(seen, running, *(("no URL", 5) if is_replicated else (200, 20)))
                    first.kill()
                    await plain.replicaof("NO", "ONE")
                    await follows(third, f"127.0.0.1:{second.port}")
                    address.target = f"127.0.0.1:{second.port}"
                    address.cut()
                    await more(seen, running, 200, 20)
                await healthy(system)
                missing = await seen.lost(system)
                await wait_until(lambda: has_opened_all(plain), what="an epoch of every partition")
                seen.noticed = sum(event["steps"] for event in system.server.events("steps_lost"))
                await wait_until(lambda: is_recorded(plain, seen.noticed), what="the record of what is lost")
                seen.gone = await asyncio.to_thread(steps_gone, first, second)
                print(f"\n{durability}: of {seen.gone} steps that only the primary had, {seen.noticed} were seen")
                print(f"{durability}: {len(seen.cases)} cases, answers {dict(seen.answers)}; lost {len(missing)}")
                return seen, missing


async def test_a_primary_that_dies_before_its_replica_has_the_steps_loses_nothing_acknowledged(tmp_path, handler):
    for n in range(count(1, 20)):
        (tmp_path / str(n)).mkdir()
        seen, missing = await failover(tmp_path / str(n), handler, "replicated:1")
        assert not missing
        assert seen.noticed == 0
        assert set(seen.answers) <= seen.FINE
    assert max(handler.starts.values()) == 1


async def test_the_same_loss_of_a_primary_does_lose_without_replicated_and_says_how_much(tmp_path, handler):
    seen, missing = await failover(tmp_path, handler, "always")
    assert {what for what, _ in missing} & {"case", "close", "call"}
    assert len(missing) <= seen.noticed <= seen.gone


async def returning_primary(tmp_path, durability, urls):
    """Lead a server back to an old primary for a while. Return how many URLs it acknowledged there, and lost."""
    with running_stores(tmp_path, 3) as (first, second, third):
        await follows(second, f"127.0.0.1:{first.port}")
        async with (
            Tunnel(f"127.0.0.1:{first.port}") as address,
            redis.asyncio.Redis(port=second.port) as plain,
            running_system(
                tmp_path,
                first,
                store_url=f"redis://{address.address}",
                server={"CALLBACK_STORE_DURABILITY": durability},
            ) as system,
        ):

            async def lead_to(store):
                address.target = f"127.0.0.1:{store.port}"
                address.cut()

            await system.client.generate_callback_url("record", Response("before"))
            await plain.replicaof("NO", "ONE")
            await follows(third, f"127.0.0.1:{second.port}")
            await lead_to(second)
            await healthy(system)
            await system.client.generate_callback_url("record", Response("between"))
            await lead_to(first)
            made = []

            async def make():
                with contextlib.suppress(UnavailableError):
                    made.append((await system.client.generate_callback_url("record", Response("ok"))).url)

            await asyncio.gather(*(make() for _ in range(urls)))
            if durability == "always":
                await wait_until(lambda: system.server.events("store_refused"), what="the refusal")
                async with httpx.AsyncClient() as http:
                    assert (await http.get(f"http://{system.server.facts['admin']}/readyz")).status_code == 503
            await lead_to(second)
            await healthy(system)
            answers = [(await system.http.post(url)).status_code for url in made]
            print(
                f"\n{durability}: {len(made)} of {urls} URLs acknowledged by the old primary, {answers.count(404)} lost"
            )
            return len(made), answers.count(404)


@pytest.mark.parametrize("durability", ["replicated:1", "always"])
async def test_an_old_primary_that_comes_back_acknowledges_nothing(tmp_path, durability):
    assert await returning_primary(tmp_path, durability, 38) == (0, 0)

"""A primary is lost before its replica has everything, and comes back later: what was acknowledged is not lost.

Only with `store_durability = "replicated:1"`. The same tests with `always` do lose, which proves them.
"""

import asyncio
import contextlib

import redis.asyncio
from reliability.test_store_loss import Acknowledged, healthy
from soak.counts import count
from support.proxy import Tunnel
from support.replicas import follows, running_stores
from support.system import running_system
from support.wait import wait_until

from callback import Response, UnavailableError


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
                print(f"\n{durability}: {len(seen.cases)} cases, answers {dict(seen.answers)}; lost {len(missing)}")
                return seen, missing


async def test_a_primary_that_dies_before_its_replica_has_the_steps_loses_nothing_acknowledged(tmp_path, handler):
    for n in range(count(1, 20)):
        (tmp_path / str(n)).mkdir()
        seen, missing = await failover(tmp_path / str(n), handler, "replicated:1")
        assert not missing
        assert set(seen.answers) <= seen.FINE
    assert max(handler.starts.values()) == 1


async def test_the_same_loss_of_a_primary_does_lose_without_replicated(tmp_path, handler):
    _, missing = await failover(tmp_path, handler, "always")
    assert {what for what, _ in missing} & {"case", "close", "call"}


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
            await lead_to(second)
            await healthy(system)
            answers = [(await system.http.post(url)).status_code for url in made]
            print(
                f"\n{durability}: {len(made)} of {urls} URLs acknowledged by the old primary, {answers.count(404)} lost"
            )
            return len(made), answers.count(404)


async def test_an_old_primary_that_comes_back_acknowledges_nothing(tmp_path):
    assert await returning_primary(tmp_path, "replicated:1", 38) == (0, 0)


async def test_without_replicated_an_old_primary_that_comes_back_acknowledges_what_is_then_lost(tmp_path):
    acknowledged, lost = await returning_primary(tmp_path, "always", 38)
    assert 0 < acknowledged == lost

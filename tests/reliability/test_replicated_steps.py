"""A primary is lost before its replica has everything, and comes back later: servers say so, and refuse it.

That nothing is lost with `replicated`, whatever callers do meanwhile, is a proof: `callback prove failover`.
"""

import asyncio

import pytest
import redis.asyncio
from support.replicas import running_stores
from support.system import running_system
from support.wait import wait_until

from callback import Response, UnavailableError
from callback_prove.tunnel import Tunnel
from callback_server.store import keys

LOST = 20
"""Number of steps that the replica does not get."""


async def recorded_losses(plain):
    """Return how many lost steps a store has recorded."""
    recorded = [await plain.hvals(keys.key(partition, "losses")) for partition in range(keys.PARTITIONS)]
    return sum(int(value.split(b":")[0]) for values in recorded for value in values)


async def test_a_failover_that_loses_steps_says_how_many_and_the_old_primary_is_refused(tmp_path):
    with running_stores(tmp_path, 2) as (first, second):
        async with (
            Tunnel(f"127.0.0.1:{first.port}") as link,
            Tunnel(f"127.0.0.1:{first.port}") as address,
            redis.asyncio.Redis(port=second.port) as plain,
        ):
            await second.follow(link.address)
            async with running_system(tmp_path, first, store_url=f"redis://{address.address}") as system:

                async def generate():
                    try:
                        return await system.client.generate_callback_url("record", Response("ok"))
                    except UnavailableError:
                        return None

                async def is_ready():
                    return (await system.server.admin("/readyz")).status_code == 200

                link.is_losing_answers = True
                lost = [await generate() for _ in range(LOST)]
                first.kill()
                second.promote()
                address.lead_to(f"127.0.0.1:{second.port}")
                await wait_until(generate, what="a primary that accepts steps")

                async def steps_that_are_told():
                    told = sum(event["steps"] for event in system.server.events("steps_lost"))
                    return told if told >= LOST and await recorded_losses(plain) == told else None

                await wait_until(steps_that_are_told, what="the lost steps")
                assert {(await system.http.post(each.url)).status_code for each in lost} == {404}

                await asyncio.to_thread(first.start)
                address.lead_to(f"127.0.0.1:{first.port}")
                await wait_until(lambda: system.server.events("store_refused"), what="the refusal")
                assert not await is_ready()
                with pytest.raises(UnavailableError):
                    await system.client.generate_callback_url("record", Response("ok"))
                address.lead_to(f"127.0.0.1:{second.port}")
                await wait_until(is_ready, what="a server that is ready again")
                made = await wait_until(generate, what="a primary that accepts steps")
                await asyncio.to_thread(system.edge.require_healthy)
                assert (await system.http.post(made.url)).status_code == 200

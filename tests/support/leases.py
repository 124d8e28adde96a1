"""Timeouts without waiting: moves the ends of leases and expiries in the store, as if an hour had passed."""

import redis.asyncio

LONG_AGO_MS = 10


async def end_leases(store):
    """End the lease of every running call, and return how many there were."""
    ended = 0
    async with redis.asyncio.Redis(port=store.port) as client:
        async for key in client.scan_iter("*:leases"):
            calls = await client.zrange(key, 0, -1)
            if calls:
                await client.zadd(key, dict.fromkeys(calls, LONG_AGO_MS), xx=True)
            ended += len(calls)
    return ended


async def expire_cases(store):
    """Make every case expire that can expire, and return how many there were."""
    expired = 0
    async with redis.asyncio.Redis(port=store.port) as client:
        async for key in client.scan_iter("*:expiries"):
            cases = await client.zrange(key, 0, -1)
            await client.zadd(key, dict.fromkeys(cases, LONG_AGO_MS), xx=True)
            for case_id in cases:
                await client.hset(key.replace(b"expiries", b"case:" + case_id), "expires", LONG_AGO_MS)
            expired += len(cases)
    return expired


async def end_leases_of_deliveries(store):
    """Make every delivery due, and return how many there are."""
    due = 0
    async with redis.asyncio.Redis(port=store.port) as client:
        async for key in client.scan_iter("*:due:*"):
            calls = await client.zrange(key, 0, -1)
            if calls:
                await client.zadd(key, dict.fromkeys(calls, LONG_AGO_MS), xx=True)
            due += len(calls)
    return due

"""Timers of cases that a test makes due, in place of waiting for their time."""

from callback_server.store import keys

LONG_AGO_MS = 20
"""A time that has passed, in milliseconds since the epoch."""


def _key(case_id, name, *parts):
    return keys.key(keys.partition_of(case_id), name, *parts)


async def make_reminder_due(client, case_id):
    """Make the next reminder of a case due now."""
    assert await client.zadd(_key(case_id, "reminders"), {case_id: LONG_AGO_MS}, xx=True, ch=True) == 1


async def make_expiry_due(client, case_id):
    """Make the expiry of a case due now."""
    await client.hset(_key(case_id, "case", case_id), "expires", LONG_AGO_MS)
    assert await client.zadd(_key(case_id, "expiries"), {case_id: LONG_AGO_MS}, xx=True, ch=True) == 1


TIMES_OF_CASES = ("expires", "closed", "repeats_until")
TIMES_OF_CALLS = ("start", "end", "delivery_start", "next")
BY_TIME = (
    "leases",
    "reminders",
    "expiries",
    "closed",
    "ended",
    "due",
    "notification_due",
    "waiting",
    "dead",
    "answers",
)
"""The sorted sets whose scores are times in milliseconds."""
BY_CREATION = ("index", "label")
"""The same in microseconds."""


async def move_clock(client, ms):
    """Make the store as if its clock had jumped by `ms` milliseconds, forward if they are positive.

    All times that are stored move the other way. Keys that expire by themselves stay as they are.
    """
    async for key in client.scan_iter(count=1000):
        name = key.decode().partition("}:")[2].partition(":")[0]
        if name in BY_TIME or name in BY_CREATION:
            step = ms * 1000 if name in BY_CREATION else ms
            scores = await client.zrange(key, 0, -1, withscores=True)
            await client.zadd(key, {member: int(score) - step for member, score in scores})
        elif name in ("case", "call"):
            times = TIMES_OF_CASES if name == "case" else TIMES_OF_CALLS
            stored = dict(zip(times, await client.hmget(key, *times), strict=True))
            moved = {time: int(value) - ms for time, value in stored.items() if value}
            if name == "case":
                moved["created"] = int(await client.hget(key, "created")) - ms * 1000
            if moved:
                await client.hset(key, mapping=moved)

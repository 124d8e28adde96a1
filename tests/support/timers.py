"""Timers of cases that a test makes due, in place of waiting for their time."""

import itertools

from callback_server.store import keys

LONG_AGO_MS = 20
"""A time that has passed, in milliseconds since the epoch."""


def _key(case_id, name, *parts):
    return keys.key(keys.partition_of(case_id), name, *parts)


async def make_reminder_due(client, *case_ids):
    """Make the next reminder of each of these cases due now."""
    pipeline = client.pipeline(transaction=False)
    for case_id in case_ids:
        pipeline.zadd(_key(case_id, "reminders"), {case_id: LONG_AGO_MS}, xx=True, ch=True)
    assert set(await pipeline.execute()) == {1}


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


MOVE_SCORES = """
local found = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #found, 2 do
  redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', found[i + 1] - ARGV[1]), found[i])
end
"""
MOVE_FIELDS = """
for i = 1, #ARGV, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value and value ~= '' then
    redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f', value - ARGV[i + 1]))
  end
end
"""


async def move_clock(client, ms):
    """Make the store as if its clock had jumped by `ms` milliseconds, forward if they are positive.

    All times that are stored move the other way. Keys that expire by themselves stay as they are. Each key moves in one
    step, because servers change it meanwhile, and once, although a scan can return it twice.
    """
    for key in {key async for key in client.scan_iter(count=1000)}:
        name = key.decode().partition("}:")[2].partition(":")[0]
        if name in BY_TIME:
            await client.eval(MOVE_SCORES, 1, key, ms)
        elif name in BY_CREATION:
            await client.eval(MOVE_SCORES, 1, key, ms * 1000)
        elif name == "call":
            await client.eval(MOVE_FIELDS, 1, key, *itertools.chain(*((time, ms) for time in TIMES_OF_CALLS)))
        elif name == "case":
            times = itertools.chain(*((time, ms) for time in TIMES_OF_CASES))
            await client.eval(MOVE_FIELDS, 1, key, "created", ms * 1000, *times)

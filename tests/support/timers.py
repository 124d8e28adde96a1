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

"""Loads many cases into a store, through the scripts of a server, with many commands per pipeline."""

import asyncio

import redis.asyncio
from support.wait import wait_until

from callback_server.domain import ids
from callback_server.domain.activity import Leases
from callback_server.domain.call import Request, identity_of
from callback_server.domain.guard import RequestIntent
from callback_server.domain.verification import UNVERIFIED
from callback_server.store import keys
from callback_server.store.recording import Recording
from callback_server.store.transitions import claim_call, close_case, create_cases

_BATCH = 2_000
_LOADERS = 3
_REWRITE_AT = "auto-aof-rewrite-percentage"


class _Batch:
    """Stand-in for `Scripts` that collects script runs, and sends them in one pipeline."""

    names_bodies = True  # as a server does once no other needs copies

    def __init__(self, client):
        self._pipeline = client.pipeline(transaction=False)

    async def run(self, script, partition=None, /, **arguments):
        tag = keys.tag(keys.partition_of(arguments["case_id"]) if partition is None else partition)
        seen = 0, 0  # no step
        self._pipeline.execute_command("EVALSHA", script.sha, 1, tag, *script.pack(**arguments), *seen)
        if script is create_cases.SCRIPT:
            return [[b"OK", 0]] * len(arguments["cases"])
        return [b"UNKNOWN"] if script is claim_call.SCRIPT else [b"OK", 0]

    async def send(self):
        await self._pipeline.execute()


async def load(store, numbers, case, *, is_closed=lambda number: False):
    """Store `case(number)`, a `NewCase`, for each of a range of numbers, and close those that `is_closed(number)`.

    Meanwhile the store does not rewrite its append-only file each time that it doubles. It rewrites the file once at
    the end, and this function returns after that. A rewrite during the measurement would share the processor, and each
    page that a call changes would be copied.
    """
    batches = iter(range(numbers.start, numbers.stop, _BATCH))

    async def load_batches(client):
        for first in batches:
            batch = _Batch(client)
            for number in range(first, min(first + _BATCH, numbers.stop)):
                new = case(number)
                await create_cases.create_cases(batch, [new], recording=Recording())
                if is_closed(number):
                    await close_case.close_case(batch, new.id, owner=None, recording=Recording())
            await batch.send()

    async with redis.asyncio.Redis(port=store.port, socket_timeout=120) as client:
        for script in (create_cases.SCRIPT, close_case.SCRIPT):
            await client.script_load(script.source)
        growth = await client.config_get(_REWRITE_AT)
        await client.config_set(_REWRITE_AT, 0)
        await asyncio.gather(*(load_batches(client) for _ in range(_LOADERS)))
        await client.bgrewriteaof()
        await wait_until(lambda: _is_at_rest(client), deadline_s=600, what="the store's file to be written anew")
        await client.config_set(_REWRITE_AT, growth[_REWRITE_AT])


async def _is_at_rest(client):
    told = await client.info("persistence")
    return not told["aof_rewrite_in_progress"] and not told["aof_rewrite_scheduled"]


async def load_calls(store, state, number, body):
    """Make so many calls of a callback, by its state. Their deliveries wait if its activity is paused."""
    sha = ids.state_hash(state)
    async with redis.asyncio.Redis(port=store.port, socket_timeout=120) as client:
        await client.script_load(claim_call.SCRIPT.source)
        for first in range(0, number, _BATCH):
            batch = _Batch(client)
            for n in range(first, min(first + _BATCH, number)):
                request = Request("post", body=body, query_string=f"n={n}")
                await claim_call.claim_call(
                    batch, call_id=ids.new_call_id(ids.case_id_of(sha)), state_sha256=sha, parameter="",
                    request=request, sent=identity_of(request), intent=RequestIntent.CALL, verification=UNVERIFIED,
                    leases=Leases({}), recording=Recording(), platform_url=None, calls_per_minute=None,
                    limited_owners=[], replica="", can_deliver=False,
                )  # fmt: skip
            await batch.send()

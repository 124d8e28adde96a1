"""The memory of edge and server stays flat under hang-ups, refusals, repeats, large bodies and large answers.

A soak goes on for an hour. The resident memory of both processes is printed.
"""

import asyncio
import itertools
import time
import uuid
from urllib.parse import urlsplit

import pytest
from soak.counts import count
from support.edge import http_request, resident_bytes, send_raw
from support.system import is_idle, running_system
from support.wait import wait_until

from callback import AnswerMode, CallFilter, Response

MIB = 1 << 20
LEAST_ROUNDS = 4
DURATION_S = count(1, 3600)
AT_ONCE = 10
"""Number of requests of each kind in a round."""
SPREAD = 48 * MIB
"""How much the memory may rise after the warm-up: less than one round takes that keeps its bodies."""
SECRET = "a secret that the senders of this test do not have"


async def send(port, request):
    """Send a request, and return its status once all of its answer is here."""
    return int((await send_raw(port, request))[9:12])


async def hang_up(port, request, *, answer_bytes=0):
    """Send a request or a part of it, take that many bytes of its answer, and hang up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    if answer_bytes:
        await reader.readexactly(answer_bytes)
    writer.transport.abort()


@pytest.fixture
async def system(tmp_path, store, handler):
    """Run a system whose edge knows its callers, with a profile whose secret is in a header, and one that signs."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    config = f"""
{handler.config}
[profiles.header]
kind = "shared-secret"
header = "x-secret"
secret_files = ["{secret}"]
[profiles.signed]
kind = "github"
secret_files = ["{secret}"]
"""
    edge = {"CALLBACK_EDGE_TRUSTED_PROXIES": "[]", "CALLBACK_EDGE_UNKNOWN_STATES_PER_MINUTE_PER_ADDRESS": "0"}
    async with running_system(tmp_path, store, config=config, edge=edge) as running:
        yield running


async def test_memory_is_flat_under_hang_ups_refusals_repeats_and_large_bodies(system, handler):
    port = urlsplit(system.url).port
    body, answer = b"x" * MIB, Response(b"ok")

    async def generate(activity="record", response=answer, **options):
        made = await system.client.generate_callback_url(activity, response, **options)
        return made, http_request(urlsplit(made.url).path, "POST", [], body)

    async def echo(call):
        return Response(call.body)

    handler.script = echo
    closed, to_closed = await generate()
    await system.client.close_callback(closed.case_id)
    _, unverified = await generate(verification_profile="header")
    _, badly_signed = await generate(verification_profile="signed")
    unknown = http_request(f"/cb/{uuid.uuid4()}", "POST", [], body)
    refused = {to_closed: 410, unknown: 404, unverified: 401, badly_signed: 401}
    seen = {"edge": [], "server": []}
    end = time.monotonic() + DURATION_S
    for number in itertools.count():
        if number >= LEAST_ROUNDS and time.monotonic() > end:
            break
        accepting, taken = await generate(allow_multiple_calls=True)
        working, handled = await generate("work", allow_multiple_calls=True)
        large, _ = await generate(response=Response(body), allow_multiple_calls=True)
        get_large = http_request(urlsplit(large.url).path)
        holder, first = await generate("held", answer_mode=AnswerMode.HOLD)
        busy = http_request(urlsplit(holder.url).path, "POST", [], body[1:])
        holding = asyncio.create_task(send(port, first))
        (held,) = await wait_until(lambda: waiting_calls(system))
        for asked, status in (refused | {taken: 200, handled: 200, get_large: 200, busy: 409}).items():
            assert set(await asyncio.gather(*(send(port, asked) for _ in range(AT_ONCE)))) == {status}
        for asked in (taken[:-1], taken, handled, to_closed, badly_signed):
            await asyncio.gather(*(hang_up(port, asked) for _ in range(AT_ONCE)))
        await asyncio.gather(*(hang_up(port, get_large, answer_bytes=1000) for _ in range(AT_ONCE)))
        repeating = [asyncio.create_task(send(port, first)) for _ in range(AT_ONCE)]
        await system.client.answer_call(held.call_id)
        assert set(await asyncio.gather(holding, *repeating)) == {200}
        for each in (accepting, working, large, holder):  # the store keeps some 60 MiB of each round otherwise
            await system.client.erase_calls(each.case_id)
        seen["edge"].append(resident_bytes(system.edge.process.pid))
        seen["server"].append(resident_bytes(system.server.process.pid))
    await wait_until(lambda: is_idle(system.edge))

    for name, sizes in seen.items():
        rounds, warm_up = len(sizes), len(sizes) // 3
        step = max(1, rounds // 10)
        parts = [[size // MIB for size in sizes[at : at + step]] for at in range(0, rounds, step)]
        spans = ", ".join(f"{min(part)} to {max(part)}" for part in parts)
        print(f"{name}, MiB resident in {rounds} rounds: {spans}")
        assert max(sizes[warm_up:]) - sizes[warm_up] < SPREAD, name


async def waiting_calls(system):
    """Return the held calls that wait for their answers."""
    return [call async for call in system.client.list_owner_calls(CallFilter.WAITING)]

"""Fuzz test of the edge: for any bytes it responds or closes the connection in time, and no process breaks.

`CALLBACK_FUZZ_SEED` repeats a run. `payload(seed, n, targets)` repeats a single connection.
"""

import asyncio
import contextlib
import os
import random
import re
import time
from collections import Counter

from hardening.fuzz import payload
from hardening.profiles import PROFILES
from soak.counts import count
from support.edge import resident_bytes

from callback import GetGuard, Response

CONNECTIONS = count(1_500, 1_000_000)
AT_ONCE = 48
BOUND_S = 120
"""Deadline: 10 s for the head, 1 s for the body and 2 s idle in these tests, 2 s to discard the rest, and a margin
under load."""
EXPECTED = {100, 200, 204, 400, 401, 404, 405, 408, 410, 413, 431, 501, 503, 505}
"""A prefetch gets a 503; a closed case for one call gets a 410."""
_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")


async def cases_of(client):
    """Return the addresses of cases of every kind. Most of these cases stay open."""
    kinds = [
        {"allow_multiple_calls": True},
        {"allow_multiple_calls": True, "state_query_parameter": "state"},
        {"allow_multiple_calls": True, "get_guard": GetGuard.CONFIRM},
        {"allow_multiple_calls": True, "get_guard": GetGuard.DETECT},
        *({"allow_multiple_calls": True, "verification_profile": profile} for profile in PROFILES),
        {},
    ]
    return [await client.generate_callback_url("record", Response("ok"), **kind) for kind in kinds]


async def answered(port, pieces, is_ended):
    """Send the pieces, and return all bytes until the edge closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        if is_ended and writer.can_write_eof():
            writer.write_eof()
        return await reader.read()
    except OSError:
        return b""  # the edge closed while the client was still sending
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_no_bytes_break_or_block_the_edge(system):
    seed = os.environ.get("CALLBACK_FUZZ_SEED") or f"{random.SystemRandom().getrandbits(64):x}"
    print(f"\nCALLBACK_FUZZ_SEED={seed}")
    cases = await cases_of(system.client)
    targets = [case.url.removeprefix(system.url) for case in cases]
    port = int(system.url.rpartition(":")[2])
    numbers, statuses, sizes = iter(range(CONNECTIONS)), Counter(), []
    processes = (system.edge.process.pid, system.server.process.pid)

    async def sender():
        for n in numbers:
            pieces, is_ended = payload(seed, n, targets)
            try:
                async with asyncio.timeout(BOUND_S):
                    raw = await answered(port, pieces, is_ended)
            except TimeoutError:
                said = f"connection {n} of seed {seed} was neither answered nor closed: {b''.join(pieces)!r:.2000}"
                raise AssertionError(said) from None
            found = [int(code) for code in _STATUS_LINE.findall(raw)]
            statuses.update(found or ["closed"])
            assert EXPECTED.issuperset(found), f"connection {n} of seed {seed}: {found} for {b''.join(pieces)!r:.2000}"
            if n % max(1, CONNECTIONS // 20) == 0:
                sizes.append([resident_bytes(pid) for pid in processes])

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(sender())
    took = time.monotonic() - began
    assert (await system.http.get(cases[0].url)).text == "ok"
    sizes.append([resident_bytes(pid) for pid in processes])
    megabytes = [[size >> 20 for size in each] for each in zip(*sizes, strict=True)]
    print(f"{CONNECTIONS} connections in {took:.0f} s: {dict(statuses.most_common())}")
    print(f"MiB of the edge {megabytes[0]}, of the server {megabytes[1]}")
    assert statuses[200] > CONNECTIONS / 20  # the run has enough valid requests
    warm = len(sizes) // 4
    for each in megabytes:
        assert max(each) - each[warm] < 64

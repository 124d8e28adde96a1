"""A webhook resolves the callback on which a visitor waits: the visitor gets its outcome, in both orders."""

import asyncio
import random

from soak.counts import count
from support.system import running_system

from callback import CallStatus, CloseReason, Redirect, Response

AT_ONCE = 5
APART_S = 0.001
"""The webhook and the visitor come within this time of each other, in seconds."""


async def test_a_visitor_always_gets_the_outcome_of_the_webhook_within_a_millisecond_in_both_orders(tmp_path, store):
    pairs = count(15, 500)
    gaps = random.Random(5)  # the same gaps in each run
    async with running_system(tmp_path, store) as system:

        async def race(number):
            case = await system.client.generate_callback_url("form", Response())
            paid = Redirect(f"https://shop.example/paid/{number}")
            visitor_first, gap_s = number % 2 == 0, gaps.uniform(0, APART_S)

            async def visit():
                await asyncio.sleep(0 if visitor_first else gap_s)
                return await system.http.get(case.url, headers={"Connection": "close"})

            async def resolve():
                await asyncio.sleep(gap_s if visitor_first else 0)
                return await system.client.resolve_callback(case.case_id, paid)

            got, _ = await asyncio.gather(visit(), resolve())
            assert (got.status_code, got.headers["location"]) == (302, f"https://shop.example/paid/{number}")
            (call,) = (await system.client.list_calls_page(case.case_id)).items
            assert call.status is CallStatus.SUCCEEDED
            assert (await system.client.get_callback(case.case_id)).close_reason is CloseReason.CONSUMED

        for at in range(0, pairs, AT_ONCE):
            await asyncio.gather(*(race(number) for number in range(at, min(at + AT_ONCE, pairs))))

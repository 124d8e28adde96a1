"""Of simultaneous calls on a single-use case, exactly one runs."""

import asyncio
from collections import Counter

from soak.counts import count
from support.system import running_system

from callback import CallbackStatus, CallStatus, CloseReason, Response

CALLERS = 20
AT_ONCE = 5
"""Cases: so few that their callers, all in this process, come round to each connection before the edge gives it up,
which is after 5 s without a request; on a busy machine too."""


async def test_of_many_simultaneous_callers_exactly_one_gets_through(tmp_path, store, handler):
    cases = count(20, 500)
    answers = Counter()
    async with running_system(tmp_path, store, config=handler.config) as system:

        async def call(case, n):
            # Callers do not share connections.
            return await system.http.post(case.url, content=b"%d" % n, headers={"Connection": "close"})

        async def race():
            case = await system.client.generate_callback_url("work", Response("won"))
            got = await asyncio.gather(*(call(case, n) for n in range(CALLERS)))
            won = [answer for answer in got if answer.status_code == 200]
            assert [answer.text for answer in won] == ["won"]
            assert {answer.status_code for answer in got} <= {200, 409, 410}
            answers.update(answer.status_code for answer in got)
            kept = await system.client.get_callback(case.case_id)
            assert (kept.status, kept.close_reason) == (CallbackStatus.CLOSED, CloseReason.CONSUMED)
            calls = (await system.client.list_calls_page(case.case_id)).items
            assert [each.status for each in calls] == [CallStatus.SUCCEEDED]

        for _ in range(cases // AT_ONCE):
            await asyncio.gather(*(race() for _ in range(AT_ONCE)))
    print(f"\n{cases} cases x {CALLERS} callers: {len(handler.calls)} starts, answers {dict(answers)}")
    assert len(handler.calls) == len(handler.starts) == cases
    assert answers[200] == cases
    assert answers.total() == cases * CALLERS

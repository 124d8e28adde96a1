"""The store dies: nothing that was acknowledged is lost."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from soak.counts import count
from support.system import own_store, running_system
from support.wait import wait_until

from callback import CallbackStatus, CallStatus, CloseReason, NotFoundError, Response, UnavailableError

CALLERS = 16


@dataclass
class Acknowledged:
    """Acknowledged steps, to be compared with the stored data."""

    FINE = frozenset({"no URL", 200, 503})
    """Each result of a request to a system without a store."""

    cases: dict = field(default_factory=dict)  # case id -> its URL, once it was returned
    answered: dict = field(default_factory=dict)  # case id -> the body of the call that got a 2xx
    untouched: set = field(default_factory=set)  # cases whose caller was told that the call did not run
    answers: Counter = field(default_factory=Counter)

    def errors(self):
        """Return how many callers have met the lack of a store."""
        return self.answers["no URL"] + self.answers[503]

    async def callers(self, system, stopping):
        """Create cases and call each once, until `stopping` is set."""

        async def caller(number):
            n = 0
            while not stopping.is_set():
                n += 1
                body = f"{number}.{n}"
                try:
                    case = await system.client.generate_callback_url(
                        "work" if n % 2 else "record", Response(body), retryable_after_error=n % 4 > 1
                    )
                except UnavailableError:
                    self.answers["no URL"] += 1
                    continue
                self.cases[case.case_id] = case.url
                answer = await system.http.post(case.url, content=body.encode())
                self.answers[answer.status_code] += 1
                if answer.status_code == 200:
                    assert answer.text == body
                    self.answered[case.case_id] = body.encode()
                elif answer.status_code == 503 and "retry-after" in answer.headers:
                    self.untouched.add(case.case_id)

        await asyncio.gather(*(caller(number) for number in range(CALLERS)))

    async def lost(self, system):
        """Return the acknowledged steps that are no longer stored."""
        missing = []
        for case_id in self.cases:
            try:
                case = await system.client.get_callback(case_id)
            except NotFoundError:
                missing.append(("case", case_id))
                continue
            calls = (await system.client.list_calls_page(case_id)).items
            if case_id in self.answered:
                if (case.status, case.close_reason) != (CallbackStatus.CLOSED, CloseReason.CONSUMED):
                    missing.append(("close", case_id))
                if [call.status for call in calls] != [CallStatus.SUCCEEDED]:
                    missing.append(("call", case_id))
                elif (await system.client.get_call(calls[0].call_id)).body != self.answered[case_id]:
                    missing.append(("body", case_id))
            elif case_id in self.untouched and (case.status, calls) != (CallbackStatus.OPEN, ()):
                missing.append(("told that nothing was done", case_id))
        return missing

    async def until_nothing_runs(self, system):
        """Wait until no call runs."""

        async def nothing_runs():
            page = await system.client.list_callbacks_page(status=CallbackStatus.IN_PROGRESS)
            return not page.items

        await wait_until(nothing_runs, what="the end of all calls")


async def healthy(system):
    """Wait until the server reaches its store again."""

    async def reached():
        try:
            await system.client.list_callbacks_page(page_size=1)
        except UnavailableError:
            return False
        return True

    await wait_until(reached, what="a store that answers")


async def test_a_store_that_is_killed_again_and_again_loses_nothing_acknowledged(tmp_path, store, handler):
    rounds, seen = count(2, 100), Acknowledged()
    async with running_system(tmp_path, store, config=handler.config) as system:
        stopping = asyncio.Event()
        load = asyncio.create_task(seen.callers(system, stopping))
        for n in range(rounds):
            goal = seen.answers[200] + 40
            await wait_until(lambda goal=goal: load.done() or seen.answers[200] >= goal, what="calls that are answered")
            store.kill()
            if n % 2:  # long enough for callers to get errors; no call need be on its way, so there may be no 503
                known = seen.errors()
                await wait_until(lambda known=known: load.done() or seen.errors() > known, what="an error")
            await asyncio.to_thread(store.start)
        await healthy(system)
        stopping.set()
        await load
        await seen.until_nothing_runs(system)
        missing = await seen.lost(system)
    print(f"\n{rounds} kills; {len(seen.cases)} cases, answers {dict(seen.answers)}; lost {len(missing)}")
    assert not missing
    assert set(seen.answers) <= seen.FINE
    assert max(handler.starts.values()) == 1
    asked = seen.answers[200] + seen.answers[503]
    assert seen.answers[200] >= 0.6 * asked


async def test_a_server_and_an_edge_without_a_store_log_a_line_a_second_whatever_fails(tmp_path):
    with own_store(tmp_path) as store:
        async with running_system(tmp_path, store) as system:
            made = await system.client.generate_callback_url("record", Response("ok"), allow_multiple_calls=True)
            store.kill()

            async def logged(process, event, lines):
                await asyncio.gather(*(system.http.post(made.url) for _ in range(8)))
                return len(process.events(event)) >= lines

            await wait_until(lambda: logged(system.server, "store_unavailable", 4), what="lines of the server")
            await wait_until(lambda: logged(system.edge, "call_refused", 2), what="lines of the edge")
            lines = [each for each in system.server.events() if each["level"] != "info"]
            assert {each["event"] for each in lines} == {"store_unavailable"}
            times = [datetime.fromisoformat(each["timestamp"]).timestamp() for each in lines]
            assert all(later - earlier > 0.9 for earlier, later in pairwise(times))
            counts = sum((Counter(each["counts"]) for each in lines), Counter())
            assert counts["sweep_failed"] > 64
            refused = Counter(each["code"] for each in system.edge.events("call_refused"))
            assert sum(each["count"] for each in system.edge.events("call_refused")) > sum(refused.values())

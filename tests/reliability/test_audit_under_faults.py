"""The audit of a mixed run under faults: three servers change the same callbacks, the store's replies get lost, and one
of the servers is killed. And the audit after a failover that lost its newest entries.

A change that was acknowledged has exactly one entry, and one that was answered with an error has at most one. Most
changes have an event, too: there are as many entries as events.
"""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import grpc
import msgspec
import redis.asyncio
from soak.counts import count
from support.proxy import StoreProxy, script_of
from support.replicas import running_stores, until_replicated
from support.services import SETTINGS, running_services
from support.system import running_server
from support.wait import DEADLINE_S, wait_until

from callback.v1 import audit_service_pb2 as auditing
from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import operations_service_pb2 as operations
from callback_prove.tunnel import Tunnel
from callback_server.domain.event import Event
from callback_server.store import keys

CHANGES = {
    "SetResponse": auditing.AUDIT_ACTION_RESPONSE_SET,
    "CloseCallback": auditing.AUDIT_ACTION_CALLBACK_CLOSED,
    "ExtendCallback": auditing.AUDIT_ACTION_CALLBACK_EXTENDED,
    "EraseCalls": auditing.AUDIT_ACTION_CALLS_ERASED,
    "ReplayCall": auditing.AUDIT_ACTION_CALL_REPLAYED,
    "AnswerCall": auditing.AUDIT_ACTION_CALL_ANSWERED,
    "ResolveCallback": auditing.AUDIT_ACTION_CALLBACK_RESOLVED,
}
OF_ACKNOWLEDGED = ("SetResponse", "CloseCallback", "ExtendCallback", "EraseCalls", "ReplayCall")
"""The changes that are made to callbacks of acknowledged calls. The others are made to callbacks that hold calls."""
ONCE = {"EraseCalls", "AnswerCall", "ResolveCallback"}
"""The changes that are made once, also if they are asked for twice."""
EVENTS = {"RESPONSE_SET": "SetResponse", "CASE_CLOSED": "CloseCallback", "CASE_EXTENDED": "ExtendCallback"}
"""The events of changes."""
LOST = 0.03
"""The part of the replies to scripts that are lost."""
AT_ONCE = 16


async def test_the_audit_of_a_mixed_run_under_faults_verifies_and_has_each_change_once(store_of, tmp_path):
    chance = random.Random(26)
    calls, lost = count(60, 10_000), Counter()
    deaths = {calls * n // (kills + 1) for kills in [count(1, 20)] for n in range(1, kills + 1)}
    acknowledged, unsure = Counter(), Counter()

    def lose(command):
        return script_of(command) is not None and chance.random() < LOST

    store = store_of()
    async with (
        StoreProxy(store, lose) as proxy,
        running_services(proxy) as first,
        running_services(proxy) as second,
        running_server(store, tmp_path / "mortal.log", CALLBACK_STATE_KEY=SETTINGS["state_key"]) as mortal,
    ):
        for each in (first, second):
            each.control_plane.deliveries.stop()
        await again(lambda: first.operations.PauseActivity(operations.PauseActivityRequest(callback_activity="act")))

        async def generate(number, services, activity, **more):
            more |= {"allow_multiple_calls": True, "request_id": f"run-{number}"}
            return await again(lambda: services.generate(activity, **more))

        async def life(number):
            services = (first, second)[number % 2]
            pair = [(first, second), (second, mortal), (mortal, first)][number % 3]
            await (held_life if number % 4 == 3 else acknowledged_life)(number, services, pair)

        async def acknowledged_life(number, services, pair):
            made = await generate(number, services, "act", answer_mode=pb.ANSWER_MODE_ACK)
            case_id = made.callback_case_id
            call_id = (await again(lambda: services.call(made, body=b"x"))).call_id
            fields = {
                "SetResponse": {"callback_case_id": case_id, "response": pb.Response(response_code=200 + number % 50)},
                "CloseCallback": {"callback_case_id": case_id},
                "ExtendCallback": {
                    "callback_case_id": case_id, "expire_time": datetime.now(UTC) + timedelta(hours=1 + number % 9),
                },
                "EraseCalls": {"callback_case_id": case_id},
                "ReplayCall": {"call_id": call_id},
            }  # fmt: skip
            methods = chance.sample(OF_ACKNOWLEDGED, 3)
            await asyncio.gather(*(change(by, method, fields[method], case_id) for method in methods for by in pair))

        async def held_life(number, services, pair):
            made = await generate(number, services, "form")
            case_id = made.callback_case_id
            caller = asyncio.ensure_future(again(lambda: services.call(made, body=b"x")))

            async def is_held():
                return await again(lambda: services.calls_of(made))

            call_id = (await wait_until(is_held, what="a held call"))[0].call_id
            # They differ: an answer that a call has already is accepted, and changes nothing.
            fields = {
                "AnswerCall": {"call_id": call_id, "response": pb.Response(response_code=202)},
                "ResolveCallback": {"callback_case_id": case_id},
            }
            while not acknowledged[case_id, "ResolveCallback"]:
                await asyncio.gather(*(change(by, method, fields[method], case_id) for method in fields for by in pair))
            await caller

        async def change(services, method, fields, case_id):
            try:
                request = getattr(rpc, f"{method}Request")(**fields)
                await getattr(services.callbacks, method)(request, timeout=DEADLINE_S)
            except grpc.aio.AioRpcError:  # a refusal too can follow a change whose reply was lost
                unsure[case_id, method] += 1
            else:
                acknowledged[case_id, method] += 1

        waiting = iter(range(calls))

        async def lives():
            for number in waiting:
                if number in deaths:
                    mortal.process.kill()
                    if number < max(deaths):
                        await asyncio.to_thread(mortal.process.start)
                await life(number)

        await asyncio.gather(*(lives() for _ in range(AT_ONCE)))
        lost += proxy.lost
        entries, problems = await entries_of(first), await problems_of(first) + await problems_of(second)
        events = events_of(store)
    print(
        f"{calls} calls, {sum(lost.values())} lost replies, {len(deaths)} kills, {sum(entries.values())} entries,"
        f" {len(problems)} problems"
    )
    assert problems == []
    assert sum(lost.values()) > calls / 20
    assert {each: n for each, n in entries.items() if each[1] in EVENTS.values()} == events
    for each in {*acknowledged, *unsure, *entries}:
        _, method = each
        if method in ONCE:
            assert min(1, acknowledged[each]) <= entries[each] <= 1, each
        elif method == "ReplayCall":
            assert acknowledged[each] <= entries[each] <= acknowledged[each] + unsure[each], each


async def test_a_failover_that_loses_the_newest_entries_is_told(tmp_path):
    with running_stores(tmp_path, 2) as (old, new):
        await new.follow(str(old.address))
        async with (
            Tunnel(f"127.0.0.1:{old.port}") as tunnel,
            running_services(SimpleNamespace(url=f"redis://{tunnel.address}")) as services,
            redis.asyncio.Redis(port=new.port) as replica,
        ):
            case_id = (await services.generate()).callback_case_id

            async def extend(days):
                request = rpc.ExtendCallbackRequest(
                    callback_case_id=case_id, expire_time=datetime.now(UTC) + timedelta(days=days)
                )
                await again(lambda: services.callbacks.ExtendCallback(request))

            await extend(1)
            await until_replicated(old)
            new.promote()
            await extend(2)
            assert await problems_of(services) == []
            tunnel.lead_to(f"127.0.0.1:{new.port}")
            await extend(3)
            chain = keys.partition_of(case_id)
            ((told, text),) = await problems_of(services)
            assert told == chain
            assert "entry 2" in text
            await wait_until(lambda: replica.hgetall(keys.key(chain, "losses")), what="the recorded loss")
            assert (await entries_of(services))[case_id, "ExtendCallback"] == 2


def events_of(store):
    """Return how many events of changes each case has, by the method of the change."""
    found = Counter()
    with redis.Redis(port=store.port) as client:
        for partition in range(keys.PARTITIONS):
            for _, fields in client.xrange(keys.key(partition, "events")):
                event = msgspec.msgpack.decode(fields[b"event"], type=Event)
                if event.type in EVENTS:
                    found[event.case_id, EVENTS[event.type]] += 1
    return found


async def again(ask):
    """Ask until the server does not answer UNAVAILABLE."""
    while True:
        try:
            return await ask()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise


async def entries_of(services):
    """Return how many entries each case has, by method."""
    methods = {action: method for method, action in CHANGES.items()}
    listed = pages(services.audit.ListAuditEntries, auditing.ListAuditEntriesRequest(page_size=1000))
    entries = [each async for page in listed for each in page.entries]
    return Counter((each.callback_case_id, methods[each.action]) for each in entries if each.action in methods)


async def problems_of(services):
    """Return the problems of the audit: each with its chain."""
    verified = pages(services.audit.VerifyAudit, auditing.VerifyAuditRequest())
    return [(chain.chain, each.text) async for page in verified for chain in page.chains for each in chain.problems]


async def pages(ask, request):
    """Yield the pages of a list."""
    while True:
        page = await ask(request)
        yield page
        request.page_token = page.next_page_token
        if not request.page_token:
            return

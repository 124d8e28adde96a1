"""The audit of a mixed run under faults: two servers change the same callbacks, and the store's replies get lost.

A change that was acknowledged has exactly one entry, and one that was answered with an error has at most one. Most
changes have an event, too: there are as many entries as events.
"""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import grpc
import msgspec
import redis
from soak.counts import count
from support.proxy import StoreProxy, script_of
from support.services import response, running_services

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import edge_service_pb2 as edge
from callback_server.domain.event import Event
from callback_server.store import keys

CHANGES = {
    "SetResponse": rpc.AUDIT_ACTION_RESPONSE_SET,
    "CloseCallback": rpc.AUDIT_ACTION_CALLBACK_CLOSED,
    "ExtendCallback": rpc.AUDIT_ACTION_CALLBACK_EXTENDED,
    "EraseCalls": rpc.AUDIT_ACTION_CALLS_ERASED,
    "ReplayCall": rpc.AUDIT_ACTION_CALL_REPLAYED,
}
EVENTS = {"RESPONSE_SET": "SetResponse", "CASE_CLOSED": "CloseCallback", "CASE_EXTENDED": "ExtendCallback"}
"""The events of changes."""
LOST = 0.03
"""The part of the replies to scripts that are lost."""
AT_ONCE = 16


async def test_the_audit_of_a_mixed_run_under_faults_verifies_and_has_each_change_once(store_of):
    chance = random.Random(26)
    calls, lost = count(100, 10_000), Counter()
    acknowledged, unsure = Counter(), Counter()

    def lose(command):
        return script_of(command) is not None and chance.random() < LOST

    store = store_of()
    async with (
        StoreProxy(store, lose) as proxy,
        running_services(proxy) as first,
        running_services(proxy) as second,
    ):
        for each in (first, second):
            each.control_plane.deliveries.stop()

        async def life(number):
            services, other = (first, second) if number % 2 else (second, first)
            request = rpc.GenerateCallbackUrlRequest(
                callback_activity="act", answer_mode=pb.ANSWER_MODE_ACK, allow_multiple_calls=True,
                response=response(response_body=b"hi"), request_id=f"run-{number}",
            )  # fmt: skip
            made = await again(lambda: services.callbacks.GenerateCallbackUrl(request))
            case_id = made.callback_case_id
            called = edge.InvokeRequest(state=made.callback_state, request_method="post", request_body=b"x")
            call_id = (await again(lambda: services.edge.Invoke(called))).call_id
            fields = {
                "SetResponse": {"callback_case_id": case_id, "response": pb.Response(response_code=200 + number % 50)},
                "CloseCallback": {"callback_case_id": case_id},
                "ExtendCallback": {
                    "callback_case_id": case_id, "expire_time": datetime.now(UTC) + timedelta(hours=1 + number % 9),
                },
                "EraseCalls": {"callback_case_id": case_id},
                "ReplayCall": {"call_id": call_id},
            }  # fmt: skip
            methods = chance.sample([*CHANGES], 3)
            await asyncio.gather(
                *(change(by, method, fields[method], case_id) for method in methods for by in (services, other))
            )

        async def change(services, method, fields, case_id):
            try:
                await getattr(services.callbacks, method)(getattr(rpc, f"{method}Request")(**fields))
            except (
                grpc.aio.AioRpcError
            ):  # also a refusal can follow a change: its reply was lost, and another came next
                unsure[case_id, method] += 1
            else:
                acknowledged[case_id, method] += 1

        waiting = iter(range(calls))

        async def lives():
            for number in waiting:
                await life(number)

        await asyncio.gather(*(lives() for _ in range(AT_ONCE)))
        lost += proxy.lost
        entries, problems = await entries_of(first), await problems_of(first) + await problems_of(second)
        events = events_of(store)
    print(
        f"{calls} calls, {sum(lost.values())} lost replies, {sum(entries.values())} entries, {len(problems)} problems"
    )
    assert problems == []
    assert sum(lost.values()) > calls / 20
    assert {each: n for each, n in entries.items() if each[1] in EVENTS.values()} == events
    for each in {*acknowledged, *unsure, *entries}:
        _, method = each
        if method == "EraseCalls":  # asked for twice, it erases once
            assert min(1, acknowledged[each]) <= entries[each] <= 1, each
        elif method == "ReplayCall":
            assert acknowledged[each] <= entries[each] <= acknowledged[each] + unsure[each], each


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
    found, token = Counter(), ""
    while True:
        request = rpc.ListAuditEntriesRequest(page_size=1000, page_token=token)
        page = await services.callbacks.ListAuditEntries(request)
        found.update((each.callback_case_id, methods[each.action]) for each in page.entries)
        token = page.next_page_token
        if not token:
            return found


async def problems_of(services):
    found, token = [], ""
    while True:
        page = await services.callbacks.VerifyAudit(rpc.VerifyAuditRequest(page_token=token))
        found += [(chain.chain, each.text) for chain in page.chains for each in chain.problems]
        token = page.next_page_token
        if not token:
            return found

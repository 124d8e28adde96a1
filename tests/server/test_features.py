"""Features that servers of an earlier release do not know: no case is generated too early, and none is ignored."""

import grpc
import pytest
import redis
from server.test_deliveries import delivering_on
from structlog.testing import capture_logs
from support.handlers import stub_handler
from support.services import refusal, running_services

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import edge_service_pb2 as edge_pb2
from callback_process.findings import Level
from callback_server.calls import call_statistics
from callback_server.domain import features as domain_features
from callback_server.domain.activity import Leases
from callback_server.operations import doctor
from callback_server.settings import ServerSettings
from callback_server.store import features as store_features
from callback_server.store import keys
from callback_server.store.recording import Recording
from callback_server.store.transitions.take_deliveries import take_deliveries
from callback_server.store.transitions.write_statistics import write_statistics

EARLIER = {"gauge:reads_named_bodies": 1}
"""What a server of a release that does not know any feature stores for a minute."""


def needs(store, case_id, *names):
    """Make a case need features. Without names, it needs none."""
    with redis.Redis(port=store.port) as client:
        key = keys.key(keys.partition_of(case_id), "case", case_id)
        client.hset(key, "needs", ",".join(names)) if names else client.hdel(key, "needs")


@pytest.fixture
def ordered_ack_is_new(limits):
    """Let cases whose calls are ordered need a feature that is new in this release."""
    known = {"order": lambda case: case.ordered}
    for module in (domain_features, store_features):
        limits(module, FEATURES=known)


def ordered(services):
    return services.generate("act", answer_mode=pb.ANSWER_MODE_ACK, ordered=True)


async def test_a_callback_with_a_new_feature_is_refused_until_no_server_of_an_earlier_release_has_run_for_minutes(
    store_of, limits, ordered_ack_is_new
):
    first = call_statistics.minute_now()
    limits(call_statistics, CLOCK=lambda: first * 60)
    store = store_of()
    async with running_services(store) as services:
        await services.control_plane.statistics.write()
        made = await ordered(services)
        with redis.Redis(port=store.port) as client:
            key = keys.key(keys.partition_of(made.callback_case_id), "case", made.callback_case_id)
            assert client.hget(key, "needs") == b"order"
        scripts = services.control_plane.scripts
        await write_statistics(scripts, "of an earlier release", minute=first, counts=EARLIER)
        for minute in (first, first - 3, first + 3):
            limits(call_statistics, CLOCK=lambda minute=minute: minute * 60)
            refused = await refusal(ordered(services))
            assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_UNAVAILABLE")
            assert refused.metadata == {"feature": "order"}
        await services.generate("act")
        assert len(await services.cases()) == 2
        limits(call_statistics, CLOCK=lambda: (first + 4) * 60)
        assert (await ordered(services)).callback_url


async def test_of_a_batch_only_the_requests_that_need_a_new_feature_are_refused(store_of, ordered_ack_is_new):
    async with running_services(store_of()) as services:
        now = call_statistics.minute_now()
        await write_statistics(services.control_plane.scripts, "of an earlier release", minute=now, counts=EARLIER)
        asked = {"callback_activity": "act", "response": pb.Response(response_type=pb.RESPONSE_TYPE_RESPONSE)}
        new = rpc.GenerateCallbackUrlRequest(**asked, answer_mode=pb.ANSWER_MODE_ACK, ordered=True)
        batch = rpc.GenerateCallbackUrlsRequest(requests=[new, rpc.GenerateCallbackUrlRequest(**asked)])
        first, second = (await services.callbacks.GenerateCallbackUrls(batch)).results
        assert "FEATURE_UNAVAILABLE" in str(first.problem)
        assert second.generated.callback_url


@pytest.mark.parametrize("size", [0, 100_000])
async def test_a_request_to_a_case_with_an_unknown_feature_gets_a_503_and_is_no_call(store_of, size):
    store = store_of()
    async with running_services(store) as services:
        made = await services.generate()
        needs(store, made.callback_case_id, "future", "other")
        with capture_logs() as logs:
            refused = await refusal(services.call(made, body=b"x" * size))
        assert (refused.reason, refused.metadata) == ("FEATURE_UNAVAILABLE", {"feature": "future"})
        assert [(each["event"], each["feature"]) for each in logs if each["log_level"] == "error"] == [
            ("feature_unknown", "future")
        ]
        assert (await services.case_of(made)).call_count == 0
        needs(store, made.callback_case_id)
        await services.call(made, body=b"x" * size)


async def test_a_request_whose_body_was_not_read_is_refused_by_its_look_up(store_of):
    store = store_of()
    async with running_services(store) as services:
        made = await services.generate()
        needs(store, made.callback_case_id, "future")
        asked = edge_pb2.InvokeRequest(state=made.callback_state, request_method="post")
        refused = await refusal(services.edge.look_up(asked))
        assert refused.reason == "FEATURE_UNAVAILABLE"


async def test_a_delivery_of_a_case_with_an_unknown_feature_is_left_to_other_servers(store_of):
    store = store_of()
    async with stub_handler() as stub, delivering_on(store, stub, delivers=False, sweeps=False) as services:
        made = await services.generate("act", answer_mode=pb.ANSWER_MODE_ACK, allow_multiple_calls=True)
        for _ in range(2):
            await services.call(made, body=b"another")

        async def take():
            return await take_deliveries(
                services.control_plane.scripts,
                keys.partition_of(made.callback_case_id),
                limit=1,
                turn=0,
                leases=Leases({}),
                recording=Recording(),
            )

        needs(store, made.callback_case_id, "future")
        assert await take() == ([], False)
        assert {each.delivery.status for each in await services.list_calls(made)} == {pb.DELIVERY_STATUS_PENDING}
        needs(store, made.callback_case_id)
        attempts, more = await take()
        assert (len(attempts), more) == (1, True)


async def test_the_doctor_says_which_server_is_to_be_updated(store_of, ordered_ack_is_new):
    store = store_of()

    async def finding():
        seen = {each.check: each async for each in doctor.check_store(ServerSettings(store_url=store.url))}
        return seen["store features"]

    async with running_services(store) as services:
        await services.control_plane.statistics.write()
        assert (await finding()).level is Level.OK
        scripts, now = services.control_plane.scripts, call_statistics.minute_now()
        await write_statistics(scripts, "other", minute=now, counts=EARLIER)
        older = await finding()
        assert (older.level, "does not know order" in older.seen) == (Level.WARNING, True)
        await write_statistics(
            scripts, "other", minute=now, counts={**EARLIER, "gauge:feature:order": 1, "gauge:feature:future": 1}
        )
        newer = await finding()
        assert (newer.level, "other servers know future" in newer.seen) == (Level.PROBLEM, True)

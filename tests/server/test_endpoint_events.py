"""Events at endpoints: each finds the case that waits for its correlation key, and a copy finds its call."""

import asyncio
import json
import time
from datetime import UTC, datetime

import pytest
import redis.asyncio
import standardwebhooks
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.handlers import accept, answering, gated, override, reject, stub_handler
from support.services import refusal, refusal_of, response, running_services
from support.store import free_port
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import edge_service_pb2 as edge_pb2
from callback_server.settings import ActivitySettings, EndpointSettings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENDPOINT = {"owner": "local", "profile": "psp", "correlation_key": ["json:/data/id"]}


def signed(body, *, message_id, secret=SECRET):
    """Return the header fields of a message that Standard Webhooks' own library has signed."""
    now = datetime.fromtimestamp(int(time.time()), UTC)
    signature = standardwebhooks.Webhook(secret).sign(message_id, now, body.decode())
    return {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


class Sender:
    """Sends events to an endpoint of services, each with a message id of its own unless one is given."""

    def __init__(self, services, endpoint="psp"):
        self.services, self.endpoint, self.sent = services, endpoint, 0

    def send(self, key, *, body=None, message_id=None, secret=SECRET, endpoint=None, path="", method="post"):
        """Return the future of the answer to an event about `key`, which is any JSON."""
        self.sent += 1
        body = json.dumps({"data": {"id": key}}).encode() if body is None else body
        headers = signed(body, message_id=message_id or f"msg_{self.sent}", secret=secret)
        request = edge_pb2.InvokeRequest(
            request_method=method, request_body=body,
            request_headers=[{"name": name, "value": value} for name, value in headers.items()],
        )  # fmt: skip
        return self.services.edge.event(
            edge_pb2.EventRequest(endpoint=endpoint or self.endpoint, path=path, request=request)
        )

    async def code(self, key, **more):
        """Send an event, and return the code of its answer."""
        return (await self.send(key, **more)).response.response_code


def dropped(reason, endpoint="psp"):
    """Return how many events were dropped for a reason."""
    return REGISTRY.get_sample_value("callback_events_unmatched_total", {"endpoint": endpoint, "reason": reason}) or 0


@pytest.fixture(scope="module")
async def running(store_of, tmp_path_factory):
    """Run services with two endpoints, `psp` of `local` and `other` of another owner, and a `push` handler."""
    secret = tmp_path_factory.mktemp("secrets") / "psp"
    secret.write_text(SECRET)
    profiles = {"psp": {"kind": "standard-webhooks", "secret_files": [secret]}}
    endpoints = {"psp": EndpointSettings(**ENDPOINT), "other": EndpointSettings(**{**ENDPOINT, "owner": "another"})}
    store = store_of()
    async with stub_handler() as stub:
        activities = {
            "push": ActivitySettings(target=stub.target),
            "nobody": ActivitySettings(target=f"127.0.0.1:{free_port()}", connect_timeout_s=0.1),
        }
        async with running_services(store, declared=profiles, endpoints=endpoints, activities=activities) as services:
            services.stub, services.store = stub, store
            yield services


@pytest.fixture
def services(running):
    """Return the services of the module, with an empty store."""
    running.store.flush_below()
    return running


@pytest.fixture
def sender(services):
    return Sender(services)


def waiting(services, key, activity="record", **fields):
    """Generate a callback for the events about a key."""
    fields = {"response": response(response_code=201)} | fields
    return services.generate(activity, endpoint="psp", correlation_key=key, **fields)


async def test_an_event_is_a_call_of_the_case_that_waits_for_its_key(services, sender):
    made, other = await waiting(services, "tr_1"), await waiting(services, "tr_2")
    answer = await sender.send("tr_1")
    assert answer.response.response_code == 201
    (call,) = await services.calls_of(made)
    assert (call.call_id, call.correlation_key, call.verification_profile) == (answer.call_id, "tr_1", "psp")
    assert json.loads(call.request_body) == {"data": {"id": "tr_1"}}
    assert (await services.case_of(made)).close_reason == pb.CLOSE_REASON_CONSUMED
    assert not await services.list_calls(other)


async def test_an_event_that_no_case_waits_for_gets_the_answer_of_the_endpoint_and_is_counted(services, sender):
    before = {reason: dropped(reason) for reason in ("no_case", "no_key", "late")}
    with capture_logs() as logs:
        answer = await sender.send("nobody")
        assert (answer.response.response_code, answer.call_id) == (202, "")
        assert await sender.code(None) == 202
        made = await waiting(services, "closed")
        await services.close(made)
        assert await sender.code("closed") == 202
    assert {reason: dropped(reason) - count for reason, count in before.items()} == dict.fromkeys(before, 1)
    told = [each for each in logs if each["event"] == "event_unmatched"]
    assert [(each["endpoint"], each["reason"]) for each in told] == [
        ("psp", "no_case"), ("psp", "no_key"), ("psp", "late")
    ]  # fmt: skip
    assert "nobody" not in str(told)


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        (7, "7"), ("7", "7"), ("07", "07"), (2**53, str(2**53)), (-5, "-5"), ("Ä", "Ä"), ("k" * 200, "k" * 200),
        (" 7", " 7"),
    ],
)  # fmt: skip
async def test_a_key_is_compared_as_it_was_sent(services, sender, sent, key):
    made = await waiting(services, key)
    assert await sender.code(sent) == 201
    assert len(await services.list_calls(made)) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": {"id": 7.0}}', b'{"data": {"id": 9007199254740993}}', b'{"data": {"id": true}}',
        b'{"data": {"id": null}}', b'{"data": {"id": ["7"]}}', b'{"data": {"id": "7", "id": "7"}}',
        b'{"data": {"id": "A\\u0308"}}', b'{"data": {"id": ""}}', b'{"data": {"id": "%s"}}' % (b"k" * 201), b"7",
    ],
)  # fmt: skip
async def test_what_is_no_key_or_another_one_finds_no_case(services, sender, body):
    made = [await waiting(services, key) for key in ("7", "9007199254740993", "true", "null", "Ä", "k" * 200)]
    assert await sender.code(None, body=body) == 202
    for each in made:
        assert not await services.list_calls(each)


async def test_an_endpoint_that_does_not_exist_looks_like_an_unknown_state(services, sender):
    assert (await refusal(sender.send("tr", endpoint="nothing"))).reason == "STATE_UNKNOWN"


async def test_a_message_that_is_not_verified_ends_before_its_key_is_looked_for(services, sender):
    await waiting(services, "known")
    wrong = "whsec_" + "A" * 32
    before = dropped("no_case")
    refusals = [await refusal(sender.send(key, secret=wrong)) for key in ("known", "unknown")]
    assert [each.reason for each in refusals] == ["VERIFICATION_FAILED"] * 2
    assert vars(refusals[0]) == vars(refusals[1])
    assert dropped("no_case") == before


async def test_the_cases_of_another_owner_are_never_found(services, sender):
    made = await waiting(services, "tr_same")
    assert await sender.code("tr_same", endpoint="other") == 202
    assert not await services.list_calls(made)


async def test_a_copy_is_a_repeat_of_its_call_also_when_another_case_has_the_key(services, sender):
    first = await waiting(services, "tr_copy")
    assert await sender.code("tr_copy", message_id="same") == 201
    second = await waiting(services, "tr_copy", response=response(response_code=203))
    assert await sender.code("tr_copy", message_id="same") == 201
    assert not await services.list_calls(second)
    assert (await services.list_calls(first))[0].repeat_count == 1
    assert await sender.code("tr_copy", message_id="another") == 203


async def test_a_copy_of_an_event_that_failed_does_not_run_on_the_next_case_of_its_key(services, sender):
    rejects = services.stub.play(answering(reject()))
    await waiting(services, "failed", "push", callback_activity_case=rejects)
    assert await sender.code("failed", message_id="m") == 422
    second = await waiting(services, "failed")
    assert await sender.code("failed", message_id="m") == 422
    assert not await services.list_calls(second)
    assert len(services.stub.requests(rejects)) == 1


async def test_a_copy_is_found_until_the_window_of_its_profile_is_over(services, sender):
    made = await waiting(services, "window", allow_multiple_calls=True)
    first = await sender.send("window", message_id="m")
    async with redis.asyncio.Redis(port=services.store.port) as client:
        (key,) = [key async for key in client.scan_iter("*:repeat:*")]
        assert made.callback_case_id not in key.decode()
        assert await client.pttl(key) > 0
        assert (await sender.send("window", message_id="m")).repeated_call_id == first.call_id
        await client.unlink(key)  # as at the end of the window
    assert (await sender.send("window", message_id="m")).call_id not in ("", first.call_id)


async def test_a_copy_of_an_event_that_no_handler_got_is_tried_again(services, sender):
    name = services.stub.play(answering(accept(override(response_code=201))))
    made = await waiting(services, "away", "nobody", callback_activity_case=name)
    for _ in range(2):
        assert (await refusal(sender.send("away", message_id="m"))).reason == "HANDLER_NOT_STARTED"
    assert [each.status for each in await services.list_calls(made)] == [pb.CALL_STATUS_NOT_STARTED] * 2


async def test_of_many_simultaneous_events_one_is_the_call_of_a_single_use_case(services, sender):
    gate = asyncio.Event()

    async def script(_request, _context):
        await gate.wait()
        return accept(override(response_code=201))

    made = await waiting(services, "race", "push", callback_activity_case=services.stub.play(script))
    futures = [sender.send("race") for _ in range(50)]
    await wait_until(lambda: sum(each.done() for each in futures) == 49, what="all events but one refused")
    gate.set()
    results = await asyncio.gather(*futures, return_exceptions=True)
    answers = [each for each in results if not isinstance(each, Exception)]
    refused = [refusal_of(each).reason for each in results if isinstance(each, Exception)]
    assert [each.response.response_code for each in answers] == [201]
    assert refused == ["CALL_IN_PROGRESS"] * 49
    assert [each.call_id for each in await services.list_calls(made)] == [answers[0].call_id]


async def test_a_copy_waits_with_the_call_that_runs_and_gets_its_answer(services, sender):
    gate = asyncio.Event()
    script = services.stub.play(gated(gate, accept(override(response_code=201))))
    made = await waiting(services, "waits", "push", callback_activity_case=script)
    futures = [sender.send("waits", message_id="one") for _ in range(3)]
    await services.repeats(made, 2)
    gate.set()
    assert [(await each).response.response_code for each in futures] == [201] * 3
    assert len(services.stub.requests(script)) == 1


async def test_a_handler_gets_the_endpoint_and_decides_and_an_event_after_a_failure_is_a_new_call(services, sender):
    answers = iter([reject(), accept(override(response_code=201))])

    async def script(_request, _context):
        return next(answers)

    name = services.stub.play(script)
    made = await waiting(services, "twice", "push", callback_activity_case=name, retryable_after_error=True)
    assert await sender.code("twice", message_id="m") == 422
    assert await sender.code("twice", message_id="m") == 201
    assert [each.endpoint for each in services.stub.requests(name)] == ["psp", "psp"]
    assert [each.status for each in await services.list_calls(made)] == [
        pb.CALL_STATUS_SUCCEEDED, pb.CALL_STATUS_REJECTED
    ]  # fmt: skip


async def test_the_call_at_the_url_of_a_case_is_no_event(services):
    name = services.stub.play(answering(accept(override(response_code=201))))
    made = await waiting(services, "own url", "push", callback_activity_case=name)
    await services.call(made, body=b"7")
    assert services.stub.requests(name)[0].endpoint == ""
    (call,) = await services.calls_of(made)
    assert call.correlation_key == ""


async def test_an_event_is_acknowledged_and_delivered_by_an_ack_case(services, sender):
    name = services.stub.play(answering(accept()))
    made = await waiting(
        services, "ack", "push", callback_activity_case=name, answer_mode=pb.ANSWER_MODE_ACK,
    )  # fmt: skip
    answer = await sender.send("ack")
    assert answer.response.response_code == 201
    await services.delivery(answer.call_id, pb.DELIVERY_STATUS_DELIVERED)
    assert [each.endpoint for each in services.stub.requests(name)] == ["psp"]
    assert (await services.case_of(made)).close_reason == pb.CLOSE_REASON_CONSUMED


async def test_an_event_is_held_by_a_hold_case_until_it_is_answered(services, sender):
    made = await waiting(services, "hold", "form", answer_mode=pb.ANSWER_MODE_HOLD)
    future = sender.send("hold")
    await services.answer_running(made, response=response(response_code=203))
    assert (await future).response.response_code == 203


async def test_a_case_with_a_guard_and_a_closed_response_takes_an_event_without_them(services, sender):
    made = await waiting(
        services, "guarded", get_guard=pb.GET_GUARD_CONFIRM, closed_response=response(response_code=299),
        prompt=pb.Prompt(title="Go on?", choices=[pb.PromptChoice(value="yes", label="Yes")]),
    )  # fmt: skip
    assert await sender.code("guarded") == 201
    assert await sender.code("guarded") == 202
    assert len(await services.list_calls(made)) == 1


async def test_a_case_for_many_calls_takes_each_event_once(services, sender):
    made = await waiting(services, "many", allow_multiple_calls=True)
    codes = [await sender.code("many", message_id=f"m{number % 3}") for number in range(6)]
    assert codes == [201] * 6
    assert len(await services.list_calls(made)) == 3


async def test_a_large_event_is_found_and_recorded_whole(services, sender):
    made = await waiting(services, "large")
    body = json.dumps({"filler": "x" * 500_000, "data": {"id": "large"}}).encode()
    assert await sender.code(None, body=body) == 201
    assert (await services.calls_of(made))[0].request_body == body

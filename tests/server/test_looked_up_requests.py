"""A look-up refuses what a call would be refused for whatever its body is. It only reads."""

import grpc
import pytest
import redis.asyncio
from support.services import refusal, running_services
from support.stored import content_of
from support.verification import ById

from callback.v1 import callback_pb2 as pb
from callback.v1 import edge_service_pb2 as edge
from callback_server.verification.profiles import Profiles
from callback_server.verification.settings.credentials import AddressSettings, BasicSettings, SharedSecretSettings
from callback_server.verification.settings.signed import HmacSettings

SECRET = "a secret that is long enough for any of the kinds"


@pytest.fixture
def profiles(tmp_path):
    """Return profiles by name: `header` and `address` need no body, `signed` does."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    return Profiles(
        {
            "header": SharedSecretSettings(kind="shared-secret", header="x-secret", secret_files=[file]),
            "address": AddressSettings(kind="address", networks=["192.0.2.0/24"]),
            "basic": BasicSettings(kind="basic", username="u", secret_files=[file]),
            "signed": HmacSettings(kind="hmac", signature="header:x-signature", secret_files=[file]),
        }
    )


@pytest.fixture
async def services(store_of, profiles):
    async with running_services(store_of(), profiles=profiles) as running:
        yield running


def request_of(made, headers=(), **more):
    fields = [pb.Header(name=name, value=value) for name, value in headers]
    return edge.InvokeRequest(
        **{"state": made.callback_state, "request_method": "post", "request_headers": fields} | more
    )


async def look_up(services, made, headers=(), **more):
    return await services.edge.look_up(request_of(made, headers, **more))


async def test_an_open_case_refuses_nothing(services):
    await look_up(services, await services.generate())


async def test_a_closed_and_an_unknown_case_are_refused(services):
    made = await services.generate()
    unknown = edge.InvokeRequest(state="00000000-0000-4000-8000-000000000000", request_method="post")
    assert (await refusal(services.edge.look_up(unknown))).reason == "STATE_UNKNOWN"
    other_form = look_up(services, made, state_query_parameter="state")
    assert (await refusal(other_form)).reason == "STATE_UNKNOWN"
    await services.close(made)
    assert (await refusal(look_up(services, made))).reason == "CALLBACK_CLOSED"


@pytest.mark.parametrize("window_s", [0, 60])
async def test_a_single_use_case_whose_call_runs_is_busy_unless_the_body_can_tell_a_repeat(services, window_s):
    made = await services.generate("form", repeat_window={"seconds": window_s})
    call = services.edge.Invoke(request_of(made))
    await services.running()
    if window_s:
        await look_up(services, made)
    else:
        said = await refusal(look_up(services, made))
        assert (said.reason, said.retry_after_s) == ("CALL_IN_PROGRESS", 1)
    call.cancel()


@pytest.mark.parametrize("window_s", [0, 60])
async def test_a_case_that_its_call_has_closed_is_refused_unless_the_body_can_tell_a_repeat(services, window_s):
    made = await services.generate(repeat_window={"seconds": window_s})
    await services.edge.Invoke(request_of(made))
    if window_s:
        await look_up(services, made)
    else:
        assert (await refusal(look_up(services, made))).reason == "CALLBACK_CLOSED"


async def test_what_a_claim_would_first_bring_up_to_date_is_not_refused(store_of):
    """The lease has ended, so the claim makes a retryable case OPEN again."""
    store = store_of()
    async with running_services(store) as services:
        made = await services.generate("form", retryable_after_error=True)
        call = services.edge.Invoke(request_of(made))
        await services.running()
        async with redis.asyncio.Redis(port=store.port) as client:
            (key,) = [key async for key in client.scan_iter("*:leases")]
            ((call_id, _),) = await client.zrange(key, 0, -1, withscores=True)
            await client.zadd(key, {call_id: 1})
        await look_up(services, made)
        call.cancel()


async def test_a_look_up_changes_nothing(store_of, profiles):
    store = store_of()
    async with running_services(store, profiles=profiles, max_calls_per_minute_per_case=1) as services:
        made = await services.generate(allow_multiple_calls=True)
        verified = await services.generate(verification_profile="header")
        before = await content_of(store)
        for _ in range(3):
            await look_up(services, made)
            await look_up(services, verified, [("x-secret", SECRET)])
            await refusal(look_up(services, verified))
        assert await content_of(store) == before


@pytest.mark.parametrize("name", ["header", "address", "basic"])
async def test_a_verification_that_needs_no_body_is_refused(services, name):
    made = await services.generate(verification_profile=name)
    said = await refusal(look_up(services, made, client_address="198.51.100.1"))
    assert said.reason == "VERIFICATION_FAILED"
    assert said.metadata["challenge"]


async def test_a_verified_request_learns_that_the_case_is_closed_and_another_does_not(services):
    made = await services.generate(verification_profile="header")
    await look_up(services, made, [("x-secret", SECRET)])
    await services.close(made)
    assert (await refusal(look_up(services, made, [("x-secret", SECRET)]))).reason == "CALLBACK_CLOSED"
    assert (await refusal(look_up(services, made, [("x-secret", "wrong")]))).reason == "VERIFICATION_FAILED"


async def test_a_verification_that_needs_the_body_is_left_to_the_call(services):
    """Nothing is said of the case: the request is not verified."""
    made = await services.generate(verification_profile="signed")
    await look_up(services, made)
    await services.close(made)
    await look_up(services, made)


async def test_a_message_with_an_id_is_left_to_the_call_because_it_may_be_a_repeat(store_of):
    async with running_services(store_of(), profiles={"it": ById()}) as services:
        made = await services.generate(verification_profile="it")
        first = await services.edge.Invoke(request_of(made, [("x-id", "1")]))
        await look_up(services, made, [("x-id", "1")])
        again = await services.edge.Invoke(request_of(made, [("x-id", "1")]))
        assert again.repeated_call_id == first.call_id


async def test_the_rate_limits_of_case_and_owner_are_refused(store_of):
    async with running_services(store_of(), max_calls_per_minute_per_case=1) as services:
        made = await services.generate(allow_multiple_calls=True)
        await services.edge.Invoke(request_of(made))
        said = await refusal(look_up(services, made))
        assert said.reason == "TOO_MANY_REQUESTS"
        assert 1 <= said.retry_after_s <= 60
    async with running_services(store_of(), max_calls_per_minute_per_owner=1) as services:
        made = await services.generate(allow_multiple_calls=True)
        await services.edge.Invoke(request_of(made))
        assert (await refusal(look_up(services, made))).reason == "TOO_MANY_REQUESTS"


async def test_a_guard_is_left_to_the_call(services):
    made = await services.generate("form", get_guard=pb.GET_GUARD_CONFIRM)
    call = services.edge.Invoke(request_of(made, [("content-type", "text/plain")], request_method="put"))
    await services.running()
    await look_up(services, made)
    call.cancel()


async def test_look_ups_and_calls_of_one_message_are_independent(services):
    made = await services.generate()
    stream = services.edge.StreamInvocations()
    await stream.read()
    invocations = [
        edge.Invocation(number=1, request=request_of(made), look_up=True),
        edge.Invocation(number=2, request=edge.InvokeRequest(state="none", request_method="post"), look_up=True),
        edge.Invocation(number=3, request=request_of(made)),
    ]
    await stream.write(edge.StreamInvocationsRequest(invocations=invocations))
    await stream.done_writing()
    outcomes = {}
    while (message := await stream.read()) is not grpc.aio.EOF:
        outcomes |= {result.number: result.WhichOneof("outcome") for result in message.results}
    assert outcomes == {1: "send_body", 2: "status", 3: "response"}

"""Callbacks of an endpoint: one of a correlation key is open at a time, and closing it frees the key."""

import asyncio
import contextlib
from types import SimpleNamespace

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from server.test_generate import delete
from server.test_generate_batches import generate as generate_batch
from server.test_generate_batches import reasons, request
from soak.counts import SOAK
from support.cases import Cases
from support.handlers import reject, stub_handler
from support.principals import KnownRoles, by
from support.services import refusal, refusal_of, response, running_services
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback_server.domain import ids
from callback_server.settings import ActivitySettings
from callback_server.store import keys

KINDS = ["valkey", "valkey-cluster", "redis"] if SOAK else ["valkey", "valkey-cluster"]
IN_USE = "CORRELATION_KEY_IN_USE"
NOT_FOUND = "ENDPOINT_NOT_FOUND"
KEY = "tr_7"


def settings_of(folder, **owners):
    """Return the settings of endpoints by name, each with its owner, and of the profile that they need."""
    secret = folder / "secret"
    secret.write_text("s" * 32)
    secret.chmod(0o600)
    return {
        "declared": {"psp": {"kind": "shared-secret", "header": "x-secret", "secret_files": [secret]}},
        "endpoints": {
            name: {"owner": owner, "profile": "psp", "correlation_key": "json:/id"} for name, owner in owners.items()
        },
    }


@pytest.fixture(scope="module", params=KINDS)
async def running(store_of, tmp_path_factory, request):
    """Run two servers on a store, with the endpoints `psp` and `bank`, and a handler that rejects."""
    store = store_of(request.param)

    async def rejects(_request, _context):
        return reject()

    settings = settings_of(tmp_path_factory.mktemp("secrets"), psp="local", bank="local")
    async with stub_handler() as stub:
        rejecting = {"activity": "push", "callback_activity_case": stub.play(rejects)}
        settings["activities"] = {"push": ActivitySettings(target=stub.target)}
        async with running_services(store, **settings) as first, running_services(store, **settings) as second:
            yield SimpleNamespace(store=store, services=first, other=second, rejecting=rejecting)


@pytest.fixture
def up(running):
    """Return the servers of the module, with an empty store."""
    running.store.flush_below()
    return running


def field_of(up, made, name):
    """Return the future of a stored field of a case."""
    case_id = made.callback_case_id
    return up.services.control_plane.client.hget(keys.key(keys.partition_of(case_id), "case", case_id), name)


def generate(services, key=KEY, *, endpoint="psp", **fields):
    """Generate a callback of a correlation key."""
    return services.generate(fields.pop("activity", "record"), endpoint=endpoint, correlation_key=key, **fields)


async def in_use(services, made, **fields):
    """Return whether the key of a callback refuses another one, and names that callback."""
    said = await refusal(generate(services, **fields))
    assert (said.code, said.reason) == (grpc.StatusCode.ALREADY_EXISTS, IN_USE)
    return said.metadata == {"case_id": made.callback_case_id}


async def test_a_callback_has_its_endpoint_and_key_and_lies_where_its_pointer_does(up):
    for number in range(20):
        made = await generate(up.services, f"tr_{number}")
        case = await up.services.case_of(made)
        assert (case.endpoint, case.correlation_key) == ("psp", f"tr_{number}")
        assert made.callback_url == f"https://box.example/cb/{made.callback_state}"
        assert await up.services.call(made)


async def test_of_many_at_once_for_a_key_exactly_one_is_made(up):
    for number in range(5):
        sent = [generate(services, f"tr_{number}") for services in (up.services, up.other) * 25]
        answers = await asyncio.gather(*sent, return_exceptions=True)
        (made,) = [each for each in answers if not isinstance(each, Exception)]
        said = [refusal_of(each) for each in answers if each is not made]
        assert {each.reason for each in said} == {IN_USE}
        assert [each.metadata for each in said] == [{"case_id": made.callback_case_id}] * 49


async def test_other_keys_and_other_endpoints_have_callbacks_of_their_own(up):
    made = await generate(up.services)
    for other in ("tr_8", "TR_7", " tr_7", "tr_7 ", "tr_7\0", "7", "07", "é", "e\u0301", "x" * 200, "tr_7\n"):
        await generate(up.services, other)
    await generate(up.services, endpoint="bank")
    await up.services.generate()
    assert await in_use(up.services, made)


@pytest.mark.parametrize("end", ["CONSUMED", "FAILED", "CLOSED_BY_OWNER"])
async def test_a_closed_callback_frees_its_key(up, end):
    for _ in range(3):
        made = await generate(up.services, **(up.rejecting if end == "FAILED" else {}))
        assert await in_use(up.services, made)
        await (up.services.close if end == "CLOSED_BY_OWNER" else up.services.call)(made)
        assert pb.CloseReason.Name((await up.services.case_of(made)).close_reason) == f"CLOSE_REASON_{end}"


async def test_a_callback_that_expires_frees_its_key_without_a_sweep(up):
    made = await generate(up.services, time_to_live=Duration(seconds=1))

    async def another():
        with contextlib.suppress(grpc.aio.AioRpcError):
            return await generate(up.other)

    assert await wait_until(another, what="the expiry")
    assert (await up.services.case_of(made)).close_reason == pb.CLOSE_REASON_EXPIRED


async def test_a_call_that_was_interrupted_frees_the_key_without_a_sweep(up):
    made = await generate(up.services, activity="push")
    claimed = SimpleNamespace(id=made.callback_case_id, state_sha256=ids.state_hash(made.callback_state))
    client, leases = up.services.control_plane.client, keys.key(keys.partition_of(claimed.id), "leases")
    grant = await Cases(client).claim(claimed)  # for a call that no server runs
    assert await in_use(up.services, made)
    await client.zadd(leases, {grant.call_id: 1})
    await generate(up.services)
    assert (await up.services.case_of(made)).close_reason == pb.CLOSE_REASON_INTERRUPTED


async def test_a_callback_that_is_open_again_keeps_its_key(up):
    made = await generate(up.services, **up.rejecting, retryable_after_error=True)
    await up.services.call(made)
    assert await in_use(up.services, made)
    many = await generate(up.services, "tr_8", allow_multiple_calls=True)
    await up.services.call(many)
    assert await in_use(up.services, many, key="tr_8")


async def test_the_same_request_id_gives_the_same_callback_open_or_closed(up):
    made = await generate(up.services, request_id="order-5")
    assert await generate(up.other, request_id="order-5") == made
    assert await in_use(up.services, made)
    assert await in_use(up.services, made, request_id="order-6")
    await up.services.close(made)
    assert await generate(up.other, request_id="order-5") == made
    again = await generate(up.services, request_id="order-6")
    assert again.callback_case_id != made.callback_case_id
    assert await generate(up.services, request_id="order-5") == made
    assert await generate(up.services, request_id="order-6") == again
    assert await in_use(up.services, again)
    said = await refusal(generate(up.services, request_id="order-5", labels={"order": "5"}))
    assert (said.code, said.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_a_request_id_counts_within_its_key(up):
    made = [
        await generate(up.services, key, endpoint=endpoint, request_id="order-5")
        for key, endpoint in ((KEY, "psp"), (KEY, "bank"), ("tr_8", "psp"))
    ]
    made.append(await up.services.generate(request_id="order-5"))
    assert len({each.callback_url for each in made}) == 4


async def test_many_at_once_with_one_request_id_get_the_same_callback(up):
    sent = [generate(services, request_id="order-5") for services in (up.services, up.other) * 25]
    assert len({made.callback_url for made in await asyncio.gather(*sent)}) == 1


async def test_a_deleted_callback_takes_its_part_of_the_pointer_along(up):
    first = await generate(up.services, request_id="order-5")
    await up.services.close(first)
    second = await generate(up.services, request_id="order-6")
    await delete(up.services, first)
    client = up.services.control_plane.client
    name = (await field_of(up, second, "correlation")).decode()
    pointer = keys.key(keys.partition_of(first.callback_case_id), "correlation", name)
    assert await client.hget(pointer, "case") == second.callback_case_id.encode()
    assert await client.hlen(pointer) == 2
    assert await in_use(up.services, second)
    await up.services.close(second)
    third = await generate(up.services, request_id="order-5")
    assert third.callback_url != first.callback_url
    await delete(up.services, second)
    assert await in_use(up.services, third)
    await up.services.close(third)
    await delete(up.services, third)
    assert not await client.exists(pointer)


async def test_without_a_url_only_events_reach_a_callback(up):
    made = await generate(up.services, no_url=True)
    assert (made.callback_url, made.callback_state) == ("", "")
    case = await up.services.case_of(made)
    assert (case.endpoint, case.correlation_key) == ("psp", KEY)
    assert await in_use(up.services, made)
    assert not await field_of(up, made, "sha")
    kept = await generate(up.services, "tr_8", no_url=True, request_id="order-5")
    assert await generate(up.other, "tr_8", no_url=True, request_id="order-5") == kept
    assert kept.callback_case_id


BAD = {
    "a key without an endpoint": ({"correlation_key": KEY}, {"correlation_key"}),
    "an endpoint without a key": ({"endpoint": "psp"}, {"correlation_key"}),
    "a key of 201 bytes": ({"endpoint": "psp", "correlation_key": "é" * 100 + "x"}, {"correlation_key"}),
    "no URL and no endpoint": ({"no_url": True}, {"no_url"}),
    "what holds on a URL": (
        {
            "endpoint": "psp", "correlation_key": KEY, "no_url": True, "state_query_parameter": "state",
            "alternative_domain": "https://shop.example", "get_guard": pb.GET_GUARD_CONFIRM,
            "prompt": pb.Prompt(title="Pay?"), "closed_response": response(), "frame_origins": ["https://shop.example"],
        },
        {"state_query_parameter", "alternative_domain", "get_guard", "prompt", "closed_response", "frame_origins"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
async def test_what_does_not_fit_together_is_refused(up, what):
    fields, bad = BAD[what]
    said = await refusal(up.services.generate(**fields))
    assert said.reason == "INVALID_REQUEST"
    assert {*said.fields} == bad


async def test_a_batch_makes_one_callback_of_a_key(up):
    results = await generate_batch(
        up.services,
        [
            request(endpoint="psp", correlation_key=KEY),
            request(endpoint="psp", correlation_key=KEY),
            request(endpoint="other", correlation_key=KEY),
            request(endpoint="psp", correlation_key="tr_8"),
            request(),
        ],
    )
    assert reasons(results) == [None, IN_USE, NOT_FOUND, None, None]


async def test_an_endpoint_of_another_owner_is_as_one_that_does_not_exist(store_of, tmp_path):
    settings = settings_of(tmp_path, psp="shop", bank="bank")
    async with running_services(store_of(), principals=KnownRoles, **settings) as services:
        made = await generate(services, metadata=by("shop"))
        await generate(services, endpoint="bank", metadata=by("bank"))
        unknown = await refusal(generate(services, endpoint="nothing", metadata=by("bank")))
        assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, NOT_FOUND)
        assert await refusal(generate(services, metadata=by("bank"))) == unknown
        assert await refusal(generate(services, metadata=by("shop"), endpoint="bank")) == unknown
        assert await in_use(services, made, metadata=by("shop"))


async def test_the_key_stays_free_for_the_new_owner_of_an_endpoint(store_of, tmp_path):
    store = store_of()
    async with running_services(store, principals=KnownRoles, **settings_of(tmp_path, psp="shop")) as services:
        made = await generate(services, metadata=by("shop"))
    async with running_services(store, principals=KnownRoles, **settings_of(tmp_path, psp="bank")) as services:
        assert (await refusal(generate(services, metadata=by("shop")))).reason == NOT_FOUND
        assert await generate(services, metadata=by("bank")) != made


async def test_a_retried_request_gets_its_callback_again_at_the_limit_on_open_ones(store_of, tmp_path):
    settings = settings_of(tmp_path, psp="local")
    async with running_services(store_of(), max_open_cases_per_owner=1, **settings) as services:
        made = await generate(services, request_id="order-5")
        assert await generate(services, request_id="order-5") == made
        said = await refusal(generate(services, "tr_8", request_id="order-5"))
        assert said.reason == "TOO_MANY_OPEN_CALLBACKS"


async def test_requests_with_one_id_in_two_keys_count_as_two_callbacks(store_of, tmp_path):
    requests = [request(endpoint="psp", correlation_key=key, request_id="order-5") for key in (KEY, "tr_8")]
    settings = settings_of(tmp_path, psp="local")
    async with running_services(store_of(), max_open_cases_per_owner=1, **settings) as services:
        assert reasons(await generate_batch(services, requests)) == [None, "TOO_MANY_OPEN_CALLBACKS"]

"""Cookies of responses: only on an alternative domain that the operator has reserved for the owner of the case."""

import contextlib
from datetime import timedelta
from types import SimpleNamespace

import pytest
from support.edge import http_request, parse_answers, running_edge, send_raw
from support.handlers import accept, answering, override, reject, stub_handler
from support.principals import principals_of
from support.services import running_services
from support.verification import ById
from support.wait import wait_until

from callback import (
    Accept,
    AsyncCallbackClient,
    CallFailure,
    CallFilter,
    CallStatus,
    InvalidRequestError,
    Redirect,
    Reject,
    Response,
)
from callback_server.access.roles import Role
from callback_server.settings import ActivitySettings

PAY, SHARED = "https://pay.example", "https://shared.example"
COOKIE = "a=1; Path=/; Secure"
COOKIES = {"set-cookie": COOKIE}
ROLES = {"orders": Role.OWNER, "other": Role.OWNER, "admin": Role.ADMIN, "edge": Role.EDGE}


@pytest.fixture(scope="module")
async def shared(shared_store, tmp_path_factory):
    """Run a server and an edge, with a push handler, and a client of each principal by its name."""
    shared_store.flush()
    token = tmp_path_factory.mktemp("edge") / "token"
    token.write_text("edge")
    known = principals_of(**{name: {"roles": [role]} for name, role in ROLES.items()})
    async with contextlib.AsyncExitStack() as stack:
        handler = await stack.enter_async_context(stub_handler())
        push = {"push": ActivitySettings(target=handler.target, deadline_s=60)}
        domains = {"cookie_domains": {PAY: "orders"}, "alternative_domains": [SHARED]}
        services = await stack.enter_async_context(
            running_services(shared_store, activities=push, principals=lambda: known, **domains)
        )
        edge = await stack.enter_async_context(running_edge(services.address, server_token_file=token))
        clients = {
            name: await stack.enter_async_context(AsyncCallbackClient(services.address, token=name, retry=False))
            for name in ("orders", "other", "admin")
        }
        yield SimpleNamespace(edge=edge, handler=handler, **clients)


@pytest.fixture
def system(shared, shared_store):
    """Return the server, edge and clients of the module, with an empty store."""
    shared_store.flush_below()
    return shared


async def cookies_of(system, made, host="pay.example"):
    await wait_until(lambda: not system.edge.upstream.why_not_ready())
    raw = await send_raw(system.edge.port, http_request("/cb/" + made.state, host=host))
    (answer,) = parse_answers(raw)
    return answer.status, answer.all("set-cookie")


async def refused(awaitable):
    """Return the refused fields of a request, with their rules."""
    with pytest.raises(InvalidRequestError) as caught:
        await awaitable
    return {each.field: each.rule for each in caught.value.violations}


@pytest.mark.parametrize("port", ["", ":8443"])
async def test_an_owner_sets_cookies_on_the_domain_that_is_reserved_for_it(system, port):
    made = await system.orders.generate_callback_url(
        "record", Response(headers=COOKIES), alternative_domain=PAY + port, allow_multiple_calls=True
    )
    assert made.url.startswith(f"{PAY}{port}/cb/")
    assert await cookies_of(system, made) == (200, [COOKIE])
    assert await cookies_of(system, made, host=f"PAY.example{port}") == (200, [COOKIE])
    assert await cookies_of(system, made, host="box.example") == (200, [])
    await system.orders.set_response(made.case_id, Response(headers={"set-cookie": "b=2"}))
    assert await cookies_of(system, made) == (200, ["b=2"])


async def test_a_handler_an_answer_and_a_fallback_set_cookies_on_a_reserved_domain(system):
    name = system.handler.play(answering(accept(override([("Set-Cookie", COOKIE)]))))
    made = await system.orders.generate_callback_url(
        "push", Response(), activity_case=name, alternative_domain=PAY, allow_multiple_calls=True
    )
    assert await cookies_of(system, made) == (200, [COOKIE])
    assert await cookies_of(system, made, host="box.example") == (200, [])

    name = system.handler.play(answering(reject(override([("Set-Cookie", COOKIE)]))))
    made = await system.orders.generate_callback_url("push", Response(), activity_case=name, alternative_domain=PAY)
    assert await cookies_of(system, made) == (422, [COOKIE])

    fallback = {"answer_deadline": timedelta(milliseconds=100), "fallback": Response(headers=COOKIES)}
    made = await system.orders.generate_callback_url("form", Response(), alternative_domain=PAY, **fallback)
    assert await cookies_of(system, made) == (200, [COOKIE])
    (call,) = [each async for each in system.orders.list_owner_calls(CallFilter.WAITING)]
    await system.orders.answer_call(call.call_id, Response(headers=COOKIES))


@pytest.mark.parametrize("domain", ["", SHARED])
async def test_cookies_on_a_domain_that_owners_share_are_refused(system, domain):
    not_allowed = {"response.response_headers": "cookie_not_allowed"}
    fallback = {"answer_deadline": timedelta(seconds=1), "fallback": Response(headers={"Set-Cookie": "a=1"})}
    assert (
        await refused(
            system.orders.generate_callback_url("record", Response(headers=COOKIES), alternative_domain=domain)
        )
        == not_allowed
    )
    assert await refused(
        system.orders.generate_callback_url("form", Response(), alternative_domain=domain, **fallback)
    ) == {"fallback.response_headers": "cookie_not_allowed"}
    made = await system.orders.generate_callback_url(
        "form", Response(), alternative_domain=domain, answer_deadline=timedelta(milliseconds=100), fallback=Response()
    )
    for client in (system.orders, system.admin):
        assert await refused(client.set_response(made.case_id, Response(headers=COOKIES))) == not_allowed
    assert await cookies_of(system, made) == (200, [])
    (call,) = [each async for each in system.orders.list_owner_calls(CallFilter.WAITING)]
    for decision in (Accept(Response(headers=COOKIES)), Reject(Response(headers=COOKIES))):
        assert await refused(system.orders.answer_call(call.call_id, decision)) == not_allowed


@pytest.mark.parametrize("decide", [accept, reject])
async def test_a_handler_that_sets_a_cookie_on_a_domain_that_owners_share_fails(system, decide):
    name = system.handler.play(answering(decide(override([("Set-Cookie", COOKIE)]))))
    made = await system.orders.generate_callback_url("push", Response(), activity_case=name, alternative_domain=SHARED)
    assert await cookies_of(system, made) == (502, [])
    (call,) = [each async for each in system.orders.list_calls(made.case_id)]
    assert (call.status, call.failure) == (CallStatus.FAILED, CallFailure.INVALID_RESPONSE)
    assert "set-cookie is allowed only on an alternative_domain" in call.failure_detail


async def test_a_cookie_with_a_domain_is_refused(system):
    headers = {"set-cookie": ["a=1", "b=2; path=/ ;\tDOMAIN =pay.example"]}
    assert await refused(
        system.orders.generate_callback_url("record", Response(headers=headers), alternative_domain=PAY)
    ) == {"response.response_headers": "cookie_domain"}


@pytest.mark.parametrize("domain", [PAY, "HTTPS://Pay.Example:443", f"{PAY}:8443"])
async def test_no_other_owner_can_use_a_reserved_domain(system, domain):
    for client in (system.other, system.admin):
        assert await refused(client.generate_callback_url("record", Redirect("/"), alternative_domain=domain)) == {
            "alternative_domain": "not_allowed"
        }


async def test_cookies_of_a_case_are_not_sent_once_its_domain_is_no_longer_reserved(store_of):
    store = store_of()
    async with (
        running_services(store, cookie_domains={PAY: "local"}) as services,
        AsyncCallbackClient(services.address) as client,
    ):
        made = await client.generate_callback_url("record", Response(headers=COOKIES), alternative_domain=PAY)
    async with running_services(store) as services, running_edge(services.address) as edge:
        assert await cookies_of(SimpleNamespace(edge=edge), made) == (200, [])


async def test_a_repeated_message_gets_the_cookies_of_its_first_answer(store_of):
    async with (
        running_services(store_of(), cookie_domains={PAY: "local"}, profiles={"it": ById("m1")}) as services,
        running_edge(services.address) as edge,
        AsyncCallbackClient(services.address) as client,
    ):
        made = await client.generate_callback_url(
            "record", Response(headers=COOKIES), alternative_domain=PAY, verification_profile="it"
        )
        system = SimpleNamespace(edge=edge)
        for _ in range(2):
            assert await cookies_of(system, made) == (200, [COOKIE])
        assert len([each async for each in client.list_calls(made.case_id)]) == 1

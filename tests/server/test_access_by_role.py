"""Access control: every method by every role on own and foreign cases, and with every kind of invalid credential.

The methods come from the contract. A new method that is missing from the table here fails the tests.
"""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import grpc
import pytest
import redis
from google.protobuf.message_factory import GetMessageClass
from support.edge_calls import answers_of, response_of
from support.keyrings import write_keyring
from support.principals import principals_of, token_entry
from support.services import pages, refusal_of, response, running_services
from support.stored import is_of_callers
from support.wait import wait_until

from callback.v1 import audit_service_pb2 as auditing
from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2, edge_service_pb2
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import operations_service_pb2 as operations
from callback.v1 import profiles_service_pb2 as profiles
from callback_server.access.authenticator import Authenticator
from callback_server.access.principals import Principals
from callback_server.access.roles import Principal, Role
from callback_server.rpc.method import require_roles
from callback_server.rpc.paging import ListQueue
from callback_server.store import keys
from callback_server.store.queries import list_owner_calls
from callback_server.store.transitions.apply_retention import apply_retention

SERVICES = [
    callbacks_service_pb2.DESCRIPTOR.services_by_name["CallbacksService"],
    operations.DESCRIPTOR.services_by_name["OperationsService"],
    auditing.DESCRIPTOR.services_by_name["AuditService"],
    profiles.DESCRIPTOR.services_by_name["ProfilesService"],
    edge_service_pb2.DESCRIPTOR.services_by_name["EdgeService"],
]
STREAM = "StreamInvocations"
METHODS = {method.name: method for service in SERVICES for method in service.methods}

NOW = datetime.now(UTC)
EXPIRED = "callback_expired"
TOKENS = {
    "mine": ("owner",),
    "other": ("owner",),
    "edge": ("edge",),
    "admin": ("admin",),
    "both": ("owner", "edge"),
    "worker": ("worker",),
    "answerer": ("worker",),
    "elsewhere": ("worker",),
    "limited": ("owner",),
    "colleague": ("owner", "worker"),
}
"""Principals and their roles; the token of each is `callback_` and its name."""
ACTIVITIES = {
    "worker": ["act"], "answerer": ["act", "form"], "elsewhere": ["other"], "limited": ["act"], "colleague": ["act"],
}  # fmt: skip
ANSWERS = ("answerer", "elsewhere", "colleague")
"""The workers that may answer."""


def known():
    earlier, later = NOW - timedelta(seconds=1), NOW + timedelta(days=1)
    expired = token_entry(EXPIRED, expires=earlier)
    return principals_of(
        **{
            name: {
                "roles": roles,
                "activities": ACTIVITIES.get(name, ()),
                "answers": name in ANSWERS,
                "tokens": (token_entry(f"callback_{name}", expires=later), *([expired] if name == "admin" else [])),
            }
            for name, roles in TOKENS.items()
        }
    )


PROFILE = {"name": "own/shop", "kind": "shared-secret", "settings": '{"header": "x"}', "secrets": ["s"]}


def token(name):
    return (("authorization", f"Bearer callback_{name}"),)


@pytest.fixture(scope="module")
async def server(store_of, tmp_path_factory):
    principals = known()
    store = store_of()
    keyring = write_keyring(tmp_path_factory.mktemp("keyring") / "keyring.toml", "key")
    async with running_services(store, principals=lambda: principals, keyring_file=keyring) as running:
        running.control_plane.deliveries.stop()
        running.store = store
        yield running


@pytest.fixture
def services(server):
    """Return the services of the module, with an empty store."""
    server.store.flush_below()
    return server


async def replayable_case(services):
    """Make a case of `mine` with one recorded call, which can be replayed, and a verification profile."""
    await services.profiles.CreateProfile(profiles.CreateProfileRequest(**PROFILE), metadata=token("mine"))
    made = await services.generate(
        "act", answer_mode=pb.ANSWER_MODE_ACK, allow_multiple_calls=True, metadata=token("mine")
    )
    answer = await services.call(made, method="get", metadata=token("edge"))
    return SimpleNamespace(id=made.callback_case_id, state=made.callback_state, call_id=answer.call_id)


@pytest.fixture
async def case(services):
    return await replayable_case(services)


def request(method, case):
    """Return a request about a case, as every client that knows its id can send it."""
    fields = {
        "GenerateCallbackUrl": {"callback_activity": "record", "response": response()},
        "GenerateCallbackUrls": {"requests": [{"callback_activity": "record", "response": response()}]},
        "SetResponse": {"callback_case_id": case.id, "response": pb.Response(response_code=202)},
        "AnswerCall": {"call_id": case.call_id},
        "ResolveCallback": {"callback_case_id": case.id},
        "CloseCallback": {"callback_case_id": case.id},
        "ExtendCallback": {"callback_case_id": case.id, "expire_time": NOW + timedelta(hours=1)},
        "GetCallback": {"callback_case_id": case.id},
        "ListCallbacks": {"owner": "mine"},
        "GetCall": {"call_id": case.call_id},
        "ListCalls": {"callback_case_id": case.id},
        "ListOwnerCalls": {"filter": rpc.CALL_FILTER_WAITING, "owner": "mine"},
        "EraseCalls": {"callback_case_id": case.id},
        "ReplayCall": {"call_id": case.call_id},
        "PauseActivity": {"callback_activity": "act"},
        "ResumeActivity": {"callback_activity": "act"},
        "ListPausedActivities": {},
        "ListActivities": {"owner": "mine"},
        "GetStatistics": {},
        "ListFindings": {},
        "ListAuditEntries": {"owner": "mine"},
        "VerifyAudit": {},
        "CreateProfile": PROFILE,
        "GetProfile": {"name": "own/shop"},
        "ListProfiles": {},
        "UpdateProfile": {"name": "own/shop", "added_secrets": ["t"]},
        "DeleteProfile": {"name": "own/shop"},
        "CheckProfile": {"name": "own/shop", "http_request": b"POST / HTTP/1.1"},
        "WatchCalls": {"callback_case_id": case.id},
        "ReportCallerGone": {"call_id": case.call_id},
        "StreamInvocations": {
            "invocations": [{"number": 1, "request": {"state": case.state, "request_method": "get"}}]
        },
    }[method.name]
    return GetMessageClass(method.input_type)(**fields)


def stub_of(services, method):
    """Return the stub of the service that has a method."""
    return getattr(services, method.containing_service.name.removesuffix("Service").lower())


async def ask(services, method, message, metadata=()):
    """Return code, reason, metadata and text of the error of a method; OK and empty ones if it succeeds."""
    stub = stub_of(services, method)
    try:
        asked = getattr(stub, method.name)(*(() if method.name == STREAM else (message,)), metadata=metadata)
        if method.name == "WatchCalls":
            await asked.read()
            asked.cancel()
        elif method.name == STREAM:
            await asked.read()  # readiness or a refusal, which a later write would hide
            await asked.write(message)
            await asked.done_writing()
            async for answer in answers_of(asked):
                response_of(answer)
        else:
            await asked
    except grpc.aio.AioRpcError as error:
        said = refusal_of(error)
        return said.code, said.reason, said.metadata, said.text
    return grpc.StatusCode.OK, "", {}, ""


def everything(store):
    with redis.Redis(port=store.port) as client:
        return {key: client.dump(key) for key in client.scan_iter() if is_of_callers(key)}


OK, NOT_FOUND = (grpc.StatusCode.OK, ""), grpc.StatusCode.NOT_FOUND
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"
ROLE_MISSING = grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING"
NOT_ALLOWED = grpc.StatusCode.PERMISSION_DENIED, "ACTIVITY_NOT_ALLOWED"
NOT_HELD = grpc.StatusCode.FAILED_PRECONDITION, "CALL_NOT_HELD"
UNKNOWN_CASE, UNKNOWN_CALL = (NOT_FOUND, "CALLBACK_NOT_FOUND"), (NOT_FOUND, "CALL_NOT_FOUND")
UNKNOWN_PROFILE = (NOT_FOUND, "PROFILE_NOT_FOUND")


OF_EDGES, OF_ADMINS = (
    (STREAM, "ReportCallerGone"),
    ("PauseActivity", "ResumeActivity", "ListPausedActivities", "GetStatistics", "ListFindings", "VerifyAudit"),
)
OF_ANY_OWNER = ("ListCallbacks", "ListOwnerCalls", "ListActivities", "ListAuditEntries")
OF_OWN_PROFILES = ("CreateProfile", "GetProfile", "ListProfiles", "UpdateProfile", "DeleteProfile", "CheckProfile")
OF_A_CALL = ("GetCall", "AnswerCall", "ReplayCall")
GENERATE = ("GenerateCallbackUrl", "GenerateCallbackUrls")
OF_OWNERS = (*GENERATE, *OF_OWN_PROFILES, "ExtendCallback", "EraseCalls", "ReplayCall")
"""What a worker may not do that answers."""


def expected(method, principal):
    """Return the expected code and reason for a request of a principal about a case of `mine`."""
    if method in OF_EDGES:
        return OK if principal in ("edge", "both") else ROLE_MISSING
    if principal in ("edge", "worker") or (principal in ANSWERS[:2] and method in OF_OWNERS):
        return ROLE_MISSING
    if method in OF_ADMINS:
        return OK if principal == "admin" else ROLE_MISSING
    if method in ("GetProfile", "UpdateProfile", "CheckProfile"):
        return OK if principal == "mine" else UNKNOWN_PROFILE
    if method in OF_OWN_PROFILES:
        return OK  # each on its own profiles
    if method == "GenerateCallbackUrl":
        return NOT_ALLOWED if principal in ("limited", "colleague") else OK
    if method == "GenerateCallbackUrls":
        return OK  # a result says what is not allowed
    if principal == "colleague" and method not in OF_OWNERS:
        return expected(method, "answerer")
    if method in ("AnswerCall", "ResolveCallback") and principal in ("mine", "admin", "answerer"):
        return NOT_HELD
    if principal in ("mine", "admin", "answerer"):
        return OK
    if method in OF_ANY_OWNER and principal == "elsewhere":
        return OK  # without cases
    if method in OF_ANY_OWNER:
        return ROLE_MISSING
    return UNKNOWN_CALL if method in OF_A_CALL else UNKNOWN_CASE


def assert_is_explained(method, principal, reason, facts, text):
    """Assert that a refusal for a missing role says which role is needed."""
    if reason == "ROLE_MISSING":
        needed = "edge" if method in OF_EDGES else "admin" if method in OF_ADMINS else "owner"
        if method in OF_ANY_OWNER and principal not in ("edge", "worker"):
            needed = "admin"  # for the cases of another owner
        could_answer = principal == "worker" and method not in (*OF_EDGES, *OF_ADMINS, *OF_OWNERS)
        assert (facts, "answers = true" in text) == ({"role": needed}, could_answer)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
async def test_each_principal_may_use_the_methods_of_its_roles_on_its_own_cases(services, case, method):
    refused = [each for each in TOKENS if expected(method.name, each) != OK]
    before = everything(services.store)
    for principal in refused:
        code, reason, facts, text = await ask(services, method, request(method, case), token(principal))
        assert (principal, code, reason) == (principal, *expected(method.name, principal))
        assert_is_explained(method.name, principal, reason, facts, text)
    assert everything(services.store) == before
    for principal in TOKENS.keys() - refused:
        own = await replayable_case(services)
        assert (principal, (await ask(services, method, request(method, own), token(principal)))[:2]) == (principal, OK)


CREDENTIALS = {
    "none": (),
    "unknown": (("authorization", "Bearer callback_nobody"),),
    "expired": (("authorization", f"Bearer {EXPIRED}"),),
    "empty": (("authorization", "Bearer "),),
    "no scheme": (("authorization", "callback_admin"),),
    "another scheme": (("authorization", "Basic callback_admin"),),
    "its hash": (("authorization", f"Bearer {hashlib.sha256(b'callback_admin').hexdigest()}"),),
    "twice": (("authorization", "Bearer callback_admin"), ("authorization", "Bearer callback_edge")),
    "another place": (("x-authorization", "Bearer callback_admin"),),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
async def test_every_method_refuses_an_invalid_credential_and_nothing_changes(services, case, method):
    before = everything(services.store)
    for name, credential in CREDENTIALS.items():
        code, reason, _, text = await ask(services, method, request(method, case), credential)
        assert (name, code, reason) == (name, *UNAUTHENTICATED)
        assert "callback_" not in text
    assert everything(services.store) == before


@pytest.mark.parametrize(
    "method",
    [name for name in METHODS if name not in (*GENERATE, *OF_ANY_OWNER, *OF_EDGES, *OF_ADMINS, *OF_OWN_PROFILES)],
)
async def test_the_error_for_a_foreign_case_is_the_same_as_for_an_unknown_one(services, case, method):
    foreign = request(METHODS[method], case)
    never = type(foreign)()
    never.CopyFrom(foreign)
    if method in OF_A_CALL:
        never.call_id = f"{'0' * 32}-{'0' * 16}"
    else:
        never.callback_case_id = "0" * 32
    assert await ask(services, METHODS[method], foreign, token("other")) == await ask(
        services, METHODS[method], never, token("other")
    )


async def test_who_answered_is_recorded_with_each_call_that_the_answer_ends(services):
    """Workers that answer, too: a call of a callback of their activities waits for them, and for no others."""
    made = await services.generate("form", allow_multiple_calls=True, metadata=token("mine"))
    first = services.call(made, metadata=token("edge"))
    (call,) = await services.running(made, metadata=token("mine"))
    assert not await services.waiting(owner="mine", metadata=token("elsewhere"))
    assert [each.call_id for each in await services.waiting(owner="mine", metadata=token("answerer"))] == [call.call_id]
    await services.answer(call.call_id, metadata=token("answerer"))
    await services.answer(call.call_id, metadata=token("admin"))  # the same again: the first one has answered
    await first
    second = services.call(made, metadata=token("edge"))
    await services.running(made, metadata=token("mine"))
    await services.resolve(made, metadata=token("admin"))
    await second
    await services.call(made, metadata=token("edge"))  # it ends at once
    calls = await services.list_calls(made, metadata=token("mine"))
    assert [each.answered_by for each in calls] == ["admin", "admin", "answerer"]


async def test_a_worker_that_answers_watches_and_lists_only_the_cases_of_its_activities(services):
    watches = {
        name: services.callbacks.WatchCalls(rpc.WatchCallsRequest(), metadata=token(name)) for name in ANSWERS[:2]
    }
    for each in watches.values():
        await each.read()
    cases = {}
    for activity in ("act", "other", "record", "act"):
        made = await services.generate(activity, metadata=token("mine"))
        cases.setdefault(activity, []).append(made.callback_case_id)
    for name, activity in (("answerer", "act"), ("elsewhere", "other")):
        found = await services.cases(owner="mine", metadata=token(name))
        assert sorted(each.callback_case_id for each in found) == sorted(cases[activity])
        seen = []
        while len(seen) < len(cases[activity]):
            seen += (await watches[name].read()).events
        assert sorted(each.callback_case_id for each in seen) == sorted(cases[activity])
        watches[name].cancel()


async def test_a_worker_that_lists_without_an_owner_is_told_to_name_one(services):
    for method in ("ListCallbacks", "ListOwnerCalls"):
        asked = GetMessageClass(METHODS[method].input_type)()
        if method == "ListOwnerCalls":
            asked.filter = rpc.CALL_FILTER_WAITING
        code, reason, _, text = await ask(services, METHODS[method], asked, token("answerer"))
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert "a worker has no callbacks of its own" in text


async def test_a_principal_sees_only_the_activities_that_it_may_use(services, case):
    async def names(principal, **fields):
        page = await services.operations.ListActivities(
            operations.ListActivitiesRequest(**fields), metadata=token(principal)
        )
        return [each.callback_activity for each in page.activities]

    assert await names("mine") == ["act", "form", "record"]
    assert await names("other") == ["form", "record"]  # the delivery for `act` is of another owner
    assert await names("admin") == ["act", "form", "record"]
    assert await names("answerer", owner="mine") == ["act", "form"]
    assert await names("elsewhere", owner="mine") == []
    assert await names("limited") == []


async def test_an_owner_that_is_limited_has_only_callbacks_of_its_activities(services):
    async def generate(activity):
        asked = rpc.GenerateCallbackUrlRequest(callback_activity=activity, response=response())
        return await ask(services, METHODS["GenerateCallbackUrl"], asked, token("limited"))

    assert (await generate("act"))[:2] == OK
    code, reason, facts, text = await generate("form")
    assert ((code, reason), facts) == (NOT_ALLOWED, {"activity": "form"})
    assert "add it to the activities of its entry in the principals file" in text
    found = await services.cases(metadata=token("limited"))
    assert [each.callback_activity for each in found] == ["act"]


@pytest.fixture
async def narrowed(store_of):
    """Return services whose owner `mine` is limited to `act` since it has cases of other activities."""
    principals = {"now": known()}
    store = store_of(is_in_use=True)
    async with running_services(store, principals=lambda: principals["now"]) as running:
        running.control_plane.deliveries.stop()
        running.cases = {}
        callers = []
        for activity in ("act", "act", "other", "other", "other"):
            holds = {"answer_mode": pb.ANSWER_MODE_HOLD, "allow_multiple_calls": True, "labels": {"order": "5"}}
            made = await running.generate(activity, **holds, metadata=token("mine"))
            callers.append(running.call(made, metadata=token("edge")))
            running.cases.setdefault(activity, []).append(made)
            (running.last_call,) = await running.running(made, metadata=token("mine"))
        entries = dict(principals["now"].entries)
        entries["mine"] = entries["mine"].model_copy(update={"activities": frozenset({"act"})})
        principals["now"] = Principals(entries)
        yield running
        for each in callers:
            each.cancel()


async def test_for_an_owner_that_is_limited_later_its_other_cases_do_not_exist(narrowed):
    hidden = SimpleNamespace(
        id=narrowed.cases["other"][-1].callback_case_id, state="", call_id=narrowed.last_call.call_id
    )
    of_a_case = ("GetCallback", "ListCalls", "WatchCalls", "CloseCallback", "EraseCalls", "ExtendCallback")
    for name in (*of_a_case, *OF_A_CALL):
        said = await ask(narrowed, METHODS[name], request(METHODS[name], hidden), token("mine"))
        assert said[:2] == (UNKNOWN_CALL if name in OF_A_CALL else UNKNOWN_CASE)


async def pages_of(services, method, items, **fields):
    """Return the items of each page of a list of `mine`, and the tokens between them."""
    asked = GetMessageClass(METHODS[method].input_type)(page_size=1, **fields)
    found = await pages(getattr(stub_of(services, METHODS[method]), method), asked, metadata=token("mine"))
    return [list(getattr(page, items)) for page in found], [page.next_page_token for page in found[:-1]]


async def test_the_lists_of_an_owner_that_is_limited_later_skip_its_other_cases_and_so_do_their_tokens(narrowed):
    visible = [made.callback_case_id for made in narrowed.cases["act"]]
    for fields in ({}, {"callback_activity": "act"}, {"labels": {"order": "5"}}):
        listed, _ = await pages_of(narrowed, "ListCallbacks", "callbacks", **fields)
        assert [[each.callback_case_id for each in page] for page in listed] == [[each] for each in reversed(visible)]
    assert await pages_of(narrowed, "ListCallbacks", "callbacks", callback_activity="other") == ([[]], [])
    listed, tokens = await pages_of(narrowed, "ListOwnerCalls", "calls", filter=rpc.CALL_FILTER_WAITING)
    assert [[each.callback_case_id for each in page] for page in listed] == [[each] for each in reversed(visible)]
    assert visible[1] in tokens[0]
    listed, tokens = await pages_of(narrowed, "ListActivities", "activities")
    assert [[each.callback_activity for each in page] for page in listed] == [["act"]]
    assert tokens == []


async def test_an_owner_that_is_limited_later_watches_only_its_activities(narrowed):
    watch = narrowed.callbacks.WatchCalls(rpc.WatchCallsRequest(), metadata=token("mine"))
    await watch.read()
    for activity in ("other", "act"):
        await narrowed.set_response(narrowed.cases[activity][0], response_code=202, metadata=token("admin"))
        await narrowed.close(narrowed.cases[activity][0], metadata=token("admin"))
    seen = []
    while not seen:
        seen += (await watch.read()).events
    assert {each.callback_case_id for each in seen} == {narrowed.cases["act"][0].callback_case_id}
    watch.cancel()


@pytest.mark.parametrize("scan", [1, 1000])
async def test_calls_of_other_activities_do_not_end_a_list_early(narrowed, limits, scan):
    limits(list_owner_calls, SCAN=scan)
    listed, _ = await pages_of(narrowed, "ListOwnerCalls", "calls", filter=rpc.CALL_FILTER_WAITING)
    found = [each.callback_case_id for page in listed for each in page]
    assert found == [made.callback_case_id for made in reversed(narrowed.cases["act"])]


async def test_the_scheme_of_a_token_is_read_in_upper_and_lower_case(services, case):
    for value in ("bearer callback_mine", "BEARER callback_mine", "Bearer  callback_mine "):
        code, *_ = await ask(
            services, METHODS["GetCallback"], request(METHODS["GetCallback"], case), (("authorization", value),)
        )
        assert code is grpc.StatusCode.OK


async def test_a_list_holds_the_cases_of_one_owner(services, case):
    await services.generate(metadata=token("other"))

    async def owners(principal, owner=""):
        return [each.owner for each in await services.cases(owner=owner, metadata=token(principal))]

    assert await owners("mine") == ["mine"]
    assert await owners("other", "other") == ["other"]
    assert await owners("admin") == []
    assert await owners("admin", "other") == ["other"]
    assert await owners("admin", "nobody") == []


async def test_a_method_that_declares_no_role_cannot_be_served():
    class Forgetful:
        access = Authenticator(None)

        async def StreamInvocations(self, requests, context):  # the contract's name
            raise AssertionError

    with pytest.raises(
        TypeError, match=r"callback\.v1\.EdgeService/StreamInvocations does not say which role it needs"
    ):
        require_roles(SERVICES[-1], Forgetful())


async def test_a_principal_waits_for_its_own_lists_and_not_for_those_of_others():
    queue, running = ListQueue(), []
    mine, other = (Principal(name, frozenset({Role.OWNER})) for name in ("mine", "other"))

    async def list_until(end, caller):
        async with queue.turn(caller):
            running.append(caller.name)
            await end.wait()

    ends = [asyncio.Event() for _ in range(3)]
    lists = [
        asyncio.create_task(list_until(end, caller)) for end, caller in zip(ends, (mine, mine, other), strict=True)
    ]
    await wait_until(lambda: len(running) >= 2)
    assert running == ["mine", "other"]
    ends[0].set()
    await wait_until(lambda: running == ["mine", "other", "mine"])
    for end in ends:
        end.set()
    await asyncio.gather(*lists)


async def test_an_administrator_sees_owners_that_have_left_the_principals_file_while_their_callbacks_are_kept(store_of):
    principals = {"now": known()}
    async with running_services(store_of(is_in_use=True), principals=lambda: principals["now"]) as services:
        made = await services.generate("record", metadata=token("mine"))
        entries = dict(principals["now"].entries)
        del entries["mine"]
        principals["now"] = Principals(entries)

        async def counted():
            found = await services.operations.GetStatistics(operations.GetStatisticsRequest(), metadata=token("admin"))
            return {each.owner: each.open_callback_count for each in found.owners}.get("mine")

        assert await counted() == 1
        scripts, case_id = services.control_plane.scripts, made.callback_case_id
        await services.callbacks.CloseCallback(
            rpc.CloseCallbackRequest(callback_case_id=case_id), metadata=token("admin")
        )
        assert await counted() == 0

        async def dropped():
            await apply_retention(scripts, keys.partition_of(case_id), retention_ms=0)
            return await counted() is None

        await wait_until(dropped, what="the deletion of the last callback of the owner")

"""The audit of a server: each change by a principal has exactly one entry, which only those see who see its case."""

from datetime import UTC, datetime, timedelta

import pytest
import redis
from prometheus_client import REGISTRY
from soak.counts import count
from support import principals
from support.keyrings import write_keyring
from support.principals import principals_of
from support.proxy import StoreProxy, each_once
from support.secrets import spellings
from support.services import pages, refusal, response, running_services
from support.store import StoreProcess

from callback.v1 import audit_service_pb2 as auditing
from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import operations_service_pb2 as operations
from callback.v1 import profiles_service_pb2 as profiles
from callback_server.access.roles import Role
from callback_server.store import keys

LATER = datetime.now(UTC) + timedelta(days=1)
SERVICES = [
    rpc.DESCRIPTOR.services_by_name["CallbacksService"],
    operations.DESCRIPTOR.services_by_name["OperationsService"],
    auditing.DESCRIPTOR.services_by_name["AuditService"],
    profiles.DESCRIPTOR.services_by_name["ProfilesService"],
]
CHANGES = {
    # The action of the entry, who may do it, and how many entries there are if the same is asked twice.
    "SetResponse": ("RESPONSE_SET", "desk", 2),
    "AnswerCall": ("CALL_ANSWERED", "desk", 1),
    "ResolveCallback": ("CALLBACK_RESOLVED", "boss", 1),
    "CloseCallback": ("CALLBACK_CLOSED", "orders", 1),
    "ExtendCallback": ("CALLBACK_EXTENDED", "orders", 1),
    "EraseCalls": ("CALLS_ERASED", "boss", 1),
    "ReplayCall": ("CALL_REPLAYED", "orders", 2),
    "PauseActivity": ("ACTIVITY_PAUSED", "boss", 2),
    "ResumeActivity": ("ACTIVITY_RESUMED", "boss", 1),
    "CreateProfile": ("PROFILE_CREATED", "orders", 1),
    "UpdateProfile": ("PROFILE_UPDATED", "orders", 1),
    "DeleteProfile": ("PROFILE_DELETED", "orders", 1),
    "CheckProfile": ("PROFILE_CHECKED", "orders", 2),
}
"""The methods that change something, which is in the audit."""
WITHOUT_ENTRY = {
    *("GetCallback", "ListCallbacks", "GetCall", "ListCalls", "ListOwnerCalls", "ListPausedActivities"),
    *("ListActivities", "GetStatistics", "ListFindings", "ListAuditEntries", "VerifyAudit", "WatchCalls"),
    *("GetProfile", "ListProfiles"),
    *("GenerateCallbackUrl", "GenerateCallbackUrls"),  # the case itself says who made it, and when
}
"""The methods that change nothing that the audit has."""
SCRIPTS = (
    *("set_response", "finish_call", "resolve_case", "close_case", "extend_case", "erase_calls", "replay_call"),
    *("change_pauses", "change_profile"),
)
"""The scripts of the changes."""


PRINCIPALS = principals_of(
    orders={"roles": [Role.OWNER]},
    other={"roles": [Role.OWNER]},
    boss={"roles": [Role.ADMIN]},
    desk={"roles": [Role.WORKER], "activities": ["form", "act"], "answers": True},
    edge={"roles": [Role.EDGE]},
)


def by(name):
    return {"metadata": principals.by(name)}


@pytest.fixture(scope="module")
def keyring(tmp_path_factory):
    return write_keyring(tmp_path_factory.mktemp("keyring") / "keyring.toml", "key")


@pytest.fixture(scope="module")
async def services(store_of, keyring):
    store = store_of()
    async with running_services(store, principals=lambda: PRINCIPALS, keyring_file=keyring) as running:
        running.control_plane.deliveries.stop()
        running.store = store
        yield running


async def generate(services, activity="form", **fields):
    return await services.generate(
        activity, response=response(response_body=b"hi"), allow_multiple_calls=True, **fields, **by("orders")
    )


async def held_call(services, made, **fields):
    """Return the id of a call that is held, and the future of its answer."""
    caller = services.call(made, **fields, **by("edge"))
    (call,) = await services.running(made, **by("orders"))
    return call.call_id, caller


async def prepared(services, method, activity):
    """Return the fields of a request that changes something, its case, its call, and the task of a caller."""
    if method in ("PauseActivity", "ResumeActivity"):
        if method == "ResumeActivity":
            await services.pause(activity, **by("boss"))
        return {"callback_activity": activity}, "", "", None
    if method.endswith("Profile"):
        name = f"own/{activity.lower()}"
        new = {"name": name, "kind": "basic", "settings": '{"username": "u"}', "secrets": ["x"]}
        if method != "CreateProfile":
            await send(services, "CreateProfile", new, "orders")
        changes = {
            "CreateProfile": new,
            "UpdateProfile": {"name": name, "added_secrets": ["y"]},
            "CheckProfile": {"name": name, "http_request": b"POST / HTTP/1.1"},
        }
        return changes.get(method, {"name": name}), "", "", None
    if method in ("EraseCalls", "ReplayCall"):
        made = await generate(services, "act", answer_mode=pb.ANSWER_MODE_ACK)
        call_id, caller = (await services.call(made, **by("edge"))).call_id, None
    elif method == "AnswerCall":
        made = await generate(services)
        call_id, caller = await held_call(services, made)
    else:
        made, call_id, caller = await generate(services), "", None
    case_id = made.callback_case_id
    fields = {
        "SetResponse": {"response": pb.Response(response_code=202)},
        "AnswerCall": {"call_id": call_id, "verdict": handler_pb.VERDICT_REJECTED},
        "ExtendCallback": {"expire_time": LATER},
        "ReplayCall": {"call_id": call_id},
    }.get(method, {})
    if method not in ("AnswerCall", "ReplayCall"):
        fields = fields | {"callback_case_id": case_id}
    return fields, case_id, call_id if method in ("AnswerCall", "ReplayCall") else "", caller


async def send(services, method, fields, actor):
    stub, messages = services.callbacks, rpc
    if method.endswith("Activity"):
        stub, messages = services.operations, operations
    if method.endswith("Profile"):
        stub, messages = services.profiles, profiles
    request = getattr(messages, f"{method}Request")(**fields)
    return await getattr(stub, method)(request, **by(actor))


async def entries_of(services, principal="boss", **filters):
    """Return the entries that a principal sees, oldest first."""
    page = await services.audit.ListAuditEntries(
        auditing.ListAuditEntriesRequest(page_size=1000, **filters), **by(principal)
    )
    assert page.next_page_token == ""
    return [*reversed(page.entries)]


async def entries_about(services, method, fields, case_id, activity):
    """Return the entries of the changes of a method: about a case, a profile, or an activity."""
    filters = {"action": getattr(auditing, f"AUDIT_ACTION_{CHANGES[method][0]}")}
    if method.endswith("Profile"):
        found = await entries_of(services, owner="orders", **filters)
        return [each for each in found if each.verification_profile == fields["name"]]
    return await entries_of(
        services, **filters, **({"callback_case_id": case_id} if case_id else {"callback_activity": activity})
    )


async def problems_of(services, heads=()):
    """Return the problems of all chains, and the heads."""
    found = await pages(services.audit.VerifyAudit, auditing.VerifyAuditRequest(heads=heads), **by("boss"))
    chains = [chain for page in found for chain in page.chains]
    problems = [(chain.chain, each.text) for chain in chains for each in chain.problems]
    return problems, [chain.head for chain in chains if chain.HasField("head")]


def test_each_method_of_the_contract_has_an_entry_or_says_why_not():
    assert {method.name for service in SERVICES for method in service.methods} == CHANGES.keys() | WITHOUT_ENTRY
    actions = {f"AUDIT_ACTION_{action}" for action, _, _ in CHANGES.values()}
    actions |= {f"AUDIT_ACTION_{each}" for each in ("UNSPECIFIED", "PRINCIPALS_READ", "STATE_KEY_CHANGED")}
    assert actions == {*auditing.AuditAction.keys()}


@pytest.mark.parametrize("method", CHANGES)
async def test_a_change_has_one_entry_that_says_who_made_it(services, method):
    _, actor, times = CHANGES[method]
    activity = f"activity-of-{method}"
    fields, case_id, call_id, caller = await prepared(services, method, activity)
    for _ in range(2):
        await send(services, method, fields, actor)
    if caller is not None:
        await caller
    entries = await entries_about(services, method, fields, case_id, activity)
    assert len(entries) == times
    for entry in entries:
        owner, of_case = ("orders", "act" if method in ("EraseCalls", "ReplayCall") else "form")
        assert (entry.actor, entry.callback_case_id, entry.call_id) == (actor, case_id, call_id)
        about_none = ("orders", "") if method.endswith("Profile") else ("", activity)
        assert (entry.owner, entry.callback_activity) == ((owner, of_case) if case_id else about_none)
        assert abs(entry.time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(hours=1)


async def test_an_entry_has_the_facts_of_its_change(services):
    made = await generate(services)
    await send(services, "PauseActivity", {"callback_activity": "why", "reason": "the shop is down"}, "boss")
    changed = {"response": pb.Response(response_code=202, response_body=b"x")}
    await send(services, "SetResponse", {"callback_case_id": made.callback_case_id} | changed, "orders")
    call_id, caller = await held_call(services, made)
    await send(services, "AnswerCall", {"call_id": call_id, "close": True}, "orders")
    await caller
    (paused,) = await entries_of(services, callback_activity="why")
    assert (paused.reason, paused.chain) == ("the shop is down", keys.STORE_CHAIN)
    details = [dict(each.details) for each in await entries_of(services, callback_case_id=made.callback_case_id)]
    assert details == [{"attributes": "response_body, response_code"}, {"verdict": "ACCEPTED", "close": "true"}]


async def test_a_request_that_changes_nothing_has_no_entry(services):
    made = await generate(services)
    about = {"callback_case_id": made.callback_case_id}
    await send(services, "EraseCalls", about, "orders")  # there is nothing to erase
    wrong = about | {"response": pb.Response(response_redirect_url="/x", response_type=pb.RESPONSE_TYPE_REDIRECT)}
    foreign = await refusal(send(services, "CloseCallback", about, "other"))
    past = await refusal(
        send(services, "ExtendCallback", about | {"expire_time": datetime.now(UTC) - timedelta(days=1)}, "orders")
    )
    assert (foreign.reason, past.reason) == ("CALLBACK_NOT_FOUND", "INVALID_REQUEST")
    await send(services, "CloseCallback", about, "orders")
    assert (await refusal(send(services, "SetResponse", wrong, "orders"))).reason == "CALLBACK_CLOSED"
    await send(services, "CloseCallback", about, "boss")  # it is closed already
    entries = await entries_of(services, callback_case_id=made.callback_case_id)
    assert [(each.action, each.actor) for each in entries] == [(auditing.AUDIT_ACTION_CALLBACK_CLOSED, "orders")]


async def test_only_principals_that_see_a_case_see_its_entries_and_administrators_see_all(services):
    made, of_record = await generate(services), await generate(services, "record")
    await send(services, "PauseActivity", {"callback_activity": "seen-by-boss"}, "boss")
    for each in (made, of_record):
        await send(services, "CloseCallback", {"callback_case_id": each.callback_case_id}, "orders")
    for actor, sees in (("orders", (1, 1, 0)), ("other", (0, 0, 0)), ("boss", (1, 1, 1)), ("desk", (1, 0, 0))):
        for filters, number in zip(
            (
                {"callback_case_id": made.callback_case_id},
                {"callback_case_id": of_record.callback_case_id},
                {"callback_activity": "seen-by-boss"},
            ),
            sees,
            strict=True,
        ):
            assert len(await entries_of(services, actor, **filters)) == number, (actor, filters)
    for actor in ("orders", "desk", "edge"):
        refused = await refusal(services.audit.VerifyAudit(auditing.VerifyAuditRequest(), **by(actor)))
        assert refused.reason == "ROLE_MISSING"
    assert (await refusal(entries_of(services, "other", owner="orders"))).reason == "ROLE_MISSING"
    assert {each.owner for each in await entries_of(services, owner="orders")} == {"orders"}


async def test_filters_select_entries_and_pages_have_all_of_them(services):
    cases = [(await generate(services)).callback_case_id for _ in range(6)]
    for case_id in cases:
        await send(services, "CloseCallback", {"callback_case_id": case_id}, "desk")
    filters = {"actor": "desk", "owner": "orders", "action": auditing.AUDIT_ACTION_CALLBACK_CLOSED}
    request = auditing.ListAuditEntriesRequest(page_size=4, **filters)
    listed = [
        entry for page in await pages(services.audit.ListAuditEntries, request, **by("boss")) for entry in page.entries
    ]
    assert [each.callback_case_id for each in listed if each.callback_case_id in cases] == cases[::-1]
    times = [each.time.ToDatetime(UTC) for each in reversed(listed)]
    assert times == sorted(times)
    middle = next(each.time for each in listed if each.callback_case_id == cases[3]).ToDatetime(UTC)
    since = await entries_of(services, recorded_after=middle, **filters)
    before = await entries_of(services, recorded_before=middle, **filters)
    assert [each.callback_case_id for each in since if each.time.ToDatetime(UTC) > middle][-2:] == cases[-2:]
    assert cases[3] in [each.callback_case_id for each in since]
    assert len(since) + len(before) == len(listed)
    assert (await refusal(entries_of(services, recorded_after={"seconds": 10**15}))).fields == ["recorded_after"]
    for token in ("?", "1_2", "9_99_9"):
        request = auditing.ListAuditEntriesRequest(page_token=token)
        refused = services.audit.ListAuditEntries(request, **by("boss"))
        assert token == "9_99_9" or (await refusal(refused)).fields == ["page_token"]


async def test_the_chains_verify_also_against_the_heads_of_an_earlier_verification(services):
    made = await generate(services)
    await send(services, "CloseCallback", {"callback_case_id": made.callback_case_id}, "orders")
    problems, heads = await problems_of(services)
    assert (problems, await problems_of(services, heads)) == ([], ([], heads))
    newest = next(each for each in heads if each.chain == keys.partition_of(made.callback_case_id))
    longer = auditing.AuditHead(
        chain=newest.chain, sequence=newest.sequence + 1, digest=newest.digest, time=newest.time
    )
    assert await problems_of(services, [longer]) == (
        [
            (
                newest.chain,
                f"the newest entry is {newest.sequence}, but the head that was kept has entry {longer.sequence}",
            )
        ],
        heads,
    )
    for wrong in ({"chain": 65}, {"digest": "x"}, {"chain": -1}, {"time": None}):
        right = {"chain": 0, "sequence": 1, "digest": newest.digest, "time": newest.time}
        head = auditing.AuditHead(**right | wrong)
        refused = await refusal(services.audit.VerifyAudit(auditing.VerifyAuditRequest(heads=[head]), **by("boss")))
        assert refused.reason == "INVALID_REQUEST"
    for token in ("x", "65", "-1"):
        request = auditing.VerifyAuditRequest(page_token=token)
        assert (await refusal(services.audit.VerifyAudit(request, **by("boss")))).fields == ["page_token"]


async def test_a_change_whose_reply_was_lost_has_one_entry(services, keyring):
    async with (
        StoreProxy(services.store, each_once(*SCRIPTS)) as proxy,
        running_services(proxy, principals=lambda: PRINCIPALS, keyring_file=keyring) as services,
    ):
        services.control_plane.deliveries.stop()
        for method, (_, actor, _) in CHANGES.items():
            activity = f"lost-{method}"
            fields, case_id, _, caller = await prepared(services, method, activity)
            await send(services, method, fields, actor)
            if caller is not None:
                await caller
            entries = await entries_about(services, method, fields, case_id, activity)
            assert [each.actor for each in entries] == [actor], method
        assert {*proxy.lost} == {*SCRIPTS}
        assert (await problems_of(services))[0] == []


async def test_the_audit_has_no_secret(services):
    secrets = []
    with redis.Redis(port=services.store.port) as client:
        for n in range(count(20, 1000)):
            made = await generate(services)
            planted = f"planted-{n}-{made.callback_state[:8]}"
            secrets += [*spellings(made.callback_state), planted.encode()]
            changed = pb.Response(response_body=planted.encode())
            changed.response_headers.headers.add(name="x-secret", value=planted.encode())
            about = {"callback_case_id": made.callback_case_id}
            await send(services, "SetResponse", about | {"response": changed}, "orders")
            sent = {"body": planted.encode(), "request_query_string": f"a={planted}"}
            call_id, caller = await held_call(services, made, **sent)
            await send(services, "AnswerCall", {"call_id": call_id, "response": changed}, "desk")
            await caller
            await send(services, "EraseCalls", about, "orders")
            await send(services, "CloseCallback", about, "orders")
        stored = b"".join(
            part
            for chain in range(keys.AUDIT_CHAINS)
            for _, fields in client.xrange(keys.audit_key(chain))
            for part in fields.values()
        )
    assert [secret for secret in secrets if secret in stored] == []
    assert len(stored) > 300 * len(secrets) / len(spellings(made.callback_state))


def counted(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


@pytest.fixture
def own_store(tmp_path):
    """Run a store in which a chain can be deleted: the services of the module remember theirs."""
    with StoreProcess(tmp_path) as store:
        yield store


MALFORMED = [
    ({"x": "y"}, "*"),
    ({"entry": b'{"action":"\xff"}', "mac": b"\xff"}, "*"),
    ({"entry": b'{"x":' + b"[" * 100_000, "mac": "-"}, "*"),
    ({"entry": "{}", "mac": "-"}, f"{10**13}-{2**64 - 1}"),
    ({"entry": "{}", "mac": "-"}, f"{2**64 - 1}-1"),
]


async def test_what_is_no_entry_is_altered_and_no_error_of_the_server(own_store):
    async with running_services(own_store, principals=lambda: PRINCIPALS) as services:
        made = await generate(services)
        await send(services, "CloseCallback", {"callback_case_id": made.callback_case_id}, "orders")
        chain = keys.partition_of(made.callback_case_id)
        with redis.Redis(port=own_store.port) as client:
            for fields, id_ in MALFORMED:
                client.xadd(keys.audit_key(chain), fields, id_)
            found = (await problems_of(services))[0]
            assert {number for number, _ in found} == {chain}
            assert len(found) >= len(MALFORMED)
            (entry,) = await entries_of(services, callback_case_id=made.callback_case_id)
            assert entry.actor == "orders"
            client.set(keys.audit_key(chain), "?")
            client.rpush(f"{keys.audit_tag(chain)}:audit_start", "?")
            found = (await problems_of(services))[0]
            assert (chain, "no server has stored an entry at 0-0") in found


async def test_metrics_count_entries_those_that_came_late_and_what_is_wrong(own_store):
    names = {
        "added": ("callback_audit_entries_total", {"action": "CALLBACK_EXTENDED"}),
        "refused": ("callback_audit_entries_refused_total", {}),
        "missing": ("callback_audit_problems_total", {"problem": "missing"}),
        "wrong": ("callback_audit_problems_total", {"problem": "not_verified"}),
    }
    before = {what: counted(name, **labels) for what, (name, labels) in names.items()}

    def increase():
        return {what: counted(name, **labels) - before[what] for what, (name, labels) in names.items()}

    async with (
        running_services(own_store, principals=lambda: PRINCIPALS) as first,
        running_services(own_store, principals=lambda: PRINCIPALS) as second,
    ):
        case_id = (await generate(first)).callback_case_id
        later = iter(range(1, 99))

        async def extend(services):
            fields = {"callback_case_id": case_id, "expire_time": LATER + timedelta(days=next(later))}
            await send(services, "ExtendCallback", fields, "orders")

        await extend(first)  # nothing is known of the chain, which has no entry
        await extend(second)  # nor does it know the entry of the other server
        await extend(first)  # another server came first
        assert increase() == {"added": 3, "refused": 3, "missing": 0, "wrong": 0}
        assert (await problems_of(first))[0] == []
        with redis.Redis(port=own_store.port) as client:
            client.delete(keys.audit_key(keys.partition_of(case_id)))
        await extend(first)
        assert increase() == {"added": 4, "refused": 4, "missing": 1, "wrong": 0}
        assert (await problems_of(first))[0]
        assert increase()["wrong"] == 1

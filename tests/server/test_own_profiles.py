"""Profiles that owners make while servers run: used at once, sealed, of one owner alone, and gone when it says so."""

import asyncio
import base64
import contextlib
import json
import time
from datetime import UTC, datetime, timedelta

import grpc
import jwt
import pytest
import redis
import slack_sdk.signature
import standardwebhooks
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st
from support.keyrings import write_keyring
from support.principals import by, principals_of
from support.services import refusal, refusal_of, running_services
from support.wait import wait_until

from callback.v1 import audit_service_pb2 as auditing
from callback.v1 import callbacks_service_pb2 as callbacks
from callback.v1 import profiles_service_pb2 as pb
from callback_process.credentials import CredentialsError
from callback_server.access.roles import Role
from callback_server.profiles.own_profiles import OwnProfiles, profile_of_secrets
from callback_server.verification.providers import PROVIDERS
from callback_server.verification.settings.profiles import KINDS

PRINCIPALS = principals_of(
    shops={"roles": [Role.OWNER]}, other={"roles": [Role.OWNER]}, boss={"roles": [Role.ADMIN]},
    edge={"roles": [Role.EDGE]},
)  # fmt: skip
SHOPS, OTHER = by("shops"), by("other")
SHARED = {"kind": "shared-secret", "settings": '{"header": "x-secret"}'}


@pytest.fixture
def keyring(tmp_path):
    return write_keyring(tmp_path / "keyring.toml", "one")


@pytest.fixture
async def services(store_of, keyring):
    store = store_of()
    async with running_services(store, principals=lambda: PRINCIPALS, keyring_file=keyring) as running:
        running.store = store
        yield running


def create(services, name, *secrets, owner=SHOPS, **fields):
    request = pb.CreateProfileRequest(name=name, secrets=secrets, **(SHARED | fields))
    return services.profiles.CreateProfile(request, metadata=owner)


async def get(services, name, owner=SHOPS):
    return (await services.profiles.GetProfile(pb.GetProfileRequest(name=name), metadata=owner)).profile


async def update(services, name, *secrets, owner=SHOPS, **fields):
    request = pb.UpdateProfileRequest(name=name, added_secrets=secrets, **fields)
    return (await services.profiles.UpdateProfile(request, metadata=owner)).profile


async def delete(services, name, owner=SHOPS):
    await services.profiles.DeleteProfile(pb.DeleteProfileRequest(name=name), metadata=owner)


def callback_of(services, name, owner=SHOPS, **fields):
    return services.generate(verification_profile=name, allow_multiple_calls=True, metadata=owner, **fields)


def send(services, made, *headers, body=b"{}"):
    fields = [{"name": name, "value": value.encode()} for name, value in headers]
    return services.call(made, request_headers=fields, body=body, metadata=by("edge"))


async def answer_to(services, made, secret):
    """Return the reason why a message with a secret is refused. Empty: it is not."""
    try:
        await send(services, made, ("x-secret", secret))
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason
    return ""


def everything(store):
    """Return the keys of the store and all values as the store dumps them."""
    with redis.Redis(port=store.port) as client:
        keys = [*client.scan_iter()]
        return b"\n".join([*keys, *(client.dump(key) or b"" for key in keys)])


async def test_a_profile_is_used_at_once_and_its_secrets_never_come_out(services):
    made = (await create(services, "own/shop-17", "hunter2")).profile
    (secret,) = made.secrets
    assert (made.name, made.kind, json.loads(made.settings)) == ("own/shop-17", "shared-secret", {"header": "x-secret"})
    assert (made.problem, secret.HasField("retire_time"), len(secret.fingerprint)) == ("", False, 8)
    assert await get(services, "own/shop-17") == made
    assert list((await services.profiles.ListProfiles(pb.ListProfilesRequest(), metadata=SHOPS)).profiles) == [made]
    url = await callback_of(services, "own/shop-17")
    assert [await answer_to(services, url, each) for each in ("hunter2", "wrong")] == ["", "VERIFICATION_FAILED"]
    assert b"hunter2" not in made.SerializeToString()


async def test_a_secret_is_added_retired_later_and_retired_now(services):
    await create(services, "own/shop", "first")
    url = await callback_of(services, "own/shop")
    first = (await get(services, "own/shop")).secrets[0].secret_id
    soon = datetime.now(UTC) + timedelta(seconds=1)
    changed = await update(services, "own/shop", "second", retired_secret_ids=[first], retire_time=soon)
    assert [each.HasField("retire_time") for each in changed.secrets] == [False, True]
    assert [await answer_to(services, url, each) for each in ("first", "second")] == ["", ""]
    await wait_until(lambda: datetime.now(UTC) >= soon)
    assert [await answer_to(services, url, each) for each in ("first", "second")] == ["VERIFICATION_FAILED", ""]
    second = changed.secrets[0].secret_id
    await update(services, "own/shop", "third", retired_secret_ids=[second])
    answers = [await answer_to(services, url, each) for each in ("first", "second", "third")]
    assert answers == ["VERIFICATION_FAILED", "VERIFICATION_FAILED", ""]
    assert [each.secret_id for each in (await get(services, "own/shop")).secrets].count(first) == 0


def token(secret, subject):
    claims = {"aud": "a", "iss": "i", "sub": subject, "exp": time.time() + 300, "jti": "1"}
    return "authorization", f"Bearer {jwt.encode(claims, secret)}"


def password(user, secret):
    return "authorization", f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}"


@pytest.mark.parametrize("single_use", [False, True])
async def test_a_repeat_is_of_the_same_subject_by_whichever_secret_of_the_profile(services, single_use):
    settings = json.dumps({"algorithms": ["HS256"], "audience": "a", "single_use": single_use})
    old, new = "o" * 32, "n" * 32
    await create(services, "own/it", old, new, kind="jwt", settings=settings)
    made = await callback_of(services, "own/it", repeat_window={"seconds": 600})
    sent = [token(old, "first"), token(new, "first"), token(new, "second"), token(old, "second")]
    got = [await send(services, made, each) for each in sent]
    assert [bool(each.call_id) for each in got] == [True, False, True, False]
    assert [each.repeated_call_id for each in got[1::2]] == [each.call_id for each in got[::2]]


async def test_a_repeat_is_of_the_user_that_the_profile_had_then(services):
    await create(services, "own/it", "1", kind="basic", settings='{"username": "first"}')
    made = await callback_of(services, "own/it", repeat_window={"seconds": 600})
    before = await send(services, made, password("first", "1"))
    await update(services, "own/it", "2")
    assert (await send(services, made, password("first", "2"))).repeated_call_id == before.call_id
    await update(services, "own/it", settings='{"username": "second"}')
    after = await send(services, made, password("second", "1"))
    assert (await send(services, made, password("second", "2"))).repeated_call_id == after.call_id
    await update(services, "own/it", settings='{"username": "first"}')
    assert (await send(services, made, password("first", "1"))).repeated_call_id == before.call_id


async def test_requests_for_a_deleted_profile_are_told_to_come_again(services):
    await create(services, "own/shop", "hunter2")
    url = await callback_of(services, "own/shop")
    assert await answer_to(services, url, "hunter2") == ""
    await delete(services, "own/shop")
    said = await refusal(send(services, url, ("x-secret", "hunter2")))
    assert (said.reason, said.retry_after_s) == ("VERIFICATION_UNAVAILABLE", 60)
    assert (await refusal(callback_of(services, "own/shop"))).rules == {"verification_profile": "profile_unknown"}
    await delete(services, "own/shop")
    await create(services, "own/shop", "another")
    assert [await answer_to(services, url, each) for each in ("hunter2", "another")] == ["VERIFICATION_FAILED", ""]


async def test_a_profile_all_of_whose_secrets_are_retired_refuses_no_message_for_good(services):
    await create(services, "own/shop", "hunter2")
    url = await callback_of(services, "own/shop")
    await update(services, "own/shop", retired_secret_ids=[(await get(services, "own/shop")).secrets[0].secret_id])
    assert await answer_to(services, url, "hunter2") == "VERIFICATION_UNAVAILABLE"
    assert (await get(services, "own/shop")).problem == "all of its secrets are retired"


async def test_an_owner_neither_sees_uses_nor_shadows_the_profile_of_another(services):
    await create(services, "own/shop", "mine")
    for attempt in (get(services, "own/shop", OTHER), get(services, "own/shop", by("boss"))):
        assert (await refusal(attempt)).reason == "PROFILE_NOT_FOUND"
    assert (await refusal(update(services, "own/shop", "x", owner=OTHER))).reason == "PROFILE_NOT_FOUND"
    assert (await refusal(callback_of(services, "own/shop", OTHER))).fields == ["verification_profile"]
    await delete(services, "own/shop", OTHER)
    await create(services, "own/shop", "theirs", owner=OTHER)
    mine, theirs = await callback_of(services, "own/shop"), await callback_of(services, "own/shop", OTHER)
    said = [await answer_to(services, url, each) for url in (mine, theirs) for each in ("mine", "theirs")]
    assert said == ["", "VERIFICATION_FAILED", "VERIFICATION_FAILED", ""]
    for name in ("shop", "own/", "own/UP", "own/a/b", "own/../x", "owner/x"):
        assert (await refusal(create(services, name, "x"))).fields == ["name"]


async def test_the_same_request_again_changes_nothing(services):
    made = (await create(services, "own/shop", "one", "two")).profile
    assert (await create(services, "own/shop", "one", "two")).profile == made
    for other in ({"secrets": ("one",)}, {"settings": '{"header": "y"}', "secrets": ("one", "two")}):
        fields = {name: value for name, value in other.items() if name != "secrets"}
        assert (await refusal(create(services, "own/shop", *other["secrets"], **fields))).reason == "PROFILE_EXISTS"
    assert await update(services, "own/shop", "two") == made
    first = made.secrets[0].secret_id
    retired = await update(services, "own/shop", retired_secret_ids=[first])
    assert await update(services, "own/shop", retired_secret_ids=[first]) == retired


@pytest.mark.parametrize(
    ("fields", "secrets", "field"),
    [
        ({"kind": "address", "settings": '{"networks": ["192.0.2.0/24"]}'}, ["x"], "kind"),
        ({"kind": "provider:nobody"}, ["x"], "kind"),
        ({"settings": "[]"}, ["x"], "settings"),
        ({"settings": "{" * 5000}, ["x"], "settings"),
        ({"settings": '{"header": "x", "secret_files": ["/etc/passwd"]}'}, ["x"], "settings"),
        ({"kind": "jwt", "settings": '{"jwks_url": "https://issuer.example/keys"}'}, ["x"], "settings"),
        ({"kind": "hmac", "settings": '{"handshake": {"verify_token_files": ["f"]}}'}, ["x"], "settings"),
        ({"settings": '{"header": "x", "surprise": 1}'}, ["x"], "settings"),
        ({"settings": ""}, ["x"], "settings"),
        ({}, ["\n"], "secrets"),
        ({}, [], "secrets"),
        ({}, list("12345"), "secrets"),
        ({}, ["x" * 16384], "secrets"),
        ({"kind": "provider:discord", "settings": ""}, ["not a key"], "secrets"),
    ],
)  # fmt: skip
async def test_what_cannot_be_a_profile_is_refused_by_field(services, fields, secrets, field):
    said = await refusal(create(services, "own/shop", *secrets, **fields))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", [field])
    assert "not a key" not in said.text


async def test_an_owner_has_a_maximum_number_of_profiles_and_lists_them_by_page(store_of, keyring):
    limited = {"principals": lambda: PRINCIPALS, "keyring_file": keyring, "max_profiles_per_owner": 3}
    async with running_services(store_of(), **limited) as services:
        for number in range(3):
            await create(services, f"own/{number}", "x")
        said = await refusal(create(services, "own/3", "x"))
        assert (said.reason, said.metadata) == ("TOO_MANY_PROFILES", {"limit": "3"})
        await create(services, "own/3", "x", owner=OTHER)
        names, token = [], ""
        while True:
            request = pb.ListProfilesRequest(page_size=2, page_token=token)
            page = await services.profiles.ListProfiles(request, metadata=SHOPS)
            names += [each.name for each in page.profiles]
            if not (token := page.next_page_token):
                break
        assert names == ["own/0", "own/1", "own/2"]
        await delete(services, "own/1")
        await create(services, "own/3", "x")


async def test_the_other_server_uses_a_change_within_five_seconds(store_of, keyring):
    store, both = store_of(), {"principals": lambda: PRINCIPALS, "keyring_file": keyring}
    async with running_services(store, **both) as here, running_services(store, **both) as there:
        await create(here, "own/shop", "first")
        url = await callback_of(here, "own/shop")
        assert await answer_to(there, url, "first") == ""
        first = (await get(here, "own/shop")).secrets[0].secret_id
        began = time.monotonic()
        await update(here, "own/shop", "second", retired_secret_ids=[first])
        assert [await answer_to(here, url, each) for each in ("first", "second")] == ["VERIFICATION_FAILED", ""]
        while await answer_to(there, url, "second"):
            assert time.monotonic() - began < 5.5
            await asyncio.sleep(0.05)
        assert await answer_to(there, url, "first") == "VERIFICATION_FAILED"


async def test_a_server_without_a_keyring_stores_no_secret_and_serves_all_else(store_of, keyring):
    store, known = store_of(), {"principals": lambda: PRINCIPALS}
    async with running_services(store, **known, keyring_file=keyring) as services:
        await create(services, "own/shop", "hunter2")
        url = await callback_of(services, "own/shop")
    async with running_services(store, **known) as services:
        assert (await refusal(create(services, "own/new", "x"))).reason == "KEYRING_MISSING"
        assert (await refusal(update(services, "own/shop", "x"))).reason == "KEYRING_MISSING"
        assert (await get(services, "own/shop")).problem == "this server has no keyring_file"
        assert await answer_to(services, url, "hunter2") == "VERIFICATION_UNAVAILABLE"
        await services.call(await services.generate(metadata=SHOPS), metadata=by("edge"))
        await update(services, "own/shop", retired_secret_ids=[(await get(services, "own/shop")).secrets[0].secret_id])
        await delete(services, "own/shop")


async def test_a_key_that_is_gone_ends_the_profiles_that_it_sealed_and_no_others(store_of, tmp_path):
    store, path = store_of(), write_keyring(tmp_path / "keyring.toml", "old")
    known = {"principals": lambda: PRINCIPALS, "keyring_file": path}
    async with running_services(store, **known) as services:
        await create(services, "own/old", "hunter2")
        old = await callback_of(services, "own/old")
    write_keyring(path, "new", "old")
    async with running_services(store, **known) as services:
        await create(services, "own/new", "hunter3")
        new = await callback_of(services, "own/new")
        assert await answer_to(services, old, "hunter2") == ""
    write_keyring(path, "new")
    async with running_services(store, **known) as services:
        assert "the keyring has no key old" in (await get(services, "own/old")).problem
        assert await answer_to(services, old, "hunter2") == "VERIFICATION_UNAVAILABLE"
        assert await answer_to(services, new, "hunter3") == ""
        await update(services, "own/old", "again", retired_secret_ids=[
            (await get(services, "own/old")).secrets[0].secret_id
        ])  # fmt: skip
        assert await answer_to(services, old, "again") == ""


async def test_a_sealed_secret_that_is_copied_to_another_profile_or_owner_does_not_open(services):
    await create(services, "own/mine", "hunter2")
    await create(services, "own/mine", "hunter3", owner=OTHER)
    await create(services, "own/second", "hunter4")
    with redis.Redis(port=services.store.port) as client:
        keys = {key.partition(b"}:")[2]: key for key in client.scan_iter("*:profile:*")}
        client.set(keys[b"profile:shops:own/second"], client.get(keys[b"profile:shops:own/mine"]))
        client.set(keys[b"profile:shops:own/mine"], client.get(keys[b"profile:other:own/mine"]))
    for name in ("own/mine", "own/second"):
        assert "sealed for another place" in (await get(services, name)).problem


async def test_no_secret_is_in_the_store_or_the_log(services, capfd):
    planted = [f"pl4nted-{number}" for number in range(4)]
    await create(services, "own/shop", *planted[:2])
    await update(services, "own/shop", planted[2])
    await refusal(create(services, "own/shop", planted[3]))
    await refusal(create(services, "own/other", planted[3], kind="jwt", settings="{}"))
    url = await callback_of(services, "own/shop")
    await answer_to(services, url, planted[0])
    assert b"pl4nted" not in everything(services.store)
    await delete(services, "own/shop")
    assert b":profile:" not in everything(services.store)
    said = capfd.readouterr()
    assert "profile_created" in said.out + said.err
    assert "pl4nted" not in said.out + said.err


async def test_the_audit_has_each_change_without_content(services):
    made = (await create(services, "own/shop", "hunter2")).profile
    await update(services, "own/shop", "hunter3", retired_secret_ids=[made.secrets[0].secret_id])
    await update(services, "own/shop", settings='{"header": "y-secret"}')
    await delete(services, "own/shop")
    await delete(services, "own/shop")
    request = auditing.ListAuditEntriesRequest()
    entries = (await services.audit.ListAuditEntries(request, metadata=SHOPS)).entries
    seen = [(each.action, each.actor, each.owner, each.verification_profile, sorted(each.details)) for each in entries]
    whose = ("shops", "shops", "own/shop")
    assert seen == [
        (auditing.AUDIT_ACTION_PROFILE_DELETED, *whose, []),
        (auditing.AUDIT_ACTION_PROFILE_UPDATED, *whose, ["settings"]),
        (auditing.AUDIT_ACTION_PROFILE_UPDATED, *whose, ["added_secrets", "retired_secrets"]),
        (auditing.AUDIT_ACTION_PROFILE_CREATED, *whose, ["added_secrets", "kind"]),
    ]
    assert not any("hunter" in each.SerializeToString().decode("latin-1") for each in entries)
    assert not any("y-secret" in value for each in entries for value in each.details.values())
    assert not (await services.audit.ListAuditEntries(request, metadata=OTHER)).entries


def slack_headers(secret, body):
    now = str(int(time.time()))
    signature = slack_sdk.signature.SignatureVerifier(secret).generate_signature(timestamp=now, body=body)
    return [("x-slack-request-timestamp", now), ("x-slack-signature", signature)]


def webhook_headers(prefix, library):
    def headers(secret, body):
        now, message_id = datetime.now(UTC), f"msg_{time.time_ns()}"
        signature = library(secret).sign(message_id, now, body)
        stamp = str(int(now.timestamp()))
        return [(f"{prefix}-id", message_id), (f"{prefix}-timestamp", stamp), (f"{prefix}-signature", signature)]

    return headers


def whsec(number):
    return "whsec_" + f"{number:032d}"


CUSTOMERS = {
    "provider:slack": (lambda number: f"{number:032x}", slack_headers),
    "standard-webhooks": (whsec, webhook_headers("webhook", standardwebhooks.Webhook)),
    "provider:clerk": (whsec, webhook_headers("svix", svix.webhooks.Webhook)),
}
"""Secrets by number, and headers by the libraries of the senders, by kind."""


async def test_customers_come_rotate_and_leave_while_a_server_restarts(store_of, keyring):
    """Each message reaches the callbacks of its customer and of no other, by the libraries of the senders."""
    store, known = store_of(), {"principals": lambda: PRINCIPALS, "keyring_file": keyring}
    kinds = [*CUSTOMERS] * 17

    async def outcomes(services, urls, secrets):
        """Send each customer's message to its callback and to that of the next customer of its kind."""

        async def reason(number, at):
            body = f'{{"id": "evt_{time.time_ns()}_{number}_{at}"}}'
            sent = send(services, urls[at], *CUSTOMERS[kinds[number]][1](secrets[number], body), body=body.encode())
            try:
                await sent
            except grpc.aio.AioRpcError as error:
                return refusal_of(error).reason
            return ""

        own = [reason(number, number) for number in range(len(kinds))]
        foreign = [reason(number, (number + 3) % len(kinds)) for number in range(len(kinds))]
        return {*await asyncio.gather(*own)}, {*await asyncio.gather(*foreign)}

    secrets = [CUSTOMERS[kind][0](number) for number, kind in enumerate(kinds)]
    async with running_services(store, **known) as services:
        for number, kind in enumerate(kinds):
            await create(services, f"own/{number}", secrets[number], kind=kind, settings="")
        urls = [await callback_of(services, f"own/{number}") for number in range(len(kinds))]
        assert await outcomes(services, urls, secrets) == ({""}, {"VERIFICATION_FAILED"})
    rotated = [CUSTOMERS[kind][0](1000 + number) for number, kind in enumerate(kinds)]
    async with running_services(store, **known) as services:
        for number in range(len(kinds)):
            await update(services, f"own/{number}", rotated[number])
        assert await outcomes(services, urls, secrets) == ({""}, {"VERIFICATION_FAILED"})
        assert await outcomes(services, urls, rotated) == ({""}, {"VERIFICATION_FAILED"})
        for number in range(len(kinds)):
            old = (await get(services, f"own/{number}")).secrets[1].secret_id
            await update(services, f"own/{number}", retired_secret_ids=[old])
        assert await outcomes(services, urls, secrets) == ({"VERIFICATION_FAILED"}, {"VERIFICATION_FAILED"})
        assert await outcomes(services, urls, rotated) == ({""}, {"VERIFICATION_FAILED"})


async def test_a_profile_is_read_once_for_many_calls_and_again_after_its_time(store_of, keyring, capfd):
    async with running_services(store_of(), keyring_file=keyring) as services:
        await create(services, "own/shop", "hunter2", owner=())
        now, scripts = [100.0], services.control_plane.scripts
        profiles = OwnProfiles(scripts, lambda: None, monotonic=lambda: now[0])
        first = await asyncio.gather(*(profiles.find("local", "own/shop") for _ in range(50)))
        assert first == [None] * 50
        assert capfd.readouterr().err.count("profile_unusable") == 1  # it has no keyring, and is told so at each read
        assert await profiles.exists("local", "own/shop")
        await delete(services, "own/shop", owner=())
        assert await profiles.exists("local", "own/shop")
        now[0] += 5
        assert not await profiles.exists("local", "own/shop")
        await create(services, "own/shop", "hunter2", owner=())
        now[0] += 4.9
        assert not await profiles.exists("local", "own/shop")
        profiles.forget("local", "own/shop")
        assert await profiles.exists("local", "own/shop")


async def check(services, name, owner=SHOPS, **fields):
    return await services.profiles.CheckProfile(pb.CheckProfileRequest(name=name, **fields), metadata=owner)


def as_text(headers, body):
    return "\n".join(["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", body]).encode()


async def test_a_check_says_whether_a_request_passes_and_by_which_secret(services):
    kind, headers = "standard-webhooks", CUSTOMERS["standard-webhooks"][1]
    made = (await create(services, "own/shop", whsec(1), whsec(2), kind=kind, settings="")).profile
    passes = await check(services, "own/shop", http_request=as_text(headers(whsec(2), "{}"), "{}"))
    assert (passes.outcome, passes.secret_id) == (pb.CHECK_OUTCOME_PASSES, made.secrets[1].secret_id)
    assert passes.message_id.startswith("msg_")
    fails = await check(services, "own/shop", http_request=as_text(headers(whsec(3), "{}"), "{}"))
    assert (fails.outcome, fails.secret_id) == (pb.CHECK_OUTCOME_FAILS, "")
    late = {
        "http_request": as_text(headers(whsec(1), "{}"), "{}"),
        "arrival_time": datetime.now(UTC) + timedelta(days=1),
    }
    assert (await check(services, "own/shop", **late)).outcome == pb.CHECK_OUTCOME_FAILS
    for wrong in ({}, {"http_request": b"?"}, {"http_request": b"GET / HTTP/1.1", "call_id": f"{'0' * 32}-{'0' * 16}"}):
        assert (await refusal(check(services, "own/shop", **wrong))).reason == "INVALID_REQUEST"
    assert (await refusal(check(services, "own/none", http_request=b"GET / HTTP/1.1"))).reason == "PROFILE_NOT_FOUND"


async def test_a_recorded_call_is_checked_as_it_arrived_and_what_is_not_recorded_is_redacted(services):
    kind, headers = "standard-webhooks", CUSTOMERS["standard-webhooks"][1]
    await create(services, "own/signed", whsec(1), kind=kind, settings="")
    await create(services, "own/other", whsec(9), kind=kind, settings="")
    await create(services, "own/plain", "hunter2")
    signed, plain = await callback_of(services, "own/signed"), await callback_of(services, "own/plain")
    call_id = (await send(services, signed, *headers(whsec(1), "{}"))).call_id
    assert (await check(services, "own/signed", call_id=call_id)).outcome == pb.CHECK_OUTCOME_PASSES
    assert (await check(services, "own/other", call_id=call_id)).outcome == pb.CHECK_OUTCOME_FAILS
    in_plain_text = (await send(services, plain, ("x-secret", "hunter2"), ("x-other", "1"))).call_id
    said = await check(services, "own/plain", call_id=in_plain_text)
    assert (said.outcome, said.why) == (
        pb.CHECK_OUTCOME_REDACTED, "secrets that are sent in plain text are not recorded",
    )  # fmt: skip
    await create(services, "own/signed", whsec(1), owner=OTHER, kind=kind, settings="")
    assert (await refusal(check(services, "own/signed", OTHER, call_id=call_id))).reason == "CALL_NOT_FOUND"
    erase = callbacks.EraseCallsRequest(callback_case_id=signed.callback_case_id)
    await services.callbacks.EraseCalls(erase, metadata=SHOPS)
    assert (await check(services, "own/signed", call_id=call_id)).outcome == pb.CHECK_OUTCOME_REDACTED


async def test_checks_are_limited_for_each_owner_and_in_the_audit(services):
    await create(services, "own/shop", "hunter2")
    await create(services, "own/shop", "hunter2", owner=OTHER)
    request = {"http_request": as_text([("x-secret", "guess")], "")}
    for _ in range(60):
        await check(services, "own/shop", **request)
    said = await refusal(check(services, "own/shop", **request))
    assert (said.reason, said.metadata, said.retry_after_s) == ("TOO_MANY_CHECKS", {"limit": "60"}, 1)
    assert (await check(services, "own/shop", OTHER, **request)).outcome == pb.CHECK_OUTCOME_FAILS
    audited = auditing.ListAuditEntriesRequest(page_size=100, action=auditing.AUDIT_ACTION_PROFILE_CHECKED)
    entries = (await services.audit.ListAuditEntries(audited, metadata=SHOPS)).entries
    assert len(entries) == 60
    assert {**entries[0].details} == {"outcome": "FAILS"}
    assert b"guess" not in b"".join(each.SerializeToString() for each in entries)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
SETTINGS = sorted({name for model in KINDS.values() for name in model.model_fields})


@given(
    st.sampled_from([*KINDS, *(f"provider:{name}" for name in PROVIDERS)]) | st.text(max_size=20),
    st.dictionaries(st.sampled_from(SETTINGS), JSON, max_size=5).map(json.dumps) | st.text(max_size=40),
    st.lists(st.binary(max_size=60), max_size=4),
)
def test_settings_and_secrets_of_any_content_are_refused_or_make_a_profile(kind, settings, secrets):
    with contextlib.suppress(ValueError, CredentialsError):
        profile_of_secrets(kind, settings, secrets)

"""The page of recipes: its profiles are valid, and its handlers without a browser decide correctly."""

import asyncio
import base64
import hmac
import json
import subprocess
import sys
import tomllib

import httpx
import pytest
from flows.openid_provider import new_key
from flows.recipes import BLOCKS, FILES, SECRET, recipe
from pydantic import TypeAdapter

from callback import IncomingCall, Reject
from callback_server.domain.call import Request
from callback_server.verification.profile import VerificationError
from callback_server.verification.profiles import Profiles, profile_files
from callback_server.verification.settings.profiles import ProfileSettings

URL = "https://box.example/cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"
TABLES = {
    name: table
    for language, text in BLOCKS
    if language == "toml"
    for name, table in tomllib.loads(text)["profiles"].items()
}
PUBLISHED = [
    # From the tests of Adyen's client: test/UtilTest.py of github.com/Adyen/adyen-python-api-library.
    (
        "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056",
        {
            "pspReference": "7914073381342284", "merchantAccountCode": "TestMerchant",
            "merchantReference": "TestPayment-1407325143704", "amount": {"currency": "EUR", "value": 1130},
            "eventCode": "AUTHORISATION", "success": "true",
            "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
        },
    ),
    (
        "74F490DD33F7327BAECC88B2947C011FC02D014A473AAA33A8EC93E4DC069174",
        {
            "pspReference": "M8NB66SBZSGLNK82", "merchantAccountCode": "AntoniStroinski",
            "merchantReference": ":slashes are fun", "amount": {"currency": "EUR", "value": 1000},
            "eventCode": "AUTHORISATION", "success": "true",
            "additionalData": {"hmacSignature": "2EQYm7YJpKO4EtHSPu55SQTyWf8dkW5u2nD1tJFpViA="},
        },
    ),
]  # fmt: skip


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    """Return the profiles of the page. Every file has one secret, except Adyen's, which has the published one."""
    monkeypatch.chdir(tmp_path)
    settings = TypeAdapter(dict[str, ProfileSettings]).validate_python(TABLES)
    for name, each in settings.items():
        for path in profile_files(name, each).values():
            path.write_bytes(SECRET)
    (tmp_path / "issuer-keys.json").write_text(json.dumps({"keys": [new_key().as_dict(private=False)]}))
    (tmp_path / "adyen.secret").write_bytes(bytes.fromhex(PUBLISHED[0][0]))
    return Profiles(settings)


def test_every_profile_can_be_declared_as_it_stands(profiles):
    assert list(profiles) == list(TABLES)
    assert len(profiles) > 10


BODY = b'{"id": "5"}'
DIGEST = f"sha256={hmac.digest(SECRET, BODY, 'sha256').hex()}"
PASSWORD = base64.b64encode(b"adyen:" + SECRET).decode()
ADYEN = """
        {
            "type": "merchant.created",
            "environment": "test",
            "createdAt": "01-01-2024",
            "data": {
                "capabilities": {
                    "sendToTransferInstrument": {
                        "requested": true,
                        "requestedLevel": "notApplicable"
                    }
                },
                "companyId": "YOUR_COMPANY_ID",
                "merchantId": "YOUR_MERCHANT_ACCOUNT",
                "status": "PreActive"
            }
        }
        """  # from the same tests of Adyen
SENT = {
    "mollie": Request("post", (("x-mollie-signature", DIGEST),), body=BODY),
    "meta": Request("post", (("x-hub-signature-256", DIGEST),), body=BODY),
    "websub": Request("post", (("x-hub-signature", DIGEST),), body=BODY),
    "adyen-platform": Request(
        "post", (("hmacsignature", "fX74xUdztFmaXAn3IusMFFUBUSkLmDQUK0tm8xL6ZTU="),), body=ADYEN.encode()
    ),
    "adyen": Request("post", (("authorization", f"Basic {PASSWORD}"),), body=BODY),
    "graph": Request("post", query=(("key", SECRET.decode()),), body=BODY),
    "events": Request("post", query=(("access_token", SECRET.decode()),), body=BODY),
}


@pytest.mark.parametrize("name", SENT)
def test_a_request_of_a_sender_passes_its_profile_and_no_other(profiles, name):
    profiles[name].verify(SENT[name], URL)
    for other, request in SENT.items():
        if other != name:
            with pytest.raises(VerificationError):
                profiles[name].verify(request, URL)


def hub(*more):
    return (("hub.mode", "subscribe"), ("hub.challenge", "1158201444"), *more)


TOPIC = "https://blog.example/feed"
ASKED = {
    "meta": (Request("get", query=hub(("hub.verify_token", SECRET.decode()))), b"1158201444"),
    "websub": (Request("get", query=hub(("hub.topic", TOPIC))), b"1158201444"),
    "graph": (Request("post", query=(("key", SECRET.decode()), ("validationToken", "a token"))), b"a token"),
    "events": (Request("options", (("webhook-request-origin", "eventgrid.azure.net"),)), b""),
    "events-by-token": (Request("options", (("webhook-request-origin", "eventgrid.azure.net"),)), b""),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_profile_answers_the_handshake_of_its_sender(profiles, name):
    request, expected = ASKED[name]
    answer = profiles[name].handshake(request, URL)
    assert (answer.code, answer.body) == (200, expected)


def test_every_handler_works_as_the_readme_says():
    handlers = {"payment.py", "adyen.py", "graph.py", "openid_login.py", "saml_login.py"}
    assert set(FILES) == {*handlers, "github_webhook.py"}
    for name in handlers:
        assert FILES[name].endswith("Worker(handlers).run()")


async def test_a_url_with_a_profile_accepts_only_signed_requests(world, tmp_path):
    program = FILES["github_webhook.py"].replace("127.0.0.1:50051", world.target)
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    url = done.stdout.strip()
    right = f"sha256={hmac.digest(SECRET, BODY, 'sha256').hex()}"
    sent = {"x-github-delivery": "72d3162e", "x-hub-signature-256": right}
    forged = sent | {"x-hub-signature-256": right.replace(right[-1], "0" if right[-1] != "0" else "1")}
    async with httpx.AsyncClient(trust_env=False) as sender:
        for headers in (forged, {}):
            answer = await sender.post(url, content=BODY, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Signature")
        assert (await sender.post(url, content=BODY + b" ", headers=sent)).status_code == 401
        for _ in range(2):  # a repeated message is the same delivery
            assert (await sender.post(url, content=BODY, headers=sent)).status_code == 204
    newest = await world.client.list_callbacks_page(activity="record", page_size=1)
    assert newest.items[0].call_count == 1


def call(value):
    return IncomingCall(activity="any", body=json.dumps(value).encode())


@pytest.fixture
def adyen(tmp_path, monkeypatch):
    def make(key):
        monkeypatch.setenv("ADYEN_HMAC_KEY", key)
        return recipe("adyen.py", tmp_path)

    return make


@pytest.mark.parametrize(("key", "item"), PUBLISHED, ids=["plain", "colon"])
async def test_adyen_items_are_accepted_if_each_is_signed(adyen, key, item):
    names = adyen(key)
    signed, forged = ({"NotificationRequestItem": each} for each in (item, item | {"success": "false"}))
    with pytest.raises(Reject):
        await names["record_events"](call({"notificationItems": [signed, forged]}))
    assert names["events"] == {}
    await names["record_events"](call({"notificationItems": [signed]}))
    assert names["events"] == {(item["pspReference"], "AUTHORISATION"): item}


@pytest.mark.parametrize("name", ["pspReference", "merchantAccountCode", "merchantReference", "eventCode", "success"])
async def test_a_change_of_what_adyen_signs_is_noticed(adyen, name):
    key, item = PUBLISHED[0]
    forged = {"NotificationRequestItem": item | {name: item[name] + "x"}}
    with pytest.raises(Reject):
        await adyen(key)["record_events"](call({"notificationItems": [forged]}))


async def test_graph_notifications_are_accepted_if_each_has_the_client_state(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPH_CLIENT_STATE", "our secret")
    names = recipe("graph.py", tmp_path)
    good, bad = ({"clientState": state, "resource": "me"} for state in ("our secret", "another"))
    for value in ([good, bad], [good, {}], [{"clientState": "é"}], [{"clientState": 7}]):
        with pytest.raises(Reject):
            await names["changed"](call({"value": value}))
    assert names["waiting"].empty()
    answer = await names["changed"](call({"value": [good]}))
    assert (answer.code, names["waiting"].get_nowait()) == (202, good)

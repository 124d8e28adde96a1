"""The page of recipes: what it declares can be declared, and the handlers that no browser needs decide rightly."""

import base64
import json
import tomllib

import pytest
from flows.openid_provider import new_key
from flows.recipes import BLOCKS, FILES, recipe
from pydantic import TypeAdapter

from callback import IncomingCall, Reject
from callback_server.verification.profiles import make_profiles, profile_files
from callback_server.verification.settings import ProfileSettings

SECRET = b"whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok")
TABLES = {
    name: table
    for language, text in BLOCKS
    if language == "toml"
    for name, table in tomllib.loads(text)["profiles"].items()
}
PUBLISHED = [
    # From the tests of Adyen's own client: test/UtilTest.py of github.com/Adyen/adyen-python-api-library.
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


def test_every_profile_can_be_declared_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = TypeAdapter(dict[str, ProfileSettings]).validate_python(TABLES)
    assert len(settings) > 10
    for name, each in settings.items():
        for path in profile_files(name, each).values():
            path.write_bytes(SECRET)
    (tmp_path / "issuer-keys.json").write_text(json.dumps({"keys": [new_key().as_dict(private=False)]}))
    assert list(make_profiles(settings)) == list(TABLES)


def test_every_recipe_serves_where_the_readme_says():
    assert set(FILES) == {"payment.py", "adyen.py", "graph.py", "openid_login.py", "saml_login.py"}
    for name, text in FILES.items():
        compile(text, name, "exec")
        assert text.endswith('asyncio.run(handlers.serve("127.0.0.1:50061"))')


def call(value):
    return IncomingCall(activity="any", body=json.dumps(value).encode())


@pytest.fixture
def adyen(tmp_path, monkeypatch):
    def make(key):
        monkeypatch.setenv("ADYEN_HMAC_KEY", key)
        return recipe("adyen.py", tmp_path)

    return make


@pytest.mark.parametrize(("key", "item"), PUBLISHED, ids=["plain", "colon"])
async def test_adyen_s_items_are_believed_if_every_one_is_signed(adyen, key, item):
    names = adyen(key)
    signed, forged = ({"NotificationRequestItem": each} for each in (item, item | {"success": "false"}))
    with pytest.raises(Reject):
        await names["told"](call({"notificationItems": [signed, forged]}))
    assert names["events"] == {}
    await names["told"](call({"notificationItems": [signed]}))
    assert names["events"] == {(item["pspReference"], "AUTHORISATION"): item}


@pytest.mark.parametrize("name", ["pspReference", "merchantAccountCode", "merchantReference", "eventCode", "success"])
async def test_a_change_of_what_adyen_signs_is_noticed(adyen, name):
    key, item = PUBLISHED[0]
    forged = {"NotificationRequestItem": item | {name: item[name] + "x"}}
    with pytest.raises(Reject):
        await adyen(key)["told"](call({"notificationItems": [forged]}))


async def test_graph_s_notifications_are_believed_if_every_one_has_the_client_state(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPH_CLIENT_STATE", "our secret")
    names = recipe("graph.py", tmp_path)
    good, bad = ({"clientState": state, "resource": "me"} for state in ("our secret", "another"))
    for value in ([good, bad], [good, {}]):
        with pytest.raises(Reject):
            await names["changed"](call({"value": value}))
    assert names["waiting"].empty()
    answer = await names["changed"](call({"value": [good]}))
    assert (answer.code, names["waiting"].get_nowait()) == (202, good)

"""The libraries of the providers themselves: what they accept and refuse, the provider's profile accepts and refuses.

`test_providers.py` and `tests/server/test_provider_messages.py` have the other tests of each provider: other times,
rotation, and repeated messages.
"""

import base64
import hashlib
import hmac
import importlib
import json
import re
import time
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from support.keys import ED25519, P256, der, private_pem
from support.tree import ROOT
from support.verification import KINDS_WITH_KEYS, NOW, URL, Clock, changed, profile_of, refused, request, with_header

from callback_cli.verification.sample_message import sample_message
from callback_server.verification.profile import VerificationError
from callback_server.verification.providers import PROVIDERS


@dataclass(frozen=True)
class Message:
    """A message of a provider, as its library takes it."""

    secret: str
    body: str
    url: str
    headers: dict[str, str]


def adyen(library, sent):
    return library.is_valid_hmac_notification(json.loads(sent.body), sent.secret)


def adyen_platform(library, sent):
    return library.is_valid_hmac_payload(sent.headers["hmacsignature"], sent.secret, sent.body.encode())


def discord(library, sent):
    signature, time = sent.headers["x-signature-ed25519"], sent.headers["x-signature-timestamp"]
    return library.verify_key(sent.body.encode(), signature, time, sent.secret)


def coinbase_commerce(library, sent):
    try:
        return bool(library.Webhook.construct_event(sent.body, sent.headers["x-cc-webhook-signature"], sent.secret))
    except importlib.import_module("coinbase_commerce.error").SignatureVerificationError:
        return False


def easypost(library, sent):
    try:
        headers = {"X-Hmac-Signature": sent.headers["x-hmac-signature"]}
        return bool(library.validate_webhook(sent.body.encode(), headers, sent.secret))
    except library.SignatureVerificationError:
        return False


def gocardless(library, sent):
    try:
        return bool(library.parse(sent.body, sent.secret, sent.headers["webhook-signature"]))
    except importlib.import_module("gocardless_pro.errors").InvalidSignatureError:
        return False


def hubspot(library, sent):
    time, given = sent.headers["x-hubspot-request-timestamp"], sent.headers["x-hubspot-signature-v3"]
    return given == library.Signature.get_signature(sent.secret, sent.body, "v3", sent.url, "POST", time)


def mollie(library, sent):
    try:
        return library.SignatureValidator.validate(sent.body, sent.secret, sent.headers["x-mollie-signature"])
    except library.InvalidSignatureException:
        return False


def paddle(library, sent):
    wanted = importlib.import_module("paddle_billing.Notifications").Secret(sent.secret)
    return library.PaddleSignature().verify(sent.headers["paddle-signature"], sent.body, wanted)


def razorpay(library, sent):
    try:
        return library.Utility().verify_webhook_signature(sent.body, sent.headers["x-razorpay-signature"], sent.secret)
    except importlib.import_module("razorpay.errors").SignatureVerificationError:
        return False


def sendgrid(library, sent):
    signature, time = (sent.headers[f"x-twilio-email-event-webhook-{name}"] for name in ("signature", "timestamp"))
    return library.EventWebhook(sent.secret).verify_signature(sent.body, signature, time)


def slack(library, sent):
    signature, time = sent.headers["x-slack-signature"], sent.headers["x-slack-request-timestamp"]
    clock = types.SimpleNamespace(now=lambda: int(time))
    return library.SignatureVerifier(sent.secret, clock).is_valid(sent.body, time, signature)


def square(library, sent):
    return library.verify_signature(
        request_body=sent.body, signature_header=sent.headers["x-square-hmacsha256-signature"],
        signature_key=sent.secret, notification_url=sent.url,
    )  # fmt: skip


def standard_webhooks(library, sent):
    time = datetime.fromtimestamp(int(sent.headers["webhook-timestamp"]), UTC)
    return (
        library.Webhook(sent.secret).sign(sent.headers["webhook-id"], time, sent.body)
        == (sent.headers["webhook-signature"])
    )


def stripe(library, sent):
    try:
        return library.WebhookSignature.verify_header(sent.body, sent.headers["stripe-signature"], sent.secret)
    except library.SignatureVerificationError:
        return False


def svix(library, sent):
    time = datetime.fromtimestamp(int(sent.headers["svix-timestamp"]), UTC)
    return library.Webhook(sent.secret).sign(sent.headers["svix-id"], time, sent.body) == sent.headers["svix-signature"]


def twilio(library, sent):
    form = dict(parse_qsl(sent.body))
    return library.RequestValidator(sent.secret).validate(sent.url, form, sent.headers["x-twilio-signature"])


MAKERS: dict[str, tuple[str, Callable]] = {
    # provider: (module of the library, whether it accepts a message)
    "adyen": ("Adyen.util", adyen),
    "adyen-platform": ("Adyen.util", adyen_platform),
    "coinbase-commerce": ("coinbase_commerce.webhook", coinbase_commerce),
    "discord": ("discord_interactions", discord),
    "easypost": ("easypost.util", easypost),
    "gocardless": ("gocardless_pro.webhooks", gocardless),
    "hubspot": ("hubspot.utils.signature", hubspot),
    "mollie": ("mollie.utils.webhooks.signature_validator", mollie),
    "paddle": ("paddle_billing.Notifications.PaddleSignature", paddle),
    "razorpay": ("razorpay.utility", razorpay),
    "sendgrid": ("sendgrid.helpers.eventwebhook", sendgrid),
    "slack": ("slack_sdk.signature", slack),
    "square": ("square.utils.webhooks_helper", square),
    "standard-webhooks": ("standardwebhooks", standard_webhooks),
    "stripe": ("stripe", stripe),
    "svix": ("svix.webhooks", svix),
    "twilio": ("twilio.request_validator", twilio),
}  # fmt: skip

KEYS = {
    "discord": (private_pem(ED25519), ED25519.public_key().public_bytes_raw().hex()),
    "sendgrid": (private_pem(P256), base64.b64encode(der(P256)).decode()),
}
"""Private key, and public key as the maker's library takes it."""


def other(secret):
    """Return a secret of the same form."""
    if secret.startswith("MF"):  # the key of SendGrid: this is the one of RFC 7517, appendix A.1, in the same form
        x, y = ("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM")
        point = b"".join(base64.urlsafe_b64decode(each + "=") for each in (x, y))
        return base64.b64encode(base64.b64decode(secret)[:27] + point).decode()
    middle = len(secret) // 2
    return secret[:middle] + ("A" if secret[middle] != "A" else "B") + secret[middle + 1 :]


def altered(body):
    """Return a body with another character in what is signed: a member, where it is not the whole body."""
    member = re.search(r'Merchant|This message|(?<=\.)[\w-]+(?="}$)', body)  # the last one: the signature of a token
    index = member.start() if member else max(at for at, each in enumerate(body) if each.isalnum())
    return body[:index] + ("8" if body[index] != "8" else "9") + body[index + 1 :]


@pytest.mark.parametrize("name", MAKERS)
def test_the_makers_library_and_the_profile_accept_and_refuse_the_same(name, tmp_path, capsys):
    sample = PROVIDERS[name].sample
    module, accepts = MAKERS[name]
    library = importlib.import_module(module)
    clock = Clock(sample.time or NOW)

    def both(secret, body):
        """Return whether the library and the profile accept a message."""
        given = Message(secret, body, sample.url, {key.lower(): value for key, value in sample.headers})
        by_library = bool(accepts(library, given))
        profile = profile_of(tmp_path, secret, kind=f"provider:{name}", clock=clock)
        sent = changed(request(*map(tuple, sample.headers)), body=body.encode())
        try:
            profile.verify(sent, sample.url)
        except VerificationError:
            return by_library, False
        return by_library, True

    assert both(sample.secret, sample.body) == (True, True)
    assert both(sample.secret, altered(sample.body)) == (False, False)
    if f"provider:{name}" not in KINDS_WITH_KEYS or name == "sendgrid":
        assert both(other(sample.secret), sample.body) == (False, False)


def sample_of(name):
    """Return the message of a provider's file."""
    sample = PROVIDERS[name].sample
    headers = {key.lower(): value for key, value in sample.headers}
    return Message(sample.secret, sample.body, sample.url or URL.partition("?")[0], headers)


def by_library(name, sent):
    """Return whether the library of a provider accepts a message. What it raises is a no."""
    module, accepts = MAKERS[name]
    try:
        return bool(accepts(importlib.import_module(module), sent))
    except Exception:  # libraries raise many kinds for odd values
        return False


def by_profile(name, folder, sent):
    """Return whether the profile of a provider accepts a message."""
    sample, query = PROVIDERS[name].sample, sent.url.partition("?")[2]
    clock = Clock(sample.time or NOW)
    profile = profile_of(folder, sent.secret, kind=f"provider:{name}", clock=clock, **sample.settings)
    pairs = tuple(parse_qsl(query, keep_blank_values=True))
    made = request(*sent.headers.items(), method=sample.method or "post", query=pairs)
    try:
        profile.verify(changed(made, body=sent.body.encode(), query_string=query), sent.url)
    except VerificationError:
        return False
    return True


def in_each(changed_value):
    """Return a form that changes the value of each header."""
    return lambda sent: replace(sent, headers={name: changed_value(value) for name, value in sent.headers.items()})


def with_body(changed_body):
    """Return a form that changes the body."""
    return lambda sent: replace(sent, body=changed_body(sent.body))


FULLWIDTH = {ord("0") + digit: 0xFF10 + digit for digit in range(10)}
HEADER_FORMS = {
    "upper case": in_each(str.upper),
    "lower case": in_each(str.lower),
    "other case": in_each(str.swapcase),
    "a space before": in_each(lambda value: f" {value}"),
    "a space behind": in_each(lambda value: f"{value} "),
    "a tab behind": in_each(lambda value: f"{value}\t"),
    "twice, with a comma": in_each(lambda value: f"{value},{value}"),
    "twice, with a space": in_each(lambda value: f"{value} {value}"),
    "another one before": in_each(lambda value: f"{'0' * len(value)},{value}"),
    "another one behind": in_each(lambda value: f"{value},{'0' * len(value)}"),
    "empty": in_each(lambda _value: ""),
    "cut at the end": in_each(lambda value: value[:-1]),
    "cut at the start": in_each(lambda value: value[1:]),
    "half": in_each(lambda value: value[: len(value) // 2]),
    "without padding": in_each(lambda value: value.rstrip("=")),
    "more padding": in_each(lambda value: f"{value}="),
    "base64url": in_each(lambda value: value.replace("+", "-").replace("/", "_")),
    "a zero before": in_each(lambda value: f"0{value}"),
    "a zero before each number": in_each(lambda value: re.sub(r"(?<![0-9A-Za-z+/])(?=[0-9])", "0", value)),
    "fullwidth digits": in_each(lambda value: value.translate(FULLWIDTH)),
    "in quotes": in_each(lambda value: f'"{value}"'),
    "a field more": in_each(lambda value: f"{value},v9=0"),
    "fields in another order": in_each(lambda value: ",".join(reversed(value.split(",")))),
    "no headers": lambda sent: replace(sent, headers={}),
}
BODY_FORMS = {
    "a line break behind the body": with_body(lambda body: f"{body}\n"),
    "a byte order mark": with_body(lambda body: f"\ufeff{body}"),
    "an empty body": with_body(lambda _body: ""),
    "the body twice": with_body(lambda body: body * 2),
    "other white space in the body": with_body(lambda body: body.replace(": ", ":")),
}
URL_FORMS = {"a query in the URL": lambda sent: replace(sent, url=f"{sent.url}?a=b")}
ODD_FORMS = HEADER_FORMS | BODY_FORMS | URL_FORMS
"""Messages that a sender could have meant, or that an attacker could make of one that is valid."""
SIGNS_ONLY = {"hubspot", "standard-webhooks", "svix"}
"""Providers whose library signs here and does not verify, because it verifies by the machine's clock."""


def compare(name, folder, are_accepted):
    """Check that a profile accepts a message as a library does, and no odd form of it that the library refuses.

    The file of the provider says what the profile refuses and the library accepts, if there is something.

    Args:
        name: The provider.
        folder: A folder for the secret.
        are_accepted: Returns for each message whether the library accepts it.
    """
    sent = sample_of(name)
    forms = {"as it is": sent} | {form: odd(sent) for form, odd in ODD_FORMS.items()}
    found = {
        form: (library, by_profile(name, folder, odd))
        for (form, odd), library in zip(forms.items(), are_accepted(forms.values()), strict=True)
    }
    assert found["as it is"] == (True, True)
    assert [form for form, verdicts in found.items() if verdicts == (False, True)] == []
    stricter = [form for form, verdicts in found.items() if verdicts == (True, False) and form not in NEVER_ARRIVES]
    said = {words: forms for words, forms in WORDS.items() if re.search(words, PROVIDERS[name].stricter)}
    assert set(stricter) <= set().union(*said.values()), "the page does not name a form"
    assert [words for words, forms in said.items() if forms.isdisjoint(stricter)] == [], "the page names other forms"
    assert bool(stricter) == bool(PROVIDERS[name].stricter)


WORDS = {
    "content type": HEADER_FORMS.keys(),
    "twice": {"twice, with a comma", "twice, with a space", "the body twice"},
    "upper case": {"upper case", "lower case", "other case"},
    "base64url": {"base64url"},
    "padding": {"more padding"},
    "zero before": {"a zero before", "a zero before each number"},
    "another order": {"fields in another order"},
    "[Bb]yte order mark": {"a byte order mark"},
    "White space": {"a line break behind the body", "other white space in the body"},
    "^A body, which|^Another body": BODY_FORMS.keys(),
}
"""Words by which a text on what a profile refuses names odd forms."""
NEVER_ARRIVES = {"a space before", "a space behind", "a tab behind"}
"""Forms that HTTP takes away: white space around the value of a header (RFC 9110, section 5.5)."""


@pytest.mark.parametrize("name", sorted(MAKERS.keys() - SIGNS_ONLY))
def test_the_profile_accepts_no_odd_form_that_the_makers_library_refuses(name, tmp_path):
    compare(name, tmp_path, lambda sent: [by_library(name, each) for each in sent])


def test_the_page_names_for_each_provider_where_its_message_is_from_with_the_version_that_runs_here():
    """A library that runs here is named with the version of the lock: the page says what the tests above have seen."""
    page = (ROOT / "docs" / "provider-list.md").read_text().partition("## Where the messages")[2]
    sources = dict(re.findall(r"^- `([^`]+)`: (.+)$", page, re.MULTILINE))
    lock = (ROOT / "requirements" / "dev.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock, re.MULTILINE))
    assert sources.keys() == PROVIDERS.keys()
    for name, source in sources.items():
        libraries = re.findall(r"(?:accepted|signed) by (\S+) (\d[\w.]+) \((PyPI|npm|Go|Maven)\)", source)
        assert libraries or source.startswith(("from the documentation", "from the tests of ")), name
        versions = {re.sub("[-_.]+", "-", each.lower()): version for each, version, kind in libraries if kind == "PyPI"}
        known = {each: locked[each] for each in versions if each in locked}
        assert known == {each: versions[each] for each in known}, name
        assert bool(known) == (name in MAKERS), name


@pytest.mark.parametrize("name", MAKERS)
def test_the_makers_library_accepts_what_send_makes(name):
    module, accepts = MAKERS[name]
    key, public = KEYS.get(name, (None, None))
    secret = PROVIDERS[name].sample.secret
    made = sample_message(
        name, URL.partition("?")[0], secret.encode() if key is None else key, int(time.time()), values={}
    )
    headers = {header.lower(): value for header, value in made.headers}
    library = importlib.import_module(module)

    def is_accepted(with_secret, body):
        return bool(accepts(library, Message(with_secret, body, made.url, headers)))

    assert is_accepted(public or secret, made.body.decode())
    assert not is_accepted(public or secret, altered(made.body.decode()))


TOKEN = "12345"


def twilio_sent(validator, url, *, method="post", body=b"", kind="application/x-www-form-urlencoded", signed=None):
    """Return a request that the library signs. `signed` is what it takes for the form."""
    signature = validator.compute_signature(url, signed or {})
    pairs = tuple(parse_qsl(url.partition("?")[2], keep_blank_values=True))
    made = request(("x-twilio-signature", signature), ("content-type", kind), body=body, query=pairs)
    return changed(made, method=method, query_string=url.partition("?")[2])


def test_every_form_of_a_message_of_twilio_passes_and_none_can_be_made_another(tmp_path):
    validator = importlib.import_module("twilio.request_validator").RequestValidator(TOKEN)
    profile = profile_of(tmp_path, TOKEN, kind="provider:twilio")
    case = "https://box.example/cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"
    body = b'{"ParentAccountSid": "AC1"}'
    by_get = f"{case}?CallSid=CA1&From=%2B14158675310"
    by_json = f"{case}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    get = twilio_sent(validator, by_get, method="get", kind="text/html")
    told = twilio_sent(validator, by_json, body=body, kind="application/json")
    assert validator.validate(by_get, {}, dict(get.headers)["x-twilio-signature"])
    assert validator.validate(by_json, body.decode(), dict(told.headers)["x-twilio-signature"])
    profile.verify(get, by_get)
    profile.verify(told, by_json)
    profile.verify(twilio_sent(validator, case, body=b"a=1", signed={"a": "1"}), case)
    for sent, url in [
        (changed(told, body=body + b" "), by_json),
        (changed(told, body=b""), f"{by_json}0"),
        (changed(told, query=()), by_json),
        (changed(told, query=told.query * 2), by_json),
        (twilio_sent(validator, case, body=body, kind="application/json"), case),
        (twilio_sent(validator, by_get, body=b"a=1", signed={"a": "1"}), by_get),
        (twilio_sent(validator, case, body=b"%3FCallSid=%3DCA1", signed={"?CallSid": "=CA1"}), case),
    ]:
        refused(profile, sent, url)


def test_a_reference_of_adyen_can_contain_a_colon(tmp_path):
    library = importlib.import_module("Adyen.util")
    sample = PROVIDERS["adyen"].sample
    content = json.loads(sample.body)
    item = content["notificationItems"][0]["NotificationRequestItem"]
    item["merchantReference"] = "order:5"
    item["additionalData"]["hmacSignature"] = library.generate_notification_sig(item, sample.secret).decode()
    assert library.is_valid_hmac_notification(content, sample.secret)
    profile = profile_of(tmp_path, sample.secret, kind="provider:adyen")
    profile.verify(request(body=json.dumps(content).encode()), URL)
    account = item["merchantAccountCode"]
    item["merchantAccountCode"], item["merchantReference"] = f"{account}:order", "5"
    assert library.generate_notification_sig(item, sample.secret).decode() == item["additionalData"]["hmacSignature"]
    refused(profile, request(body=json.dumps(content).encode()))


def test_a_request_of_bitbucket_data_center_has_its_id(tmp_path):
    sample = PROVIDERS["bitbucket"].sample
    signature = dict(sample.headers)["x-hub-signature"]
    profile = profile_of(tmp_path, sample.secret, kind="provider:bitbucket")
    sent = request(("X-Request-Id", "8e3a"), ("X-Hub-Signature", signature), body=sample.body.encode())
    assert profile.verify(sent, URL).message_id == "8e3a"


def test_a_message_that_a_route_of_mailgun_forwards_with_an_attachment_passes(tmp_path):
    profile = profile_of(tmp_path, "mailgun", kind="provider:mailgun")
    signature = hmac.new(b"mailgun", f"{NOW}t1".encode(), "sha256").hexdigest()
    fields = {"timestamp": NOW, "token": "t1", "signature": signature, "subject": "Order 5"}
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    parts.append('Content-Disposition: form-data; name="attachment-1"; filename="a.txt"\r\n\r\nhello')
    body = "".join(f"--b\r\n{part}\r\n" for part in parts) + "--b--\r\n"
    sent = request(("content-type", 'multipart/form-data; boundary="b"'), body=body.encode())
    assert profile.verify(sent, URL).message_id == "t1"
    refused(profile, changed(sent, body=body.replace("t1", "t2").encode()))


def test_the_query_of_shopify_has_one_meaning(tmp_path):
    profile = profile_of(tmp_path, "hush", kind="provider:shopify-query")

    def sent(pairs, signed):
        made = hmac.new(b"hush", signed, "sha256").hexdigest()
        return request(method="get", query=[*pairs, ("hmac", made), ("timestamp", str(NOW))])

    end = f"&timestamp={NOW}".encode()
    profile.verify(sent([("shop", "a=b&c%")], b"shop=a=b%26c%25" + end), URL)
    for pairs, signed in [
        ([("shop", "a"), ("code", "1")], b"shop=a" + end),
        ([("shop", "a&b=1")], b"b=1&shop=a" + end),
        ([("shop", "a"), ("shop", "b")], b"shop=a&shop=b" + end),
        ([("shop=a", "b")], b"shop=a=b" + end),
    ]:
        refused(profile, sent(pairs, signed))
    assert "not signed" in refused(profile, changed(sent([("shop", "a")], b"shop=a" + end), body=b"x"))


def test_a_message_of_plivo_is_read_in_one_way(tmp_path):
    sample = PROVIDERS["plivo"].sample
    profile = profile_of(tmp_path, sample.secret, kind="provider:plivo")
    sent = request(*map(tuple, sample.headers), body=sample.body.encode())
    profile.verify(sent, sample.url)
    with_nonce = dict(sample.headers) | {"x-plivo-signature-v3-nonce": "1.2"}
    assert "must end it" in refused(profile, changed(sent, headers=tuple(with_nonce.items())), sample.url)
    assert "must end it" in refused(profile, sent, f"{sample.url}?a=1")
    assert "not signed" in refused(profile, changed(sent, headers=sent.headers[1:]), sample.url)
    refused(profile, changed(sent, body=sent.body + b"&A=1"), sample.url)


def test_a_message_of_plivo_can_have_a_signature_by_each_of_two_secrets(tmp_path):
    sample = PROVIDERS["plivo"].sample
    profile = profile_of(tmp_path, sample.secret, kind="provider:plivo")
    other = base64.b64encode(bytes(32)).decode()
    signature = dict(sample.headers)["x-plivo-signature-v3"]
    sent = request(*map(tuple, sample.headers), body=sample.body.encode())
    for both in (f"{other},{signature}", f"{signature},{other}"):
        profile.verify(with_header(sent, "x-plivo-signature-v3", both), sample.url)
    refused(profile, with_header(sent, "x-plivo-signature-v3", f"{other},{other}"), sample.url)

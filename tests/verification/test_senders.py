"""Standard Webhooks and senders with settings of their own: their requests pass, and one wrong bit fails them.

`test_providers.py` has the same tests of each provider, with published messages.
"""

import base64
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.senders import (
    BODY,
    ID,
    SENDERS,
    by_ed25519,
    by_standard_webhooks,
    standard_webhook,
    whpk,
    whsec,
)
from support.verification import (
    NOW,
    URL,
    Clock,
    changed,
    flips,
    profile_of,
    refused,
    request,
    sample_request,
    with_header,
)

from callback_server.domain.url import is_as_handed_out
from callback_server.verification.profile import VerifiedMessage
from callback_server.verification.providers import PROVIDERS


@pytest.fixture(params=SENDERS)
def sender(request):
    return SENDERS[request.param]


@pytest.fixture
def profile(sender, tmp_path):
    return profile_of(tmp_path, sender.secrets[0], **sender.settings)


@pytest.fixture
def sent(sender):
    return sender.sign(sender.secrets[0], BODY, NOW)


by_secret = pytest.mark.parametrize("sender", ["standard-webhooks", "everything"], indirect=True)


def test_a_signed_request_passes_and_its_id_is_kept_for_twice_the_tolerance(profile, sent):
    assert profile.verify(sent, URL) == VerifiedMessage(ID, 600_000)
    assert profile.redacted(sent) is sent


def test_every_bit_of_body_time_id_and_signature_is_checked(sender, profile, sent):
    tampered = [changed(sent, body=body) for body in flips(sent.body)]
    for name, value in sent.headers:
        if name in sender.signed:
            tampered += [with_header(sent, name, each.decode("latin-1")) for each in flips(value.encode())]
    tampered += [changed(sent, body=body) for body in (b"", sent.body[:-1], sent.body + b" ", b" " + sent.body)]
    for each in tampered:
        assert each != sent
        refused(profile, each)
    assert len(tampered) > 50


def test_a_missing_or_repeated_header_is_refused(profile, sent):
    for header in sent.headers:
        others = tuple(each for each in sent.headers if each != header)
        assert refused(profile, changed(sent, headers=others)) == f"{header[0].lower()} is missing"
        assert "more than once" in refused(profile, changed(sent, headers=(*sent.headers, header)))


def test_the_names_of_headers_are_the_same_in_any_case(profile, sent):
    profile.verify(changed(sent, headers=tuple((name.swapcase(), value) for name, value in sent.headers)), URL)


def test_each_of_two_secrets_is_valid(sender, profile, tmp_path):
    refused(profile, sender.sign(sender.secrets[1], BODY, NOW))
    both = profile_of(tmp_path, *sender.secrets, **sender.settings)
    for secret in sender.secrets:
        both.verify(sender.sign(secret, BODY, NOW), URL)


@by_secret
@pytest.mark.parametrize("tolerance", [None, 10])
def test_a_time_passes_within_the_tolerance_on_both_sides_and_not_beyond(sender, sent, tolerance, tmp_path):
    settings = sender.settings | ({"tolerance_s": tolerance} if tolerance else {})
    clock = Clock()
    profile = profile_of(tmp_path, sender.secrets[0], clock=clock, **settings)
    limit = tolerance or 300
    for passed in (-limit, -1, 0, 1, limit):
        clock.now = NOW + passed
        profile.verify(sent, URL)
    clock.now = NOW + limit + 1
    assert refused(profile, sent) == f"the time is too far in the past: {limit + 1} s"
    clock.now = NOW - limit - 1
    assert refused(profile, sent) == f"the time is too far in the future: {limit + 1} s"


@by_secret
@pytest.mark.parametrize(
    "time",
    ["", " ", "0", "1e9", "+1700000000", "-1700000000", "01700000000", "1700000000 ", "1700000000.0", "1_700_000_000",
     "\u0661\u0667\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660", "\u00b2", "9" * 16, "9" * 5000, "nan", "inf",
     "0x65", "\x00", "1700000000\n"],
)  # fmt: skip
def test_a_time_that_is_not_a_whole_number_is_refused(sender, profile, sent, time):
    name = next(each for each in sender.signed if "time" in each.lower())
    assert refused(profile, with_header(sent, name, time)) == "the time is not a whole number of seconds"


def test_the_published_example_of_a_public_key_passes(tmp_path):
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/go/webhook_asymmetric_test.go"""
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode("VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="))
    public = base64.b64encode(private.public_key().public_bytes_raw()).decode()
    profile = profile_of(tmp_path, f"whpk_{public}", clock=Clock(1614265330), kind="standard-webhooks")
    sent = request(
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        (
            "webhook-signature",
            "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
        ),
        body=b'{"test": 2432232314}',
    )
    profile.verify(sent, URL)
    refused(profile, changed(sent, body=sent.body + b" "))


# ---- Several signatures ----


@pytest.mark.parametrize("sender", ["standard-webhooks", "standard-webhooks-v1a"], indirect=True)
def test_one_valid_signature_among_others_is_enough_and_too_many_are_refused_unread(profile, sent):
    right = sent.headers[2][1]
    others = "v1,AAAA v1a,AAAA v2,what v1 , x,y,z"
    for signatures in (f"{right} {others}", f"{others} {right}", f"{right} {right}"):
        profile.verify(with_header(sent, "webhook-signature", signatures), URL)
    refused(profile, with_header(sent, "webhook-signature", others))
    many = with_header(sent, "webhook-signature", right + " v1a,AAAA" * 16)
    assert refused(profile, many) == "the request has 17 signatures"


def test_a_profile_with_a_secret_and_a_public_key_takes_either(tmp_path):
    profile = profile_of(tmp_path, whsec(b"1"), whpk(b"1"), kind="standard-webhooks")
    profile.verify(by_standard_webhooks(whsec(b"1"), BODY, NOW), URL)
    profile.verify(by_ed25519(whpk(b"1"), BODY, NOW), URL)


def test_a_public_key_is_never_a_secret(tmp_path):
    public = whpk(b"1")
    profile = profile_of(tmp_path, public, kind="standard-webhooks")
    for secret in (public.encode(), base64.b64decode(public.removeprefix("whpk_"))):
        signature = base64.b64encode(hmac.digest(secret, f"{ID}.{NOW}.{BODY}".encode(), "sha256")).decode()
        refused(profile, standard_webhook(f"v1,{signature}", BODY, NOW))
        refused(profile, standard_webhook(f"v1a,{signature}", BODY, NOW))


def test_a_list_of_signatures_has_one_time_and_not_too_many_signatures(tmp_path):
    sample = PROVIDERS["stripe"].sample
    profile = profile_of(tmp_path, sample.secret, clock=Clock(sample.time), kind="stripe")
    sent = sample_request("stripe")
    [(name, value)] = sent.headers
    time, _, signature = value.partition(",")
    for other in (f"{time},{value}", signature):
        assert refused(profile, with_header(sent, name, other)) == "the signature does not have exactly one time"
    profile.verify(with_header(sent, name, f"{time},v1=00,{signature},v0=00"), URL)
    assert refused(profile, with_header(sent, name, value + ",v1=00" * 16)) == "the request has 17 signatures"


# ---- Allowed ids ----


def test_an_id_cannot_be_moved_into_the_time(tmp_path):
    """Check the ambiguous `a.1.2.x`, which could be the id `a` at time 1, or the id `a.1` at time 2."""
    secret = whsec(b"1")
    signed = f"msg.{NOW}.{NOW}.{BODY}"
    signature = base64.b64encode(hmac.digest(base64.b64decode(secret[6:]), signed.encode(), "sha256")).decode()
    profile = profile_of(tmp_path, secret, kind="standard-webhooks")
    sent = standard_webhook(f"v1,{signature}", BODY, NOW)
    assert "must end it" in refused(profile, with_header(sent, "webhook-id", f"msg.{NOW}"))


@by_secret
@pytest.mark.parametrize("text", ["", "a b", "a\x00", "\u00e9", "a" * 201, "\u2028"])
def test_an_id_that_is_empty_long_or_unprintable_is_refused(profile, sent, text):
    header = next(each for each, value in sent.headers if value == ID)
    assert refused(profile, with_header(sent, header, text)) == "the message's id is empty, too long or unprintable"


# ---- Custom HMAC ----


def hexed(text):
    return hmac.digest(b"one", text.encode(), "sha256").hex()


def signing(folder, **settings):
    return profile_of(folder, "one", kind="hmac", signature="header:x-sign", **settings)


@pytest.mark.parametrize("sender", ["everything"], indirect=True)
def test_the_url_and_the_method_are_checked_if_they_are_signed(profile, sent):
    for url in flips(URL.encode()):
        refused(profile, sent, url.decode("latin-1"))
    refused(profile, changed(sent, method="put"))


def test_a_body_that_is_not_signed_is_refused(tmp_path):
    profile = signing(tmp_path, signed="{url}")
    sent = request(("x-sign", hexed(URL)), method="get")
    profile.verify(sent, URL)
    assert refused(profile, changed(sent, body=b"x")) == "the request has a body that is not signed"


CASE = "https://box.example/cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"
FORM_CASE = "https://box.example/cbq/RelayState?RelayState=3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"


@pytest.mark.parametrize(("url", "body"), [(CASE, "?amount=5&to=me"), (FORM_CASE, "&amount=5&to=me")])
def test_a_signed_body_never_passes_as_a_part_of_the_url(tmp_path, url, body):
    """Check the scheme of Square: https://developer.squareup.com/docs/webhooks/step3validate."""
    profile = signing(tmp_path, signed="{url}{body}")
    sent = request(("x-sign", hexed(url + body)), body=body.encode())
    profile.verify(sent, url)
    for end in range(1, len(body) + 1):
        moved = changed(sent, body=body[end:].encode())
        assert (
            refused(profile, moved, url + body[:end])
            == "the URL differs from the generated one, and the signature does not mark its end"
        )


@pytest.mark.parametrize(
    ("url", "own"),
    [
        (CASE, True),
        (FORM_CASE, True),
        (f"{CASE}?", False),
        (f"{CASE}?3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11=3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11", False),
        (f"{FORM_CASE}&a=1", False),
        (FORM_CASE.replace("?", "?a=1&"), False),
        (f"{FORM_CASE}0", False),
        (FORM_CASE.replace("?RelayState", "?Relay"), False),
        (f"{CASE}?/cbq/a?a=3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11", False),
        (f"{FORM_CASE}&/cbq/RelayState?RelayState=3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11", False),
        (FORM_CASE.partition("?")[0], False),
    ],
)
def test_a_url_without_additions_is_the_generated_one(url, own):
    assert is_as_handed_out(url) == own


@pytest.mark.parametrize(
    ("end", "ids"), [(".", ["a.", "a.b"]), (";", ["a;1"]), ("--", ["a-", "a--", "a--b", "-a-"]), ("-a-", ["x-a"])]
)
def test_an_id_without_a_clear_end_is_refused(tmp_path, end, ids):
    profile = signing(tmp_path, signed=f"{{id}}{end}{{body}}", id="header:x-id")

    def sent(message_id):
        return request(("x-sign", hexed(f"{message_id}{end}{BODY}")), ("x-id", message_id), body=BODY.encode())

    profile.verify(sent("a1"), URL)
    for each in ids:
        assert "contains the text that must end it" in refused(profile, sent(each)), each


@pytest.mark.parametrize(
    ("body", "message_id"),
    [
        ('{"a": {"id": "x"}, "id": "y"}', "y"),
        ('{"id": 5}', "5"),
        *((f'{{"id": {value}}}', "") for value in (
            "true", "null", '""', '"a b"', '"\\ud800"', "5.5", '"' + "a" * 201 + '"', "9" * 5000,
        )),
        *((body, "") for body in (
            "{}", '["id"]', "id=5", "", '{"id": "y"', '{"a":' + "[" * 100_000, '{"a":' + '{"a":' * 100_000,
        )),
    ],
)  # fmt: skip
def test_any_signed_body_passes_with_its_id_if_that_is_valid(tmp_path, body, message_id):
    profile = signing(tmp_path, id="json:/id")
    assert profile.verify(request(("x-sign", hexed(body)), body=body.encode()), URL).message_id == message_id

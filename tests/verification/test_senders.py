"""Requests signed by the libraries of senders, or published as examples: they pass, and one wrong bit fails them."""

import base64
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.senders import (
    BODY,
    ID,
    SENDERS,
    by_ed25519,
    by_openssl,
    by_standard_webhooks,
    by_stripe,
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
    profiles_of,
    refused,
    request,
    with_header,
)

from callback_server.domain.url import is_as_handed_out
from callback_server.verification.profile import VerifiedMessage

TIMED = sorted(name for name, sender in SENDERS.items() if sender.timed)


@pytest.fixture
def sender(request):
    return SENDERS[request.param]


every_sender = pytest.mark.parametrize("sender", sorted(SENDERS), indirect=True)


@every_sender
def test_a_signed_request_passes_and_its_id_is_kept_for_twice_the_tolerance(sender, tmp_path):
    profile = profile_of(tmp_path, sender.secrets[0], **sender.settings)
    sent = sender.sign(sender.secrets[0], BODY, NOW)
    assert profile.verify(sent, URL) == VerifiedMessage(sender.message_id, 600_000)
    assert profile.redacted(sent) is sent


@every_sender
def test_every_bit_of_body_time_id_and_signature_is_checked(sender, tmp_path):
    profile = profile_of(tmp_path, sender.secrets[0], **sender.settings)
    sent = sender.sign(sender.secrets[0], BODY, NOW)
    tampered = [changed(sent, body=body) for body in flips(sent.body)]
    for name, value in sent.headers:
        if name in sender.signed:
            tampered += [with_header(sent, name, each.decode("latin-1")) for each in flips(value.encode())]
    tampered += [changed(sent, body=body) for body in (b"", sent.body[:-1], sent.body + b" ", b" " + sent.body)]
    for each in tampered:
        assert each != sent
        refused(profile, each)
    assert len(tampered) > 500


@every_sender
def test_a_missing_or_repeated_header_is_refused(sender, tmp_path):
    profile = profile_of(tmp_path, sender.secrets[0], **sender.settings)
    sent = sender.sign(sender.secrets[0], BODY, NOW)
    for header in sent.headers:
        others = tuple(each for each in sent.headers if each != header)
        assert refused(profile, changed(sent, headers=others)) == f"{header[0].lower()} is missing"
        assert "more than once" in refused(profile, changed(sent, headers=(*sent.headers, header)))


@every_sender
def test_the_names_of_headers_are_the_same_in_any_case(sender, tmp_path):
    profile = profile_of(tmp_path, sender.secrets[0], **sender.settings)
    sent = sender.sign(sender.secrets[0], BODY, NOW)
    profile.verify(changed(sent, headers=tuple((name.swapcase(), value) for name, value in sent.headers)), URL)


@every_sender
def test_two_secrets_are_valid_at_the_same_time_and_a_removed_one_is_not(sender, tmp_path):
    old, new = sender.secrets
    profiles = profiles_of(tmp_path, None, old, **sender.settings)
    refused(profiles["it"], sender.sign(new, BODY, NOW))

    profiles = profiles_of(tmp_path, None, old, new, **sender.settings)
    for secret in (old, new):
        profiles["it"].verify(sender.sign(secret, BODY, NOW), URL)

    (tmp_path / "secret-0").write_text(new)
    profiles.reload()
    profiles["it"].verify(sender.sign(new, BODY, NOW), URL)
    refused(profiles["it"], sender.sign(old, BODY, NOW))


@pytest.mark.parametrize("sender", TIMED, indirect=True)
@pytest.mark.parametrize("tolerance", [None, 10])
def test_a_time_passes_within_the_tolerance_on_both_sides_and_not_beyond(sender, tolerance, tmp_path):
    settings = sender.settings | ({"tolerance_s": tolerance} if tolerance else {})
    clock = Clock()
    profile = profile_of(tmp_path, sender.secrets[0], clock=clock, **settings)
    sent = sender.sign(sender.secrets[0], BODY, NOW)
    limit = tolerance or 300
    for passed in (-limit, -1, 0, 1, limit):
        clock.now = NOW + passed
        profile.verify(sent, URL)
    clock.now = NOW + limit + 1
    assert refused(profile, sent) == f"the time is too far in the past: {limit + 1} s"
    clock.now = NOW - limit - 1
    assert refused(profile, sent) == f"the time is too far in the future: {limit + 1} s"


@pytest.mark.parametrize("sender", [name for name in TIMED if name != "stripe"], indirect=True)
@pytest.mark.parametrize(
    "time",
    ["", " ", "0", "1e9", "+1700000000", "-1700000000", "01700000000", "1700000000 ", "1700000000.0", "1_700_000_000",
     "\u0661\u0667\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660", "\u00b2", "9" * 16, "9" * 5000, "nan", "inf",
     "0x65", "\x00", "1700000000\n"],
)  # fmt: skip
def test_a_time_that_is_not_a_whole_number_is_refused(sender, time, tmp_path):
    profile = profile_of(tmp_path, sender.secrets[0], **sender.settings)
    sent = sender.sign(sender.secrets[0], BODY, NOW)
    name = next(each for each in sender.signed if "time" in each.lower())
    assert refused(profile, with_header(sent, name, time)) == "the time is not a whole number of seconds"


# ---- Published examples ----

GITHUB = (
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
    {"kind": "github"},
    "It's a Secret to Everybody",
    request(
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
        body=b"Hello, World!",
    ),
    NOW,
)
SLACK = (
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    {"kind": "slack"},
    "8f742231b10e8888abcd99yyyzzz85a5",
    request(
        ("x-slack-request-timestamp", "1531420618"),
        ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
        body=b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
    ),
    1531420618,
)


def specified(secret, signature):
    """Return the example from the libraries of Standard Webhooks."""
    sent = request(
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", signature),
        body=b'{"test": 2432232314}',
    )
    return {"kind": "standard-webhooks"}, secret, sent, 1614265330


# https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/go/webhook_symmetric_test.go
V1 = specified("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
# https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/go/webhook_asymmetric_test.go. The key
# there is private; this is its public key.
V1A = specified(
    "whpk_"
    + base64.b64encode(
        Ed25519PrivateKey.from_private_bytes(base64.b64decode("VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="))
        .public_key()
        .public_bytes_raw()
    ).decode(),
    "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
)


@pytest.mark.parametrize(
    "published",
    [GITHUB, SLACK, V1, V1A],
    ids=["github", "slack", "standard-webhooks v1", "standard-webhooks v1a"],
)
def test_a_published_example_passes(published, tmp_path):
    settings, secret, sent, time = published
    clock = Clock()
    clock.now = time
    profile = profile_of(tmp_path, secret, clock=clock, **settings)
    profile.verify(sent, URL)
    refused(profile, changed(sent, body=sent.body + b" "))


# ---- Several signatures ----


@pytest.mark.parametrize("name", ["standard-webhooks", "standard-webhooks-v1a"])
def test_one_valid_signature_among_others_is_enough(name, tmp_path):
    sender = SENDERS[name]
    profile = profile_of(tmp_path, sender.secrets[0], **sender.settings)
    sent = sender.sign(sender.secrets[0], BODY, NOW)
    right = sent.headers[2][1]
    others = "v1,AAAA v1a,AAAA v2,what v1 , x,y,z"
    for signatures in (f"{right} {others}", f"{others} {right}", f"{right} {right}"):
        profile.verify(with_header(sent, "webhook-signature", signatures), URL)
    refused(profile, with_header(sent, "webhook-signature", others))


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


def test_stripe_signs_twice_while_it_changes_its_secret(tmp_path):
    profile = profile_of(tmp_path, "new", kind="stripe")
    old, new = (by_stripe(secret, BODY, NOW).headers[0][1] for secret in ("old", "new"))
    both = f"{old},{new.partition(',')[2]},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
    profile.verify(with_header(by_stripe("old", BODY, NOW), "Stripe-Signature", both), URL)


@pytest.mark.parametrize("name", ["standard-webhooks", "standard-webhooks-v1a", "stripe"])
def test_too_many_signatures_are_refused_unread(name, tmp_path):
    sender = SENDERS[name]
    profile = profile_of(tmp_path, sender.secrets[0], **sender.settings)
    sent = sender.sign(sender.secrets[0], BODY, NOW)
    header, value = sent.headers[-1]
    more = value + (",v1=00" if name == "stripe" else " v1a,AAAA") * 16
    assert refused(profile, with_header(sent, header, more)) == "the request has 17 signatures"


def test_a_repeated_time_in_a_list_is_refused(tmp_path):
    profile = profile_of(tmp_path, "one", kind="stripe")
    sent = by_stripe("one", BODY, NOW)
    value = sent.headers[0][1]
    for other in (f"t={NOW},{value}", value.partition(",")[2]):
        assert (
            refused(profile, with_header(sent, "Stripe-Signature", other))
            == "the signature does not have exactly one time"
        )


# ---- Allowed ids ----


def test_an_id_cannot_be_moved_into_the_time(tmp_path):
    """Check the ambiguous `a.1.2.x`, which could be the id `a` at time 1, or the id `a.1` at time 2."""
    secret = whsec(b"1")
    signed = f"msg.{NOW}.{NOW}.{BODY}"
    signature = base64.b64encode(hmac.digest(base64.b64decode(secret[6:]), signed.encode(), "sha256")).decode()
    profile = profile_of(tmp_path, secret, kind="standard-webhooks")
    sent = standard_webhook(f"v1,{signature}", BODY, NOW)
    assert "must end it" in refused(profile, with_header(sent, "webhook-id", f"msg.{NOW}"))


def test_an_id_does_not_contain_the_text_that_ends_it(tmp_path):
    sender = SENDERS["everything"]
    profile = profile_of(tmp_path, "one", **sender.settings)
    sent = sender.sign("one", BODY, NOW)
    assert "must end it" in refused(profile, with_header(sent, "X-Id", f"{ID};1"))


@pytest.mark.parametrize("text", ["", "a b", "a\x00", "\u00e9", "a" * 201, "\u2028"])
@pytest.mark.parametrize("name", ["standard-webhooks", "github", "everything"])
def test_an_id_that_is_empty_long_or_unprintable_is_refused(name, text, tmp_path):
    sender = SENDERS[name]
    profile = profile_of(tmp_path, sender.secrets[0], **sender.settings)
    sent = sender.sign(sender.secrets[0], BODY, NOW)
    header = next(each for each, value in sent.headers if value == ID)
    assert refused(profile, with_header(sent, header, text)) == "the message's id is empty, too long or unprintable"


@pytest.mark.parametrize(
    "body",
    ["", "token=1&text=2", "[]", '"x"', '{"id": 5.5}', '{"id": ""}', "{}", "[" * 100_000, '{"id": "%s"}' % ("a" * 201),
     '{"id": %s}' % ("9" * 5000), '{"id": "\\ud800"}', '{"id": "a b"}'],
)  # fmt: skip
def test_a_signed_body_without_a_valid_id_passes_without_an_id(body, tmp_path):
    profile = profile_of(tmp_path, "one", kind="stripe")
    assert profile.verify(by_stripe("one", body, NOW), URL) == VerifiedMessage()


# ---- Custom HMAC ----


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_each_hash_and_encoding_is_what_openssl_makes(algorithm, encoding, tmp_path):
    digest = by_openssl("one", BODY, algorithm)
    signature = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    profile = profile_of(
        tmp_path, "one", kind="hmac", signature="header:x-sign", algorithm=algorithm, encoding=encoding
    )
    sent = request(("X-Sign", signature), body=BODY.encode())
    assert profile.verify(sent, URL) == VerifiedMessage()
    refused(profile, with_header(sent, "X-Sign", signature[:-1]))
    refused(profile, with_header(sent, "X-Sign", signature + "="))
    refused(profile, with_header(sent, "X-Sign", ""))
    if encoding == "hex":
        refused(profile, with_header(sent, "X-Sign", signature.upper()))


def test_the_url_and_the_method_are_checked_if_they_are_signed(tmp_path):
    sender = SENDERS["everything"]
    profile = profile_of(tmp_path, "one", **sender.settings)
    sent = sender.sign("one", BODY, NOW)
    for url in flips(URL.encode()):
        refused(profile, sent, url.decode("latin-1"))
    refused(profile, changed(sent, method="put"))


def test_a_body_that_is_not_signed_is_refused(tmp_path):
    profile = profile_of(tmp_path, "one", kind="hmac", signature="header:x-sign", signed="{url}")
    sent = request(("x-sign", by_openssl("one", URL).hex()), method="get")
    profile.verify(sent, URL)
    assert refused(profile, changed(sent, body=b"x")) == "the request has a body that is not signed"


CASE = "https://box.example/cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"
FORM_CASE = "https://box.example/cbq/RelayState?RelayState=3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"


@pytest.mark.parametrize(("url", "body"), [(CASE, "?amount=5&to=me"), (FORM_CASE, "&amount=5&to=me")])
def test_a_signed_body_never_passes_as_a_part_of_the_url(tmp_path, url, body):
    """Check the scheme of Square: https://developer.squareup.com/docs/webhooks/step3validate."""
    profile = profile_of(
        tmp_path, "one", kind="hmac", signature="header:x-sign", encoding="base64", signed="{url}{body}"
    )
    sent = request(("x-sign", base64.b64encode(by_openssl("one", url + body)).decode()), body=body.encode())
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


@pytest.mark.parametrize(("end", "ids"), [(".", ["a.", "a.b"]), ("--", ["a-", "a--", "a--b", "-a-"]), ("-a-", ["x-a"])])
def test_an_id_without_a_clear_end_is_refused(tmp_path, end, ids):
    profile = profile_of(
        tmp_path, "one", kind="hmac", signature="header:x-sign", signed=f"{{id}}{end}{{body}}", id="header:x-id"
    )  # fmt: skip

    def sent(message_id):
        signature = by_openssl("one", f"{message_id}{end}{BODY}").hex()
        return request(("x-sign", signature), ("x-id", message_id), body=BODY.encode())

    profile.verify(sent("a1"), URL)
    for each in ids:
        assert "contains the text that must end it" in refused(profile, sent(each)), each


@pytest.mark.parametrize(
    ("body", "message_id"),
    [
        ('{"a": {"id": "x"}, "id": "y"}', "y"),
        ('{"id": 5}', "5"),
        ('{"id": true}', ""),
        ('{"id": null}', ""),
        ('{"id": ""}', ""),
        ('{"id": "a b"}', ""),
        ('{"id": "\\ud800"}', ""),
        ("{}", ""),
        ('["id"]', ""),
        ("id=5", ""),
        ("", ""),
        ('{"id": "y"', ""),
        ('{"a":' + "[" * 100_000, ""),
        ('{"a":' + '{"a":' * 100_000, ""),
    ],
)
def test_any_signed_body_passes_with_its_id_if_that_is_valid(tmp_path, body, message_id):
    profile = profile_of(tmp_path, "one", kind="hmac", signature="header:x-sign", id="json:/id")
    sent = request(("x-sign", hmac.digest(b"one", body.encode(), "sha256").hex()), body=body.encode())
    assert profile.verify(sent, URL).message_id == message_id


def test_a_list_may_have_semicolons(tmp_path):
    profile = profile_of(
        tmp_path,
        "one",
        kind="hmac",
        signature="header:paddle-signature",
        signature_field="h1",
        timestamp="field:ts",
        signed="{timestamp}:{body}",
    )
    signature = by_openssl("one", f"{NOW}:{BODY}").hex()
    profile.verify(request(("paddle-signature", f"ts={NOW};h1={signature}"), body=BODY.encode()), URL)

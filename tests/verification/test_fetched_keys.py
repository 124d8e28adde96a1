"""Keys and certificates that the server fetches: which URLs, how often, and what a profile does without them."""

import asyncio
import base64
import datetime
import json
import zlib

import certifi
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.verification import Store
from jwt.algorithms import RSAAlgorithm
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.key_source import HOST, SNS, Authority, fetcher_to, resolver
from support.tree import ROOT
from support.verification import DECLARED, NOW, URL, Clock, changed, request, with_header
from support.wait import wait_until

from callback_server.verification import fetched_keys
from callback_server.verification.fetched_keys import KEEP_S, MAX_NAMED, FetchedKeys
from callback_server.verification.profile import FailureReason, VerificationError
from callback_server.verification.profiles import Profiles
from callback_server.verification.providers import PROVIDERS
from callback_server.verification.sender_certificate import public_roots
from callback_server.verification.settings.fetched_urls import is_allowed_url

KEYS = f"https://{HOST}/jwks"
RSA, OTHER_RSA = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
SNS_PATH = "/SimpleNotificationService-" + "0" * 32 + ".pem"


class Steady(Clock):
    """Clock of the refresher."""

    now = 1000.0


@pytest.fixture
def steady(monkeypatch):
    """Let the refreshers of the test have a clock that only the test moves."""
    clock = Steady()
    given = FetchedKeys.__init__.__defaults__
    monkeypatch.setattr(FetchedKeys.__init__, "__defaults__", (*given[:-1], clock))
    return clock


def outcome(profile, sent, url=URL):
    """Return the reason and the text of a refusal; None if the request passes."""
    try:
        profile.verify(sent, url)
    except VerificationError as error:
        return error.reason, str(error)
    return None


# ---- A key set ----


def key_set(**keys):
    return json.dumps({"keys": [RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": name}
                                for name, key in keys.items()]})  # fmt: skip


def token(key=RSA, key_id="one"):
    claims = {"iss": "i", "aud": "a", "exp": NOW + 300}
    return request(("Authorization", f"Bearer {jwt.encode(claims, key, 'RS256', {'kid': key_id})}"))


def token_profiles(source, resolve=None, **settings):
    fetcher, network = fetcher_to(source, resolve)
    given = {"kind": "jwt", "issuer": "i", "audience": "a", "algorithms": ["RS256"], "jwks_url": KEYS, **settings}
    profiles = Profiles({"it": DECLARED.validate_python(given)}, Clock(), fetcher=fetcher)
    return profiles, profiles.fetched["it"], network


async def test_a_token_passes_once_the_keys_are_fetched_and_cannot_be_verified_before(source, steady):
    source.put("/jwks", key_set(one=RSA))
    profiles, fetched, _ = token_profiles(source)
    assert outcome(profiles["it"], token()) == (
        FailureReason.KEYS, "the keys are not known: it was not fetched yet",
    )  # fmt: skip
    assert source.connections == 0
    await fetched.refresh()
    assert outcome(profiles["it"], token()) is None
    assert outcome(profiles["it"], token(OTHER_RSA)) == (
        FailureReason.SIGNATURE, "no key matches the token's signature",
    )  # fmt: skip


async def test_no_request_causes_a_fetch_of_a_url_of_the_settings(source, steady):
    source.put("/jwks", key_set(one=RSA))
    profiles, fetched, _ = token_profiles(source)
    await fetched.refresh()
    for key_id in range(100):
        assert outcome(profiles["it"], token(OTHER_RSA, str(key_id)))[0] is FailureReason.SIGNATURE
        await fetched.refresh()
    assert source.connections == 1


async def test_keys_are_fetched_again_before_they_expire_and_new_ones_replace_them(source, steady):
    source.put("/jwks", key_set(one=RSA), "cache-control: max-age=1000")
    profiles, fetched, _ = token_profiles(source)
    assert await fetched.refresh() == pytest.approx(900)
    source.put("/jwks", key_set(two=OTHER_RSA), "cache-control: max-age=1")
    steady.now += 899
    assert await fetched.refresh() == pytest.approx(1)
    assert outcome(profiles["it"], token()) is None
    steady.now += 1
    assert await fetched.refresh() == pytest.approx(270)  # at least 300 s, whatever the source says
    assert outcome(profiles["it"], token())[0] is FailureReason.SIGNATURE
    assert outcome(profiles["it"], token(OTHER_RSA, "two")) is None
    source.put("/jwks", key_set(two=OTHER_RSA), "cache-control: max-age=99999999")
    steady.now += 300
    assert await fetched.refresh() == pytest.approx(3240)  # and at most an hour
    source.put("/jwks", key_set(two=OTHER_RSA))
    steady.now += 3600
    assert await fetched.refresh() == pytest.approx(540)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "the answer is a 404"),
        ("<html>Sign in</html>", f"{KEYS}: is not a public key in PEM form, a certificate, or a JSON Web Key Set"),
        ("{}", f"{KEYS}: has no key for the algorithms RS256"),
        ('{"keys": []}', f"{KEYS}: has no key for the algorithms RS256"),
        ('{"keys": 5}', f"{KEYS}: is not a public key in PEM form, a certificate, or a JSON Web Key Set"),
        ("[" * 100_000, f"{KEYS}: is not a public key in PEM form, a certificate, or a JSON Web Key Set"),
    ],
)
async def test_the_last_keys_stay_valid_for_a_day_while_their_source_fails(source, steady, content, problem):
    source.put("/jwks", key_set(one=RSA))
    profiles, fetched, _ = token_profiles(source)
    await fetched.refresh()
    end = steady.now + KEEP_S
    source.answers.clear()
    if content is not None:
        source.put("/jwks", content)
    with capture_logs() as logs:
        steady.now += 540
        waits = [await fetched.refresh()]
        for _ in range(8):
            steady.now += waits[-1]
            waits.append(await fetched.refresh())
    assert waits == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300, 300])
    told = [entry for entry in logs if entry["event"] == "keys_not_fetched"]
    assert [(entry["profile"], entry["url"], entry["problem"]) for entry in told] == [("it", KEYS, problem)]
    steady.now = end - 1
    assert outcome(profiles["it"], token()) is None
    steady.now = end
    assert outcome(profiles["it"], token()) == (FailureReason.KEYS, f"the keys are not known: {problem}")
    source.put("/jwks", key_set(one=RSA))
    await fetched.refresh()
    assert outcome(profiles["it"], token()) is None


async def test_fetches_are_counted_and_the_time_of_the_last_is_a_metric(source, steady):
    def metrics():
        names = [("callback_key_fetches_total", {"profile": "it", "outcome": each}) for each in ("ok", "failed")]
        return [REGISTRY.get_sample_value(*each) or 0 for each in names]

    before = metrics()
    _, fetched, _ = token_profiles(source)
    await fetched.refresh()
    source.put("/jwks", key_set(one=RSA))
    steady.now += 5
    await fetched.refresh()
    assert [now - then for now, then in zip(metrics(), before, strict=True)] == [1, 1]
    assert REGISTRY.get_sample_value("callback_keys_fetched_time_seconds", {"profile": "it"}) > NOW


async def test_a_private_address_is_a_problem_that_is_told(source, steady):
    profiles, fetched, network = token_profiles(source, resolver(["10.0.0.7"]))
    await fetched.refresh()
    assert outcome(profiles["it"], token())[1].endswith(f"{HOST} has the address 10.0.0.7, which is not public")
    assert fetched.problems() == [f"{KEYS}: {HOST} has the address 10.0.0.7, which is not public"]
    assert network.connected == []


async def test_running_profiles_fetch_their_keys(source):
    source.put("/jwks", key_set(one=RSA))
    profiles, _, _ = token_profiles(source)
    running = asyncio.create_task(profiles.run())
    try:
        await wait_until(lambda: outcome(profiles["it"], token()) is None)
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert source.connections == 1


async def test_a_public_key_profile_has_its_keys_from_a_url(source, steady):
    fetcher, _ = fetcher_to(source)
    settings = {"kind": "public-key", "signature": "header:x-sign", "encoding": "base64", "algorithm": "rsa-sha256",
                "jwks_url": KEYS}  # fmt: skip
    profiles = Profiles({"it": DECLARED.validate_python(settings)}, Clock(), fetcher=fetcher)
    sent = request(("x-sign", signature(RSA, b"body", hashes.SHA256())), body=b"body")
    assert outcome(profiles["it"], sent)[0] is FailureReason.KEYS
    source.put("/jwks", key_set(one=OTHER_RSA, two=RSA))
    await profiles.fetched["it"].refresh()
    assert outcome(profiles["it"], sent) is None
    assert outcome(profiles["it"], changed(sent, body=b"bodz"))[0] is FailureReason.SIGNATURE


# ---- A certificate that a message names ----


def signature(key, signed, algorithm):
    return base64.b64encode(key.sign(signed, padding.PKCS1v15(), algorithm)).decode()


class Signer:
    """A sender of SNS messages with an authority of its own."""

    def __init__(self, *names, authority=None):
        self.authority = authority or Authority()
        self.pem, self.key = self.authority.issue(*names)

    def roots(self):
        return Store([self.authority.certificate])

    def sent(self, url=f"https://{SNS}{SNS_PATH}", version="2", **members):
        message = {
            "Type": "Notification", "MessageId": "m-1", "TopicArn": "arn:aws:sns:eu-west-1:1:topic", "Message": "a\nb",
            "Timestamp": datetime.datetime.fromtimestamp(NOW, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "SignatureVersion": version, "SigningCertURL": url,
        }  # fmt: skip
        message |= members
        names = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
        signed = "".join(f"{name}\n{message[name]}\n" for name in names if name in message).encode()
        algorithm = {"1": hashes.SHA1, "2": hashes.SHA256}.get(version, hashes.SHA256)()
        message["Signature"] = signature(self.key, signed, algorithm)
        return request(("content-type", "text/plain"), body=json.dumps(message).encode())


def altered(sent, **members):
    """Return a message with other members, which keeps its signature; None removes one."""
    message = json.loads(sent.body) | members
    return changed(sent, body=json.dumps({name: each for name, each in message.items() if each is not None}).encode())


@pytest.fixture(scope="module")
def signer():
    return Signer("sns.amazonaws.com")


def sns_profiles(source, roots, clock=None, resolve=None, **settings):
    fetcher, network = fetcher_to(source, resolve)
    declared = DECLARED.validate_python({"kind": "provider:aws-sns", **settings})
    profiles = Profiles({"it": declared}, clock or Clock(), fetcher=fetcher, roots=roots)
    return profiles, profiles.fetched["it"], network


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    "members",
    [{}, {"Subject": "s"}, {"Type": "SubscriptionConfirmation", "SubscribeURL": "u", "Token": "t"}],
    ids=["plain", "subject", "confirmation"],
)
async def test_a_message_passes_once_its_certificate_was_fetched(source, steady, signer, version, members):
    source.put(SNS_PATH, signer.pem)
    profiles, fetched, network = sns_profiles(source, signer.roots)
    sent = signer.sent(version=version, **members)
    assert await fetched.refresh() is None
    for _ in range(3):
        assert outcome(profiles["it"], sent)[0] is FailureReason.KEYS
    await fetched.refresh()
    assert profiles["it"].verify(sent, URL).message_id == "m-1"
    assert outcome(profiles["it"], signer.sent(MessageId="m-2")) is None
    await fetched.refresh()
    assert (source.asked, len(network.connected)) == ([SNS_PATH], 1)


async def test_forgeries_are_refused(source, steady, signer):
    source.put(SNS_PATH, signer.pem)
    profiles, fetched, _ = sns_profiles(source, signer.roots)
    profile, sent = profiles["it"], signer.sent(Subject="s")
    outcome(profile, sent)
    await fetched.refresh()
    assert outcome(profile, sent) is None
    changes = [
        {"Message": "a\nc"}, {"MessageId": "m-2"}, {"Subject": None}, {"Subject": "t"}, {"Token": "t"},
        {"SubscribeURL": "u"}, {"TopicArn": "arn:other"}, {"Type": "SubscriptionConfirmation"},
        {"SignatureVersion": "1"}, {"Signature": "AAAA"},
        {"Message": "a", "MessageId": "b\nMessageId\nm-1"},
        {"Message": "a\nb\nMessageId\nm-1\nSubject\ns", "Subject": None},
    ]  # fmt: skip
    for members in changes:
        assert outcome(profile, altered(sent, **members)), members
    for members in ({"SignatureVersion": "3"}, {"Timestamp": None}, {"TopicArn": 5.5}, {"Type": {}}):
        assert outcome(profile, altered(sent, **members))[0] in (FailureReason.MALFORMED, FailureReason.MISSING)
    twice = changed(sent, body=sent.body[:-1] + b', "Message": "a\\nb"}')
    assert outcome(profile, twice)[0] is FailureReason.MALFORMED
    other = Signer("sns.amazonaws.com", authority=signer.authority)
    assert outcome(profile, other.sent(Subject="s")) == (FailureReason.SIGNATURE, "no signature is valid")
    assert outcome(profile, signer.sent(Timestamp="2023-11-14T21:13:19Z"))[0] is FailureReason.TIME


async def test_a_signed_text_cannot_be_read_as_other_members(source, steady, signer):
    source.put(SNS_PATH, signer.pem)
    profiles, fetched, _ = sns_profiles(source, signer.roots)
    sent = signer.sent(Message="a\nMessageId\nb", Subject="s")
    outcome(profiles["it"], sent)
    await fetched.refresh()
    assert outcome(profiles["it"], sent) is None
    assert outcome(profiles["it"], altered(sent, Message="a", MessageId="b\nMessageId\nm-1")) == (
        FailureReason.MALFORMED,
        "json:/MessageId contains a line break, so the signed text has more than one meaning",
    )


@pytest.mark.parametrize(
    "url", ["https://a.example/c#x", "https://a.example/c\n", "https://a.example/ c", "https://a.example/é"]
)
def test_a_url_has_only_what_belongs_there_whatever_the_pattern_allows(url):
    assert is_allowed_url("https://a.example/c", [r"https://a\.example/.+"])
    assert not is_allowed_url(url, [r"https://a\.example/(.|\n)+"])


@pytest.mark.parametrize(
    "url",
    [
        f"http://{SNS}{SNS_PATH}",
        f"https://{SNS}:443{SNS_PATH}",
        f"https://{SNS}:8443{SNS_PATH}",
        f"https://{SNS}@evil.example{SNS_PATH}",
        f"https://user@{SNS}{SNS_PATH}",
        f"https://{SNS}.evil.example{SNS_PATH}",
        f"https://evil.example/{SNS}{SNS_PATH}",
        f"https://evil.example#{SNS}{SNS_PATH}",
        f"https://evil.example?{SNS}{SNS_PATH}",
        f"https://evil.example\\{SNS}{SNS_PATH}",
        f"https://sns.s3.amazonaws.com{SNS_PATH}",
        f"https://sns.s3-us-west-2.amazonaws.com{SNS_PATH}",
        f"https://sns.eu-west-1.amazonaws.com.evil.example{SNS_PATH}",
        f"https://snsXeu-west-1.amazonaws.com{SNS_PATH}",
        f"https://sns.eu-west-1xamazonaws.com{SNS_PATH}",
        f"https://xsns.eu-west-1.amazonaws.com{SNS_PATH}",
        f"https://sns.eu-west-1.amazonaws.com{SNS_PATH}?x",
        f"https://sns.eu-west-1.amazonaws.com{SNS_PATH}#x",
        f"https://sns.eu-west-1.amazonaws.com/x/..{SNS_PATH}",
        f"https://sns.eu-west-1.amazonaws.com/x{SNS_PATH}",
        f"https://sns.eu-west-1.amazonaws.com{SNS_PATH}\n",
        f"https://SNS.EU-WEST-1.AMAZONAWS.COM{SNS_PATH}",
        f"https://sns.eu-west-1.amazonaws.com\u3002{SNS_PATH}",
        "https://127.0.0.1" + SNS_PATH,
        "https://api.paypal.com/v1/notifications/certs/CERT-1",
        "file:///etc/passwd",
        "",
    ],
)
async def test_nothing_is_fetched_from_another_host_or_path(source, steady, signer, url):
    source.put(SNS_PATH, signer.pem)
    profiles, fetched, network = sns_profiles(source, signer.roots)
    assert outcome(profiles["it"], signer.sent(url)) == (
        FailureReason.SIGNATURE, "json:/SigningCertURL is not one of certificate_urls",
    )  # fmt: skip
    await fetched.refresh()
    assert (network.connected, source.connections) == ([], 0)


def bogus(number):
    return f"https://{SNS}/SimpleNotificationService-{number:032x}.pem"


async def test_callers_cause_at_most_twelve_fetches_a_minute_however_many_urls_they_make_up(source, steady, signer):
    profiles, fetched, _ = sns_profiles(source, signer.roots)
    sent = [signer.sent(bogus(number)) for number in range(40)]
    start = steady.now
    while steady.now < start + 600:
        for each in sent:
            outcome(profiles["it"], each)
        await fetched.refresh()
        steady.now += 1
    assert 1 < source.connections <= 120
    assert len(fetched._sources) <= MAX_NAMED


async def test_a_url_that_failed_is_left_alone_for_a_minute_and_then_longer(source, steady, signer):
    profiles, fetched, _ = sns_profiles(source, signer.roots)
    sent, fetched_at = signer.sent(bogus(1)), []
    start = steady.now
    while steady.now < start + 1000:
        outcome(profiles["it"], sent)
        before = source.connections
        await fetched.refresh()
        fetched_at += [steady.now - start] * (source.connections - before)
        steady.now += 1
    assert fetched_at == [0, 60, 180, 420, 900]
    steady.now += 7200  # and without another message for ever
    assert await fetched.refresh() is None
    assert source.connections == len(fetched_at)


async def test_made_up_urls_do_not_displace_a_valid_certificate(source, steady, signer):
    source.put(SNS_PATH, signer.pem)
    profiles, fetched, _ = sns_profiles(source, signer.roots)
    outcome(profiles["it"], signer.sent())
    await fetched.refresh()
    for number in range(3 * MAX_NAMED):
        outcome(profiles["it"], signer.sent(bogus(number)))
        await fetched.refresh()
        steady.now += 5
    assert outcome(profiles["it"], signer.sent()) is None


async def test_made_up_urls_at_one_callback_delay_the_certificates_of_others_by_one_place(source, steady, signer):
    source.put(SNS_PATH, signer.pem)
    profiles, fetched, _ = sns_profiles(source, signer.roots)
    for second in range(11):
        for number in range(5):
            outcome(profiles["it"], signer.sent(bogus(100 * second + number + 1)), "https://box.example/cb/1?a=1")
        if second % 5 == 0:
            seen = outcome(profiles["it"], signer.sent(), "https://box.example/cb/2")
        await fetched.refresh()
        steady.now += 1
    assert seen is None


async def test_urls_that_wait_for_their_first_fetch_are_not_displaced(source, steady, signer):
    profiles, fetched, _ = sns_profiles(source, signer.roots)
    for number in range(1, MAX_NAMED + 1):
        assert "not fetched yet" in outcome(profiles["it"], signer.sent(bogus(number)), f"https://x/cb/{number}")[1]
    assert outcome(profiles["it"], signer.sent(), "https://x/cb/other") == (
        FailureReason.KEYS, "the keys are not known: too many others are waited for",
    )  # fmt: skip
    await fetched.refresh()  # the first one fails, and makes room
    assert "not fetched yet" in outcome(profiles["it"], signer.sent(), "https://x/cb/other")[1]


async def test_a_refresher_sleeps_until_the_pace_allows_the_next_fetch(source, steady, signer):
    source.put(SNS_PATH, signer.pem, "cache-control: max-age=1000")
    profiles, fetched, _ = sns_profiles(source, signer.roots)
    outcome(profiles["it"], signer.sent())
    await fetched.refresh()
    steady.now += 899
    outcome(profiles["it"], signer.sent(bogus(1)))
    await fetched.refresh()
    steady.now += 1
    assert await fetched.refresh() == pytest.approx(4)


def test_a_url_of_a_certificate_is_not_longer_than_a_host_and_a_path_can_be():
    pattern = r"https://sns\.[a-z0-9-]+\.amazonaws\.com/[a-z]+\.pem"
    assert is_allowed_url("https://sns.eu-west-1.amazonaws.com/a.pem", [pattern])
    assert not is_allowed_url(f"https://sns.{'a' * 64}.amazonaws.com/a.pem", [pattern])
    assert not is_allowed_url(f"https://sns.eu-west-1.amazonaws.com/{'a' * 400}.pem", [pattern])


@pytest.mark.parametrize("name", ["topicArn", "MESSAGE", "subject", "\u017fubject"])
async def test_a_name_in_another_case_than_a_signed_one_is_refused(source, steady, signer, name):
    source.put(SNS_PATH, signer.pem)
    profiles, fetched, _ = sns_profiles(source, signer.roots)
    outcome(profiles["it"], signer.sent())
    await fetched.refresh()
    sent = signer.sent()
    body = sent.body[:-1] + json.dumps({name: "x"}).encode().replace(b"{", b", ", 1)
    assert outcome(profiles["it"], changed(sent, body=body)) is not None
    body = sent.body[:-1] + b', "MessageAttributes": {"subject": "x"}}'
    assert outcome(profiles["it"], changed(sent, body=body)) is None


async def test_a_certificate_is_fetched_again_and_forgotten_after_a_week_without_messages(source, steady, signer):
    source.put(SNS_PATH, signer.pem, "cache-control: max-age=1000")
    profiles, fetched, _ = sns_profiles(source, signer.roots)
    outcome(profiles["it"], signer.sent())
    assert await fetched.refresh() == pytest.approx(900)
    steady.now += 900
    await fetched.refresh()
    assert len(source.asked) == 2
    steady.now += fetched_keys.UNUSED_S + 1
    assert await fetched.refresh() is None
    assert len(source.asked) == 2


@pytest.mark.parametrize(
    ("names", "passes"),
    [
        (["sns.amazonaws.com"], True),
        (["sns-signing.eu-west-1.amazonaws.com", SNS], True),
        (["sns-signing.eu-west-2.amazonaws.com"], False),
        (["evil.example"], False),
        (["api.paypal.com"], False),
    ],
)
async def test_a_certificate_must_have_a_name_of_the_provider(source, steady, names, passes):
    signer = Signer(*names)
    source.put(SNS_PATH, signer.pem)
    profiles, fetched, _ = sns_profiles(source, signer.roots)
    outcome(profiles["it"], signer.sent())
    await fetched.refresh()
    found = outcome(profiles["it"], signer.sent())
    if passes:
        assert found is None
    else:
        assert found[0] is FailureReason.KEYS
        assert "is a certificate " in found[1]


async def test_the_chain_of_a_certificate_must_lead_to_a_root(source, steady, signer):
    for content in (Signer("sns.amazonaws.com").pem, signer.authority.pem, b"hello", b""):
        source.put(SNS_PATH, content)
        profiles, fetched, _ = sns_profiles(source, signer.roots)
        outcome(profiles["it"], signer.sent())
        await fetched.refresh()
        assert outcome(profiles["it"], signer.sent())[0] is FailureReason.KEYS
    source.put(SNS_PATH, signer.pem)
    profiles, fetched, _ = sns_profiles(source, public_roots)
    outcome(profiles["it"], signer.sent())
    await fetched.refresh()
    assert "add its certificate to intermediates" in outcome(profiles["it"], signer.sent())[1]


async def test_an_intermediate_certificate_can_come_with_it_or_be_in_the_settings(source, steady):
    root = Authority()
    signer = Signer("sns.amazonaws.com", authority=Authority("between", root))
    between = signer.authority.pem

    def roots():
        return Store([root.certificate])

    for content, settings, passes in [
        (signer.pem, {}, False),
        (signer.pem + between, {}, True),
        (signer.pem, {"intermediates": between.decode()}, True),
    ]:
        source.put(SNS_PATH, content)
        profiles, fetched, _ = sns_profiles(source, roots, **settings)
        outcome(profiles["it"], signer.sent())
        await fetched.refresh()
        assert (outcome(profiles["it"], signer.sent()) is None) == passes


async def test_a_certificate_that_expires_while_it_is_kept_is_not_used(source, steady, signer):
    clock = Clock()
    source.put(SNS_PATH, signer.pem)
    profiles, fetched, _ = sns_profiles(source, signer.roots, clock)
    outcome(profiles["it"], signer.sent())
    await fetched.refresh()
    end = x509.load_pem_x509_certificate(signer.pem).not_valid_after_utc
    late = signer.sent(Timestamp=end.strftime("%Y-%m-%dT%H:%M:%SZ"))
    clock.now = end.timestamp()
    assert outcome(profiles["it"], late) is None
    clock.now += 1
    assert outcome(profiles["it"], late) == (FailureReason.TIME, "the sender's certificate has expired")
    steady.now += 3600
    await fetched.refresh()
    assert fetched._sources[f"https://{SNS}{SNS_PATH}"].problem.endswith("is a certificate that is not valid now")


# ---- Messages of the providers ----


def real_sns_messages():
    yield request(body=PROVIDERS["aws-sns"].sample.body.encode())
    for file in sorted((ROOT / "tests" / "data" / "aws-sns").glob("*.json")):
        yield request(body=file.read_bytes())


@pytest.mark.parametrize("sent", list(real_sns_messages()), ids=lambda sent: json.loads(sent.body)["MessageId"][:8])
async def test_a_message_of_sns_passes_with_its_certificate_whose_chain_leads_to_a_public_root(source, steady, sent):
    sample, clock = PROVIDERS["aws-sns"].sample, Clock()
    source.put("/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem", sample.secret)
    clock.now = float(sample.time)
    profiles, fetched, _ = sns_profiles(source, public_roots, clock)
    assert outcome(profiles["it"], sent)[0] is FailureReason.KEYS
    await fetched.refresh()
    assert profiles["it"].verify(sent, URL).message_id == json.loads(sent.body)["MessageId"]
    assert outcome(profiles["it"], altered(sent, Message="other"))[0] is FailureReason.SIGNATURE


@pytest.mark.filterwarnings("ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("name", [name for name, each in PROVIDERS.items() if "intermediates" in each.profile])
def test_the_certificates_of_authorities_in_a_file_lead_to_public_roots(name):
    roots = {each.subject: each for each in x509.load_pem_x509_certificates(certifi.contents().encode())}
    for each in x509.load_pem_x509_certificates(PROVIDERS[name].profile["intermediates"].encode()):
        each.verify_directly_issued_by(roots[each.issuer])


def paypal_sent(signer, cert_url, receiver="WH1", body=b'{"id": "WH-1"}', **headers):
    time = datetime.datetime.fromtimestamp(NOW, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    signed = f"t-1|{time}|{receiver}|{zlib.crc32(body)}".encode()
    return request(
        ("paypal-transmission-id", "t-1"), ("paypal-transmission-time", time),
        ("paypal-transmission-sig", signature(signer.key, signed, hashes.SHA256())),
        ("paypal-auth-algo", "SHA256withRSA"), ("paypal-cert-url", cert_url), body=body,
    )  # fmt: skip


async def test_a_message_of_paypal_passes_with_a_certificate_of_its_host_and_not_of_the_sandbox(source, steady):
    path = "/v1/notifications/certs/CERT-1"
    live, sandbox = (Signer(f"messageverificationcerts.{each}paypal.com") for each in ("", "sandbox."))
    url = f"https://api.paypal.com{path}"
    for signer, passes in ((live, True), (sandbox, False)):
        source.put(path, signer.pem)
        fetcher, _ = fetcher_to(source)
        declared = DECLARED.validate_python({"kind": "provider:paypal", "receiver_id": "WH1"})
        profiles = Profiles({"it": declared}, Clock(), fetcher=fetcher, roots=signer.roots)
        sent = paypal_sent(signer, url)
        assert outcome(profiles["it"], sent)[0] is FailureReason.KEYS
        await profiles.fetched["it"].refresh()
        assert (outcome(profiles["it"], sent) is None) == passes
        if passes:
            for other in (
                paypal_sent(signer, url, receiver="WH2"),
                changed(sent, body=b'{"id": "WH-2"}'),
                with_header(sent, "paypal-transmission-id", "t-2"),
                with_header(sent, "paypal-auth-algo", "SHA1withRSA"),
                with_header(sent, "paypal-cert-url", f"https://api.sandbox.paypal.com{path}"),
            ):
                assert outcome(profiles["it"], other)[0] in (FailureReason.SIGNATURE, FailureReason.MALFORMED)

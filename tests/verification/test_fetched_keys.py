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
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509.verification import Store
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.key_source import HOST, HOSTS, SNS, Authority, KeySource, fetcher_to, resolver
from support.keys import OTHER_RSA, RSA, key_set
from support.tree import ROOT
from support.verification import DECLARED, NOW, URL, Clock, changed, request, with_header
from support.wait import wait_until

from callback_server.verification import fetched_keys
from callback_server.verification.fetched_keys import KEEP_S, MAX_UNKNOWN, UNUSED_S
from callback_server.verification.profile import FailureReason, VerificationError
from callback_server.verification.profiles import Profiles
from callback_server.verification.providers import PROVIDERS
from callback_server.verification.sender_certificate import public_roots
from callback_server.verification.settings.fetched_urls import is_allowed_url

KEYS = f"https://{HOST}/jwks"
SNS_PATH = "/SimpleNotificationService-" + "0" * 32 + ".pem"


class Fetching:
    """A profile whose keys are fetched from a source, with clocks that only the test moves.

    Args:
        source: The source.
        resolve: Resolves the names of hosts.
        roots: Returns the roots of the certificates of senders.
        settings: Settings of the profile.
    """

    def __init__(self, source, *, resolve=None, roots=public_roots, **settings):
        fetcher, self.network = fetcher_to(source, resolve)
        self.clock, self.monotonic = Clock(), Clock(1000)
        declared = {"it": DECLARED.validate_python(settings)}
        self.profiles = Profiles(declared, self.clock, fetcher=fetcher, roots=roots, monotonic=self.monotonic)
        self.keys = self.profiles.fetched["it"]

    def outcome(self, sent, url=URL, owner="shop"):
        """Return the reason and the text of a refusal; None if the request passes.

        The keys that it lacks are wanted then for the callback of this URL and owner.
        """
        try:
            self.profiles["it"].verify(sent, url)
        except VerificationError as error:
            self.profiles["it"].want_keys(error, owner=owner, url=url)
            return error.reason, str(error)
        return None

    def reason(self, sent):
        """Return the reason of a refusal; None if the request passes."""
        found = self.outcome(sent)
        return found and found[0]

    async def refresh(self, later_s=0):
        """Fetch what is due after this time, and return the time until the next fetch."""
        self.monotonic.now += later_s
        return await self.keys.refresh()

    async def after_fetch(self, sent):
        """Return the outcome of a request whose first delivery had its certificate fetched."""
        assert self.reason(sent) is FailureReason.KEYS
        await self.refresh()
        return self.outcome(sent)


# ---- A key set ----


def token(key=RSA, key_id="one"):
    claims = {"iss": "i", "aud": "a", "exp": NOW + 300}
    return request(("Authorization", f"Bearer {jwt.encode(claims, key, 'RS256', {'kid': key_id})}"))


def for_tokens(source, resolve=None):
    return Fetching(
        source, resolve=resolve, kind="jwt", issuer="i", audience="a", algorithms=["RS256"], jwks_url=KEYS
    )  # fmt: skip


@pytest.fixture
def tokens(source):
    """Return a profile for tokens, and put its keys at their URL."""
    source.put("/jwks", key_set(one=RSA))
    return for_tokens(source)


async def test_a_token_passes_once_the_keys_are_fetched_and_cannot_be_verified_before(source, tokens):
    assert tokens.outcome(token()) == (FailureReason.KEYS, "the keys are not known: it was not fetched yet")
    assert source.connections == 0
    await tokens.refresh()
    assert tokens.outcome(token()) is None
    assert tokens.outcome(token(OTHER_RSA)) == (FailureReason.SIGNATURE, "no key matches the token's signature")


async def test_no_request_causes_a_fetch_of_a_url_of_the_settings(source, tokens):
    await tokens.refresh()
    for key_id in range(20):
        assert tokens.reason(token(OTHER_RSA, str(key_id))) is FailureReason.SIGNATURE
        await tokens.refresh()
    assert source.connections == 1


async def test_keys_are_fetched_again_before_they_expire_and_new_ones_replace_them(source, tokens):
    source.put("/jwks", key_set(one=RSA), "cache-control: max-age=1000")
    assert await tokens.refresh() == pytest.approx(900)
    source.put("/jwks", key_set(two=OTHER_RSA), "cache-control: max-age=1")
    assert await tokens.refresh(899) == pytest.approx(1)
    assert tokens.outcome(token()) is None
    assert await tokens.refresh(1) == pytest.approx(270)  # at least 300 s, whatever the source says
    assert tokens.reason(token()) is FailureReason.SIGNATURE
    assert tokens.outcome(token(OTHER_RSA, "two")) is None
    source.put("/jwks", key_set(two=OTHER_RSA), "cache-control: max-age=99999999")
    assert await tokens.refresh(300) == pytest.approx(3240)  # and at most an hour
    source.put("/jwks", key_set(two=OTHER_RSA))
    assert await tokens.refresh(3600) == pytest.approx(540)


NO_KEYS = f"{KEYS}: is not a public key in PEM form, a certificate, or a JSON Web Key Set"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "the answer is a 404"),
        ("<html>Sign in</html>", NO_KEYS),
        ('{"keys": []}', f"{KEYS}: has no key for the algorithms RS256"),
        ('{"keys": 5}', NO_KEYS),
        ("[" * 100_000, NO_KEYS),
    ],
)
async def test_the_last_keys_stay_valid_for_a_day_while_their_source_fails(source, tokens, content, problem):
    await tokens.refresh()
    end = tokens.monotonic.now + KEEP_S
    source.answers.clear()
    if content is not None:
        source.put("/jwks", content)
    with capture_logs() as logs:
        waits = [await tokens.refresh(540)]
        for _ in range(8):
            waits.append(await tokens.refresh(waits[-1]))
    assert waits == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300, 300])
    told = [entry for entry in logs if entry["event"] == "keys_not_fetched"]
    assert [(entry["profile"], entry["url"], entry["problem"]) for entry in told] == [("it", KEYS, problem)]
    tokens.monotonic.now = end - 1
    assert tokens.outcome(token()) is None
    tokens.monotonic.now = end
    assert tokens.outcome(token()) == (FailureReason.KEYS, f"the keys are not known: {problem}")
    source.put("/jwks", key_set(one=RSA))
    await tokens.refresh()
    assert tokens.outcome(token()) is None


async def test_fetches_are_counted_and_the_time_of_the_last_is_a_metric(source):
    def metrics():
        names = [("callback_key_fetches_total", {"profile": "it", "outcome": each}) for each in ("ok", "failed")]
        return [REGISTRY.get_sample_value(*each) or 0 for each in names]

    before, tokens = metrics(), for_tokens(source)
    await tokens.refresh()
    source.put("/jwks", key_set(one=RSA))
    await tokens.refresh(5)
    assert [now - then for now, then in zip(metrics(), before, strict=True)] == [1, 1]
    assert REGISTRY.get_sample_value("callback_keys_fetched_time_seconds", {"profile": "it"}) > NOW


async def test_a_private_address_is_a_problem_that_is_told(source):
    tokens, told = for_tokens(source, resolver(["10.0.0.7"])), f"{HOST} has the address 10.0.0.7, which is not public"
    await tokens.refresh()
    assert tokens.outcome(token())[1].endswith(told)
    assert tokens.keys.problems() == [f"{KEYS}: {told}"]
    assert tokens.network.connected == []


async def test_running_profiles_fetch_their_keys(source, tokens):
    running = asyncio.create_task(tokens.profiles.run())
    try:
        await wait_until(lambda: tokens.outcome(token()) is None)
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert source.connections == 1


async def test_a_public_key_profile_has_its_keys_from_a_url(source):
    it = Fetching(
        source, kind="public-key", signature="header:x-sign", encoding="base64", algorithm="rsa-sha256", jwks_url=KEYS
    )
    sent = request(("x-sign", signature(RSA, b"body", hashes.SHA256())), body=b"body")
    source.put("/jwks", key_set(one=OTHER_RSA, two=RSA))
    assert await it.after_fetch(sent) is None
    assert it.reason(changed(sent, body=b"bodz")) is FailureReason.SIGNATURE


# ---- A certificate that a message names ----


def signature(key, signed, algorithm):
    return base64.b64encode(key.sign(signed, padding.PKCS1v15(), algorithm)).decode()


class Signer:
    """A sender of SNS messages with an authority of its own."""

    def __init__(self, *names, authority=None, key=RSA):
        self.authority = authority or Authority()
        self.key = key
        self.pem = self.authority.issue(*names, key=key)

    def roots(self):
        return Store([self.authority.certificate])

    def sent(self, url=f"https://{SNS}{SNS_PATH}", version="2", **members):
        message = {
            "Type": "Notification", "MessageId": "m-1", "TopicArn": "arn:aws:sns:eu-west-1:1:topic", "Message": "a\nb",
            "Timestamp": time_text(NOW), "SignatureVersion": version, "SigningCertURL": url,
        } | members  # fmt: skip
        names = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
        signed = "".join(f"{name}\n{message[name]}\n" for name in names if name in message).encode()
        message["Signature"] = signature(self.key, signed, hashes.SHA1() if version == "1" else hashes.SHA256())
        return request(("content-type", "text/plain"), body=json.dumps(message).encode())


def time_text(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def altered(sent, **members):
    """Return a message with other members, which keeps its signature; None removes one."""
    message = json.loads(sent.body) | members
    return changed(sent, body=json.dumps({name: each for name, each in message.items() if each is not None}).encode())


def for_sns(source, roots, **settings):
    return Fetching(source, kind="provider:aws-sns", roots=roots, **settings)


@pytest.fixture(scope="module")
def signer():
    return Signer("sns.amazonaws.com")


@pytest.fixture
def sns(source, signer):
    """Return a profile for the messages of the signer, and put its certificate at its URL."""
    source.put(SNS_PATH, signer.pem)
    return for_sns(source, signer.roots)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    "members",
    [{}, {"Subject": "s"}, {"Type": "SubscriptionConfirmation", "SubscribeURL": "u", "Token": "t"}],
    ids=["plain", "subject", "confirmation"],
)
async def test_a_message_passes_once_its_certificate_was_fetched(source, sns, signer, version, members):
    sent = signer.sent(version=version, **members)
    assert await sns.refresh() is None
    for _ in range(3):
        assert sns.reason(sent) is FailureReason.KEYS
    await sns.refresh()
    assert sns.profiles["it"].verify(sent, URL).message_id == "m-1"
    assert sns.outcome(signer.sent(MessageId="m-2")) is None
    await sns.refresh()
    assert (source.asked, len(sns.network.connected)) == ([SNS_PATH], 1)


async def test_forgeries_are_refused(sns, signer):
    sent = signer.sent(Subject="s")
    assert await sns.after_fetch(sent) is None
    changes = [
        {"Message": "a\nc"}, {"MessageId": "m-2"}, {"Subject": None}, {"Subject": "t"}, {"Token": "t"},
        {"SubscribeURL": "u"}, {"TopicArn": "arn:other"}, {"Type": "SubscriptionConfirmation"},
        {"SignatureVersion": "1"}, {"Signature": "AAAA"},
        {"Message": "a", "MessageId": "b\nMessageId\nm-1"},
        {"Message": "a\nb\nMessageId\nm-1\nSubject\ns", "Subject": None},
    ]  # fmt: skip
    for members in changes:
        assert sns.outcome(altered(sent, **members)), members
    for members in ({"SignatureVersion": "3"}, {"Timestamp": None}, {"TopicArn": 5.5}, {"Type": {}}):
        assert sns.reason(altered(sent, **members)) in (FailureReason.MALFORMED, FailureReason.MISSING)
    twice = changed(sent, body=sent.body[:-1] + b', "Message": "a\\nb"}')
    assert sns.reason(twice) is FailureReason.MALFORMED
    other = Signer("sns.amazonaws.com", authority=signer.authority, key=OTHER_RSA)
    assert sns.outcome(other.sent(Subject="s")) == (FailureReason.SIGNATURE, "no signature is valid")
    assert sns.reason(signer.sent(Timestamp="2023-11-14T21:13:19Z")) is FailureReason.TIME


async def test_a_signed_text_cannot_be_read_as_other_members(sns, signer):
    sent = signer.sent(Message="a\nMessageId\nb", Subject="s")
    assert await sns.after_fetch(sent) is None
    assert sns.outcome(altered(sent, Message="a", MessageId="b\nMessageId\nm-1")) == (
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
        f"http://{SNS}{SNS_PATH}", f"https://{SNS}:443{SNS_PATH}", f"https://{SNS}:8443{SNS_PATH}",
        f"https://{SNS}@evil.example{SNS_PATH}",
        f"https://user@{SNS}{SNS_PATH}", f"https://{SNS}.evil.example{SNS_PATH}",
        f"https://evil.example/{SNS}{SNS_PATH}", f"https://evil.example#{SNS}{SNS_PATH}",
        f"https://evil.example?{SNS}{SNS_PATH}", f"https://evil.example\\{SNS}{SNS_PATH}",
        f"https://sns.s3.amazonaws.com{SNS_PATH}", f"https://sns.s3-us-west-2.amazonaws.com{SNS_PATH}",
        f"https://sns.eu-west-1.amazonaws.com.evil.example{SNS_PATH}",
        f"https://snsXeu-west-1.amazonaws.com{SNS_PATH}", f"https://sns.eu-west-1xamazonaws.com{SNS_PATH}",
        f"https://x{SNS}{SNS_PATH}", f"https://{SNS}{SNS_PATH}?x", f"https://{SNS}{SNS_PATH}#x",
        f"https://sns.eu-west-1.amazonaws.com/x/..{SNS_PATH}", f"https://sns.eu-west-1.amazonaws.com/x{SNS_PATH}",
        f"https://{SNS}{SNS_PATH}\n", f"https://SNS.EU-WEST-1.AMAZONAWS.COM{SNS_PATH}",
        f"https://sns.eu-west-1.amazonaws.com\u3002{SNS_PATH}", "https://127.0.0.1" + SNS_PATH,
        "https://api.paypal.com/v1/notifications/certs/CERT-1", "file:///etc/passwd", "",
    ],
)  # fmt: skip
async def test_nothing_is_fetched_from_another_host_or_path(source, sns, signer, url):
    assert sns.outcome(signer.sent(url)) == (
        FailureReason.SIGNATURE, "json:/SigningCertURL is not one of certificate_urls",
    )  # fmt: skip
    await sns.refresh()
    assert (sns.network.connected, source.connections) == ([], 0)


def made_up(signer, number):
    """Return a message that names a URL without a certificate."""
    return signer.sent(f"https://{SNS}/SimpleNotificationService-{number + 1:032x}.pem")


async def test_callers_cause_at_most_twelve_fetches_a_minute_however_many_urls_they_make_up(source, sns, signer):
    sent = [made_up(signer, number) for number in range(MAX_UNKNOWN + 4)]
    for _second in range(60):
        for each in sent:
            sns.outcome(each)
        await sns.refresh()
        sns.monotonic.now += 1
    assert 1 < source.connections <= 12
    assert len(sns.keys.problems()) <= MAX_UNKNOWN


async def test_a_url_that_failed_is_left_alone_for_a_minute_and_then_longer(source, sns, signer):
    sent, fetched_at = made_up(signer, 0), []
    for second in range(1000):
        sns.outcome(sent)
        before = source.connections
        await sns.refresh()
        fetched_at += [second] * (source.connections - before)
        sns.monotonic.now += 1
    assert fetched_at == [0, 60, 180, 420, 900]
    assert await sns.refresh(7200) is None  # and without another message for ever
    assert source.connections == len(fetched_at)


async def test_made_up_urls_at_one_callback_delay_the_certificates_of_others_by_one_place(sns, signer):
    for second in range(11):
        for number in range(5):
            sns.outcome(made_up(signer, 100 * second + number), "https://box.example/cb/1?a=1")
        if second % 5 == 0:
            seen = sns.outcome(signer.sent(), "https://box.example/cb/2")
        await sns.refresh()
        sns.monotonic.now += 1
    assert seen is None


async def test_of_one_callback_only_so_many_urls_wait_and_the_first_ones_stay(source, sns, signer):
    for number in range(MAX_UNKNOWN):
        sns.outcome(made_up(signer, number))
    sns.outcome(signer.sent())
    assert len(sns.keys.problems()) == MAX_UNKNOWN
    assert not any(SNS_PATH in each for each in sns.keys.problems())
    await sns.refresh()  # the first one fails, and makes room
    sns.outcome(signer.sent())
    assert any(SNS_PATH in each for each in sns.keys.problems())


def numbered(number):
    """Return the path of a certificate."""
    return f"/SimpleNotificationService-{number + 1:032x}.pem"


async def test_a_certificate_that_a_message_was_signed_with_outlasts_any_number_of_others(source, sns, signer, limits):
    """They are valid, too: anyone can name the certificates of all regions."""
    limits(fetched_keys, MAX_UNPROVEN=4)
    assert await sns.after_fetch(signer.sent()) is None
    for number in range(25):
        source.put(numbered(number), signer.pem)
        sns.outcome(altered(made_up(signer, number), Message="forged"), f"https://box.example/cb/{number % 3}")
        await sns.refresh(5)
    assert len({*source.asked}) == 26
    assert sns.outcome(signer.sent(MessageId="m-2")) is None


class MovableLoop(asyncio.SelectorEventLoop):
    """Event loop whose time a test can move: what sleeps until then wakes."""

    moved_s = 0

    def time(self):
        return super().time() + self.moved_s


def test_a_certificate_that_a_message_was_signed_with_stays_valid_while_the_server_runs(signer):
    labels = {"profile": "it", "outcome": "ok"}

    def fetches():
        return REGISTRY.get_sample_value("callback_key_fetches_total", labels) or 0

    async def days():
        async with KeySource(*HOSTS) as source:
            source.put(SNS_PATH, signer.pem, "cache-control: max-age=3600")
            sns, before = for_sns(source, signer.roots), fetches()
            running = asyncio.create_task(sns.profiles.run())
            try:
                assert sns.reason(signer.sent()) is FailureReason.KEYS
                await wait_until(lambda: fetches() == before + 1)
                assert sns.outcome(signer.sent()) is None
                for hour in range(1, 27):
                    await asyncio.sleep(0)  # the task plans the next fetch
                    sns.monotonic.now += 3600
                    asyncio.get_running_loop().moved_s += 3600
                    await wait_until(lambda hour=hour: fetches() == before + 1 + hour, what=f"the fetch of hour {hour}")
                    assert sns.outcome(signer.sent(MessageId=f"m-{hour}")) is None
            finally:
                running.cancel()
                await asyncio.wait([running])

    with asyncio.Runner(loop_factory=MovableLoop) as runner:
        runner.run(days())


async def test_of_proven_certificates_the_one_unused_longest_makes_room(source, sns, signer, limits):
    limits(fetched_keys, MAX_PROVEN=2)
    for number in (0, 1, 0, 2):
        source.put(numbered(number), signer.pem)
        sns.monotonic.now += 1
        if sns.outcome(made_up(signer, number)) is not None:
            await sns.refresh(5)
            assert sns.outcome(made_up(signer, number)) is None
    assert [sns.outcome(made_up(signer, number)) is None for number in (0, 2, 1)] == [True, True, False]


async def test_urls_that_callers_of_many_callbacks_make_up_delay_each_other_callback_once(sns, signer):
    """The callers know 40 callbacks of the same owner, and name other URLs at each of them all the time."""

    def attack(number):
        for each in range(40):
            sns.outcome(made_up(signer, 100 * number + each), f"https://box.example/cb/{each}")

    for number in range(41):  # at each of their callbacks, a URL has failed
        attack(number)
        await sns.refresh(5)
    assert sns.reason(signer.sent()) is FailureReason.KEYS
    attack(41)
    await sns.refresh(5)
    assert sns.outcome(signer.sent()) is None


async def test_owners_take_turns_however_many_callbacks_one_of_them_has(sns, signer):
    for each in range(200):
        sns.outcome(made_up(signer, each), f"https://box.example/cb/{each}", "greedy")
    await sns.refresh()
    sns.outcome(signer.sent(), owner="shop")
    await sns.refresh(5)
    assert sns.outcome(signer.sent()) is None


async def test_the_owner_with_most_urls_makes_room_for_those_of_others(sns, signer, limits):
    limits(fetched_keys, MAX_UNPROVEN=30)
    for each in range(200):
        sns.outcome(made_up(signer, each), f"https://box.example/cb/{each}", "greedy")
    await sns.refresh()
    assert sns.reason(signer.sent()) is FailureReason.KEYS
    await sns.refresh(5)
    assert sns.outcome(signer.sent()) is None


async def test_a_refresher_sleeps_until_the_rate_limit_allows_the_next_fetch(source, sns, signer):
    source.put(SNS_PATH, signer.pem, "cache-control: max-age=1000")
    assert await sns.after_fetch(signer.sent()) is None
    sns.outcome(made_up(signer, 0))
    await sns.refresh(899)
    assert await sns.refresh(1) == pytest.approx(4)


def test_a_url_of_a_certificate_is_not_longer_than_a_host_and_a_path_can_be():
    pattern = r"https://sns\.[a-z0-9-]+\.amazonaws\.com/[a-z]+\.pem"
    assert is_allowed_url("https://sns.eu-west-1.amazonaws.com/a.pem", [pattern])
    assert not is_allowed_url(f"https://sns.{'a' * 64}.amazonaws.com/a.pem", [pattern])
    assert not is_allowed_url(f"https://sns.eu-west-1.amazonaws.com/{'a' * 400}.pem", [pattern])


async def test_a_name_in_another_case_than_a_signed_one_is_refused(sns, signer):
    sent = signer.sent()
    assert await sns.after_fetch(sent) is None
    for name in ("topicArn", "MESSAGE", "subject", "\u017fubject"):
        body = sent.body[:-1] + json.dumps({name: "x"}).encode().replace(b"{", b", ", 1)
        assert sns.outcome(changed(sent, body=body)) is not None, name
    body = sent.body[:-1] + b', "MessageAttributes": {"subject": "x"}}'
    assert sns.outcome(changed(sent, body=body)) is None


async def test_a_certificate_is_fetched_again_and_forgotten_after_a_week_without_messages(source, sns, signer):
    source.put(SNS_PATH, signer.pem, "cache-control: max-age=1000")
    assert await sns.after_fetch(signer.sent()) is None
    assert await sns.refresh() == pytest.approx(900)
    await sns.refresh(900)
    assert len(source.asked) == 2
    assert await sns.refresh(UNUSED_S + 1) is None
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
async def test_a_certificate_must_have_a_name_of_the_provider(source, names, passes):
    signer = Signer(*names)
    source.put(SNS_PATH, signer.pem)
    found = await for_sns(source, signer.roots).after_fetch(signer.sent())
    if passes:
        assert found is None
    else:
        assert found[0] is FailureReason.KEYS
        assert "is a certificate " in found[1]


async def test_the_chain_of_a_certificate_must_lead_to_a_root(source, sns, signer):
    other = Signer("sns.amazonaws.com")
    for content in (other.pem, signer.authority.pem, b"hello", b""):
        source.put(SNS_PATH, content)
        found = await for_sns(source, signer.roots).after_fetch(signer.sent())
        assert found[0] is FailureReason.KEYS
    source.put(SNS_PATH, signer.pem)
    _, told = await for_sns(source, public_roots).after_fetch(signer.sent())
    assert "add its certificate to intermediates" in told


async def test_an_intermediate_certificate_can_come_with_it_or_be_in_the_settings(source):
    root = Authority()
    signer = Signer("sns.amazonaws.com", authority=Authority("between", root))
    between = signer.authority.pem
    for content, settings, passes in [
        (signer.pem, {}, False),
        (signer.pem + between, {}, True),
        (signer.pem, {"intermediates": between.decode()}, True),
    ]:
        source.put(SNS_PATH, content)
        sns = for_sns(source, lambda: Store([root.certificate]), **settings)
        assert (await sns.after_fetch(signer.sent()) is None) == passes


async def test_a_certificate_that_expires_while_it_is_kept_is_not_used(sns, signer):
    await sns.after_fetch(signer.sent())
    end = x509.load_pem_x509_certificate(signer.pem).not_valid_after_utc.timestamp()
    late = signer.sent(Timestamp=time_text(end))
    sns.clock.now = end
    assert sns.outcome(late) is None
    sns.clock.now += 1
    assert sns.outcome(late) == (FailureReason.TIME, "the sender's certificate has expired")
    with capture_logs() as logs:
        await sns.refresh(3600)
    assert [entry["problem"].partition(": ")[2] for entry in logs] == ["is a certificate that is not valid now"]


# ---- Messages of the providers ----


def real_sns_messages():
    yield request(body=PROVIDERS["aws-sns"].sample.body.encode())
    for file in sorted((ROOT / "tests" / "data" / "aws-sns").glob("*.json")):
        yield request(body=file.read_bytes())


@pytest.mark.parametrize("sent", list(real_sns_messages()), ids=lambda sent: json.loads(sent.body)["MessageId"][:8])
async def test_a_message_of_sns_passes_with_its_certificate_whose_chain_leads_to_a_public_root(source, sent):
    sample = PROVIDERS["aws-sns"].sample
    source.put("/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem", sample.secret)
    sns = for_sns(source, public_roots)
    sns.clock.now = float(sample.time)
    assert await sns.after_fetch(sent) is None
    assert sns.profiles["it"].verify(sent, URL).message_id == json.loads(sent.body)["MessageId"]
    assert sns.reason(altered(sent, Message="other")) is FailureReason.SIGNATURE


@pytest.mark.filterwarnings("ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("name", [name for name, each in PROVIDERS.items() if "intermediates" in each.profile])
def test_the_certificates_of_authorities_in_a_file_lead_to_public_roots(name):
    roots = {each.subject: each for each in x509.load_pem_x509_certificates(certifi.contents().encode())}
    for each in x509.load_pem_x509_certificates(PROVIDERS[name].profile["intermediates"].encode()):
        each.verify_directly_issued_by(roots[each.issuer])


PAYPAL_PATH = "/v1/notifications/certs/CERT-1"


def paypal_sent(receiver="WH1", body=b'{"id": "WH-1"}'):
    signed = f"t-1|{time_text(NOW)}|{receiver}|{zlib.crc32(body)}".encode()
    return request(
        ("paypal-transmission-id", "t-1"), ("paypal-transmission-time", time_text(NOW)),
        ("paypal-transmission-sig", signature(RSA, signed, hashes.SHA256())),
        ("paypal-auth-algo", "SHA256withRSA"), ("paypal-cert-url", f"https://api.paypal.com{PAYPAL_PATH}"), body=body,
    )  # fmt: skip


@pytest.mark.parametrize(("host", "passes"), [("paypal.com", True), ("sandbox.paypal.com", False)])
async def test_a_message_of_paypal_passes_with_a_certificate_of_its_host_and_not_of_the_sandbox(source, host, passes):
    signer, sent = Signer(f"messageverificationcerts.{host}"), paypal_sent()
    source.put(PAYPAL_PATH, signer.pem)
    paypal = Fetching(source, kind="provider:paypal", receiver_id="WH1", roots=signer.roots)
    assert (await paypal.after_fetch(sent) is None) == passes
    for other in (
        paypal_sent(receiver="WH2"),
        changed(sent, body=b'{"id": "WH-2"}'),
        with_header(sent, "paypal-transmission-id", "t-2"),
        with_header(sent, "paypal-auth-algo", "SHA1withRSA"),
        with_header(sent, "paypal-cert-url", f"https://api.sandbox.paypal.com{PAYPAL_PATH}"),
    ):
        refusals = (FailureReason.SIGNATURE, FailureReason.MALFORMED) if passes else (*FailureReason,)
        assert paypal.reason(other) in refusals

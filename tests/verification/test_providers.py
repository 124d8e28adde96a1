"""Providers: each file has a message that passes, and that is refused with any part altered."""

import json
from urllib.parse import parse_qsl, urlencode

import pytest
from soak.counts import count
from support.keys import ED25519, P256, P521, RSA, pem
from support.tree import ROOT
from support.verification import (
    KEY_KINDS,
    NOW,
    Clock,
    changed,
    flips,
    profile_of,
    profiles_of,
    refused,
    sample_request,
    sample_settings,
    with_header,
)

from callback_server.verification.places import parse_place
from callback_server.verification.providers import PROVIDERS
from callback_server.verification.settings.profiles import ProviderSettings
from callback_server.verification.template import COVERS_BODY, Template

CASE = "https://box.example/cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"
ALL = sorted(PROVIDERS)


def those(condition):
    """Return the names of the providers whose settings meet a condition."""
    return [name for name in ALL if condition(PROVIDERS[name])]


def signs_body(provider):
    if provider.profile.get("jws") == "compact":
        return False  # it signs its own payload
    signed = provider.profile.get("signed", "{body}" if "signature" in provider.profile else "")
    has_hash = "body_hash_claim" in provider.profile or "{body-crc32}" in signed
    is_standard = provider.profile["kind"] == "standard-webhooks"
    return has_hash or is_standard or bool(set(Template(signed).parts) & COVERS_BODY)


WITH_SIGNED_BODY = those(signs_body)
WITH_ID = set(those(lambda provider: provider.profile["kind"] == "standard-webhooks" or provider.profile.get("id")))
WITH_TIME = those(lambda provider: provider.sample.time)
WITH_SIGNED_MEMBERS = those(lambda provider: "json:/" in str(provider.profile.get("signature")))
WITH_SIGNATURE_IN_FORM = those(lambda provider: "form:" in str(provider.profile.get("signature")))
WITH_PARAMETER = those(lambda provider: "parameter" in provider.profile)


def of(names):
    return pytest.mark.parametrize("case", names, indirect=True)


class Case:
    """A provider with its sample."""

    def __init__(self, name, folder):
        self.name = name
        self.folder = folder
        self.provider = PROVIDERS[name]
        sample = self.provider.sample
        self.clock = Clock(sample.time or NOW)
        self.secret = sample.secret
        self.given = sample_settings(name, folder)
        self.url = sample.url or CASE
        self.sent = sample_request(name)
        field = "key_files" if self.provider.profile["kind"] in KEY_KINDS else "secret_files"
        self.declared = ProviderSettings(**self.given, **{field: ["s"]}).declared
        self.parts = set(Template(self.declared.signed).parts) if hasattr(self.declared, "signed") else set()

    def profile(self, *secrets):
        return profile_of(self.folder, *(secrets or (self.secret,)), clock=self.clock, **self.given)

    @property
    def signature_headers(self):
        if self.declared.kind == "standard-webhooks":
            return ["webhook-id", "webhook-timestamp", "webhook-signature"]
        if self.declared.kind in ("shared-secret", "jwt"):
            return [self.declared.header] if self.declared.header else []
        places = [parse_place(each) for each in getattr(self.declared, "signature", ())]
        names = {each.name.lower() for each in places if each.kind == "header"}
        if "timestamp" in self.parts and self.declared.timestamp[0].startswith("header:"):
            names.add(self.declared.timestamp[0].removeprefix("header:").lower())
        if "id" in self.parts:
            names |= {each.removeprefix("header:").lower() for each in self.declared.id if each.startswith("header:")}
        return sorted(names)


@pytest.fixture
def case(request, tmp_path):
    return Case(request.param, tmp_path)


@of(ALL)
def test_the_sample_passes_and_its_repetition_has_the_same_id(case):
    profile = case.profile()
    first, again = (profile.verify(case.sent, case.url) for _ in range(2))
    assert first == again
    assert bool(first.message_id) == (case.name in WITH_ID)


def test_the_hash_of_a_body_is_an_id_only_where_bodies_are_never_the_same():
    """Check that another one is added with a look at its documentation: the second of two events would be lost."""
    assert those(lambda provider: "body-hash" in provider.profile.get("id", ())) == ["sendgrid"]


@of(WITH_SIGNED_BODY)
def test_every_byte_of_a_signed_body_is_checked(case):
    profile = case.profile()
    assert case.sent.body
    altered = list(flips(case.sent.body))
    for body in [*altered[:: 1 + len(altered) // count(500, 2000)], case.sent.body[:-1], case.sent.body + b" ", b""]:
        if not case.parts & {"form", "form-pairs"} or not is_same_form(case.sent.body, body):
            refused(profile, changed(case.sent, body=body), case.url)


def is_same_form(one, other):
    """Return whether two forms have the same names and values when they are joined, as Twilio joins them."""

    def joined(body):
        try:
            return "".join(map("".join, sorted(parse_qsl(body.decode(), keep_blank_values=True, errors="strict"))))
        except ValueError:
            return None

    return joined(one) == joined(other)


@of(ALL)
def test_every_bit_of_signature_time_and_signed_id_is_checked(case):
    profile = case.profile()
    for name, value in case.sent.headers:
        if name.lower() in case.signature_headers:
            for altered in flips(value.encode()):
                sent = with_header(case.sent, name, altered.decode("latin-1"))
                if altered != value.encode():
                    refused(profile, sent, case.url)
            kept = tuple(each for each in case.sent.headers if each[0] != name)
            refused(profile, changed(case.sent, headers=kept), case.url)


@of(WITH_SIGNED_MEMBERS)
def test_every_signed_member_of_a_body_that_is_not_signed_as_a_whole_is_checked(case):
    profile = case.profile()
    declared = case.declared
    texts = [*declared.signature]
    if not declared.signs_own_payload:
        texts += [*declared.id, *declared.timestamp, *case.parts]
    pointers = {each.removeprefix("json:") for each in texts if each.startswith("json:")}
    pointers |= {place.name for place in Template(declared.signed).places() if place.kind == "json"}
    assert pointers
    for pointer in pointers:
        body = json.loads(case.sent.body)
        *above, last = pointer.split("/")[1:]
        member = body
        for token in above:
            member = member[int(token) if isinstance(member, list) else token]
        member[last] = f"{member.get(last, '')}0"
        refused(profile, changed(case.sent, body=json.dumps(body).encode()), case.url)


@of(WITH_SIGNATURE_IN_FORM)
def test_every_field_of_a_form_that_has_the_signature_is_checked(case):
    """Check each field that the sample has: none of them is unsigned, and none can be there twice."""
    profile = case.profile()
    fields = parse_qsl(case.sent.body.decode(), strict_parsing=case.sent.is_form) if case.sent.is_form else []
    for index, (name, value) in enumerate(fields):
        for other in ([(name, f"{value}0")], [(name, value)] * 2, []):
            body = urlencode([*fields[:index], *other, *fields[index + 1 :]])
            refused(profile, changed(case.sent, body=body.encode()), case.url)


@of(WITH_PARAMETER)
def test_a_secret_in_the_query_is_checked(case):
    profile = case.profile()
    for query in ((("key", "other"),), (), (*case.sent.query, *case.sent.query)):
        refused(profile, changed(case.sent, query=query), case.url)


def other_secret(case):
    """Return a secret or a key of the same form."""
    own = case.provider.profile
    algorithms = own.get("algorithms", [own.get("algorithm")])
    algorithm = "HS256" if own["kind"] not in KEY_KINDS else [*getattr(algorithms, "values", lambda: algorithms)()][-1]
    if algorithm != "HS256":
        return pem(OTHER_KEYS[algorithm.partition("-")[0] if algorithm not in OTHER_KEYS else algorithm])
    index = len(case.secret) // 2
    return case.secret[:index] + ("A" if case.secret[index] != "A" else "B") + case.secret[index + 1 :]


OTHER_KEYS = {"rsa": RSA, "ecdsa": P256, "ES256": P256, "ecdsa-raw-sha512": P521, "ed25519": ED25519}
"""Keys by the algorithm, or the sort of it."""


@of(ALL)
def test_a_message_by_another_secret_or_key_is_refused_and_both_pass_during_a_rotation(case):
    other = other_secret(case)
    refused(case.profile(other), case.sent, case.url)
    case.profile(other, case.secret).verify(case.sent, case.url)
    profiles = profiles_of(case.folder, case.clock, case.secret, **case.given)
    profiles["it"].verify(case.sent, case.url)
    (case.folder / "secret-0").write_bytes(other if isinstance(other, bytes) else other.encode())
    profiles.reload()
    refused(profiles["it"], case.sent, case.url)


@of(WITH_TIME)
def test_an_old_message_and_one_of_the_future_are_refused(case):
    profile = case.profile()
    at = case.clock.now
    beyond = 1000 + getattr(case.declared, "tolerance_s", 0)
    for passed in (-beyond, beyond):
        case.clock.now = at + passed
        why = refused(profile, case.sent, case.url)
        assert "too far in the" in why or "has expired" in why or "is in the future" in why


@pytest.mark.parametrize("name", ALL)
def test_a_file_has_its_source_and_says_what_is_not_proven(name):
    provider = PROVIDERS[name]
    assert provider.source.startswith("https://")
    assert provider.title
    assert provider.secret
    has_time = bool(provider.sample.time)
    if provider.profile["kind"] == "hmac":
        assert has_time == ("timestamp" in provider.profile)
        if not has_time:
            assert "time" in provider.limits
        if provider.profile.get("allow_unsigned_body"):
            assert "body" in provider.limits


def test_the_page_names_every_provider():
    page = (ROOT / "docs" / "provider-list.md").read_text()
    assert [name for name in ALL if f"| `provider:{name}` |" not in page] == []


def test_only_files_of_providers_are_in_their_folder():
    folder = ROOT / "server" / "callback_server" / "verification" / "provider_files"
    assert {each.name for each in folder.iterdir()} == {f"{name}.toml" for name in ALL}

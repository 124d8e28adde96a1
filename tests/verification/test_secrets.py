"""Secrets that a request contains in clear, and addresses: a correct one passes, and no handler gets the secret."""

import base64
import json
import sys

import pytest
from pydantic import ValidationError
from support.verification import URL, changed, flips, profile_of, refused, request

from callback_server.verification import places
from callback_server.verification.profile import VerifiedMessage

SECRET = "p\u00e4ss w+rd&%"


@pytest.fixture
def in_header(tmp_path):
    return profile_of(tmp_path, SECRET, kind="shared-secret", header="X-Api-Key")


@pytest.fixture
def in_query(tmp_path):
    return profile_of(tmp_path, SECRET, kind="shared-secret", parameter="key")


@pytest.fixture
def basic(tmp_path):
    return profile_of(tmp_path, SECRET, kind="basic", username="j\u00f6rg")


def as_header(octets):
    """Return bytes as the text of a header, one character for each byte."""
    return octets.decode("latin-1")


def credentials(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_a_secret_in_a_header_passes_and_is_removed_from_the_request(in_header):
    sent = request(("x-api-key", as_header(SECRET.encode())), ("x-other", "1"))
    assert in_header.verify(sent, URL) == VerifiedMessage()
    assert in_header.redacted(sent) == request(("x-other", "1"))
    assert in_header.challenge == "Secret"


def test_a_secret_in_the_query_passes_and_is_removed_from_the_request(in_query):
    sent = changed(
        request(query=[("order", "5"), ("key", SECRET), ("x", "")]),
        query_string="order=5&k%65y=p%C3%A4ss+w%2Brd%26%25&x",
    )
    assert in_query.verify(sent, URL) == VerifiedMessage()
    kept = in_query.redacted(sent)
    assert (kept.query, kept.query_string) == ((("order", "5"), ("x", "")), "order=5&x")


def test_a_name_and_a_password_pass_and_are_removed_from_the_request(basic):
    sent = request(("authorization", credentials(f"j\u00f6rg:{SECRET}")), ("x-other", "1"))
    assert basic.verify(sent, URL) == VerifiedMessage(sender="j\u00f6rg")
    assert basic.redacted(sent) == request(("x-other", "1"))
    assert basic.challenge == 'Basic realm="callback", charset="UTF-8"'


def test_every_bit_of_a_secret_is_checked(in_header, in_query, basic):
    for each in flips(SECRET.encode()):
        assert refused(in_header, request(("x-api-key", as_header(each)))) == "the secret is wrong"
        text = each.decode("utf-8", "surrogateescape")
        assert refused(in_query, request(query=[("key", text)])) == "the secret is wrong"
    for each in flips(credentials(f"j\u00f6rg:{SECRET}").encode()):
        if each[:6].lower() != b"basic ":
            assert refused(basic, request(("authorization", as_header(each))))
        elif each[:6] == b"Basic ":
            assert (
                refused(basic, request(("authorization", as_header(each)))) == "the user name or the password is wrong"
            )


@pytest.mark.parametrize("given", ["", "p", SECRET + " ", " " + SECRET, SECRET + "\n", SECRET * 2, "\u20ac", "\ud800"])
def test_a_secret_that_is_too_short_too_long_or_not_text_is_refused(in_header, in_query, basic, given):
    assert refused(in_header, request(("x-api-key", given)))
    assert refused(in_query, request(query=[("key", given)]))
    assert refused(basic, request(("authorization", f"Basic {given}")))


def test_missing_or_repeated_values_are_refused(in_header, in_query, basic):
    right = ("x-api-key", as_header(SECRET.encode()))
    assert refused(in_header, request()) == "x-api-key is missing"
    assert refused(in_header, request(right, right)) == "x-api-key occurs more than once"
    assert refused(in_query, request()) == "the parameter is missing"
    assert refused(in_query, request(query=[("key", SECRET)] * 2)) == "the parameter occurs more than once"
    assert refused(in_query, request(query=[("Key", SECRET)])) == "the parameter is missing"
    assert refused(basic, request()) == "authorization is missing"
    assert refused(basic, request(("authorization", f"Bearer {SECRET}"))) == "the authorization is not Basic"


@pytest.mark.parametrize("scheme", ["basic", "BASIC"])
def test_the_case_of_the_scheme_basic_means_nothing(basic, scheme):
    basic.verify(request(("authorization", credentials(f"j\u00f6rg:{SECRET}").replace("Basic", scheme))), URL)


def test_a_form_does_not_count_as_a_query(in_query):
    form = ("content-type", "application/x-www-form-urlencoded")
    assert refused(in_query, request(form, body=b"key=" + SECRET.encode())) == "the parameter is missing"


def test_each_of_several_secrets_is_valid(tmp_path):
    header = profile_of(tmp_path, "one", "two\r\n", kind="shared-secret", header="x-key")
    basic = profile_of(tmp_path, "one", "two", kind="basic", username="me")
    for secret in ("one", "two"):
        header.verify(request(("x-key", secret)), URL)
        basic.verify(request(("authorization", credentials(f"me:{secret}"))), URL)
    refused(header, request(("x-key", "onetwo")))


# ---- Addresses ----


@pytest.mark.parametrize(
    ("networks", "address", "passes"),
    [
        (["192.0.2.0/24"], "192.0.2.7", True),
        (["192.0.2.0/24"], "192.0.3.7", False),
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7"], "192.0.2.8", False),
        (["192.0.2.0/24"], "::ffff:192.0.2.7", True),
        (["192.0.2.0/24"], "::ffff:192.0.3.7", False),
        (["192.0.2.0/24"], "::192.0.2.7", False),
        (["::ffff:192.0.2.0/120"], "192.0.2.7", True),
        (["::ffff:192.0.2.0/120"], "::ffff:192.0.2.7", True),
        (["::/0"], "192.0.2.7", False),
        (["::/0"], "::ffff:192.0.2.7", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["198.51.100.0/24", "2001:db8::/32"], "2001:db8:1::5", True),
        (["2001:db8::/32"], "2001:db9::5", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["0.0.0.0/0", "::/0"], "", False),
        (["0.0.0.0/0", "::/0"], "unknown", False),
        (["0.0.0.0/0", "::/0"], "192.0.2.7:80", False),
        (["0.0.0.0/0", "::/0"], "3221225991", False),
        (["0.0.0.0/0", "::/0"], "192.0.2.007", False),
        (["0.0.0.0/0", "::/0"], "\u0661.1.1.1", False),
        (["0.0.0.0/0", "::/0"], "/run/socket", False),
    ],
)
def test_an_address_passes_within_the_ranges(tmp_path, networks, address, passes):
    profile = profile_of(tmp_path, kind="address", networks=networks)
    sent = request(address=address)
    if passes:
        assert profile.verify(sent, URL) == VerifiedMessage()
        assert profile.redacted(sent) is sent
    else:
        assert refused(profile, sent).startswith("the client's address is")


@pytest.mark.parametrize("networks", [[], ["192.0.2.7/24"], ["here"], ["192.0.2.0/33"], [""]])
def test_invalid_networks_are_refused(tmp_path, networks):
    with pytest.raises(ValidationError):
        profile_of(tmp_path, kind="address", networks=networks)


@pytest.mark.parametrize("written", [lambda text: json.dumps(text), lambda text: json.dumps(text, ensure_ascii=False)])
def test_a_secret_in_the_body_passes_and_is_removed_from_the_request(tmp_path, written):
    profile = profile_of(tmp_path, SECRET, kind="shared-secret", pointer="/hook/passcode")
    assert profile.reads_body
    body = f'{{"hook": {{"passcode" :{written(SECRET)}}}, "x":  1}}'.encode()
    assert profile.verify(request(body=body), URL) == VerifiedMessage()
    assert profile.redacted(request(body=body)).body == b'{"hook": {"passcode" :""}, "x":  1}'
    assert refused(profile, request(body=body.replace(b"w+rd", b"word"))) == "the secret is wrong"
    assert refused(profile, request(body=b"{}")) == "json:/hook/passcode is missing"
    assert "too large" in refused(profile, request(body=body + b" " * 1024 * 1024))


@pytest.fixture
def in_body(tmp_path):
    return profile_of(tmp_path, "ab/c+d", kind="shared-secret", pointer="/passcode")


@pytest.mark.parametrize("written", [r"ab\/c+d", r"ab/c\u002bd", r"\u0061b/c+d"])
@pytest.mark.parametrize("name", ["passcode", r"pass\u0063ode"])
def test_a_secret_in_the_body_is_removed_however_it_is_written(in_body, name, written):
    sent = request(body=f'{{"x": [{{}}, "]"], "{name}" : "{written}" , "y": 1}}\n'.encode())
    assert in_body.verify(sent, URL) == VerifiedMessage()
    assert in_body.redacted(sent).body == f'{{"x": [{{}}, "]"], "{name}" : "" , "y": 1}}\n'.encode()


def test_the_rest_of_a_body_stays_as_it_was_when_a_secret_is_removed(tmp_path):
    figma = profile_of(tmp_path, "figma", kind="provider:figma")
    body = b'{"passcode":"figma","file_name":"my figma file","a":"figma","x":{"passcode":"figma"},"b":"\xff"}'
    sent = changed(request(body=body), body_size=len(body))
    figma.verify(sent, URL)
    kept = figma.redacted(sent)
    assert kept.body == body.replace(b'"passcode":"figma"', b'"passcode":""', 1)
    assert kept.body_size == len(kept.body)


def test_a_secret_in_a_list_in_the_body_is_removed(tmp_path):
    profile = profile_of(tmp_path, "one", kind="shared-secret", pointer="/0/a~1b/2")
    sent = request(body=b'[{"c": [], "a/b": [1, "one", "one", "one"]}, "one"]')
    profile.verify(sent, URL)
    assert profile.redacted(sent).body == b'[{"c": [], "a/b": [1, "one", "", "one"]}, "one"]'


@pytest.mark.parametrize(
    ("body", "why", "kept"),
    [
        (
            b'{"passcode":"ab/c+d","passcode":"ab\\/c+d"}',
            "json:/passcode occurs more than once, or the JSON cannot be read",
            b'{"passcode":"","passcode":""}',
        ),
        (b'{"passcode": {"a": 1}}', "json:/passcode is neither a text nor a whole number", b'{"passcode": ""}'),
        (b'{"passcode": 7, "id": 1717}', "the secret is wrong", b'{"passcode": "", "id": 1717}'),
        (b'{"passcode": "old", "x": "old"}', "the secret is wrong", b'{"passcode": "", "x": "old"}'),
        (b'{"passcode": "ab/c+d"', "json:/passcode is missing", b""),
        (b"", "json:/passcode is missing", b""),
        (b"[" * 100_000, "json:/passcode is missing", b""),
        (
            b'{"passcode": "ab/c+d"}' + b" " * 1024 * 1024,
            "the body is too large to be read before it is verified",
            b"",
        ),
    ],
)
def test_a_secret_that_is_not_one_text_is_refused_and_each_is_removed(in_body, body, why, kept):
    assert refused(in_body, request(body=body)) == why
    assert in_body.redacted(request(body=body)).body == kept


def test_a_number_is_no_secret(tmp_path):
    profile = profile_of(tmp_path, "7", kind="shared-secret", pointer="/passcode")
    assert refused(profile, request(body=b'{"passcode":7,"id":1717}')) == "json:/passcode is not a text"
    assert profile.verify(request(body=b'{"passcode":"7","id":' + b"9" * 5000 + b"}"), URL) == VerifiedMessage()


def test_a_secret_has_one_place(tmp_path):
    for given in ({}, {"header": "x-key", "pointer": "/key"}, {"parameter": "key", "pointer": "/key"}):
        with pytest.raises(ValidationError, match="needs header or parameter or pointer"):
            profile_of(tmp_path, SECRET, kind="shared-secret", **given)


BODIES = [
    '{"passcode": "one"}', ' { "a" : 1, "passcode"\t:\n"o\\nne" , "b": [] } ', '{"passcode": 7}', '{"passcode": null}',
    '{"passcode": {"passcode": "one"}}', '{"a": "passcode", "b": 1}', '{"a": {"passcode": "one"}}',
    '["passcode", "one"]', '{"passcode": "one", "passcode": "two"}', r'{"p\u0061sscode": "one"}',
    r'{"passcode": "one", "p\u0061sscode": "two"}', r'{"a": "\"passcode\": \"one\"", "passcode": "two"}',
    '{"passcode": "one"', '{"passcode" "one"}', "passcode", "", '{"hook": {"passcode": "one"}, "hook": {}}',
    '{"hook": {}, "hook": {"passcode": "one"}}', '{"hook": "passcode"}', '{"hook": {"passcode": "one"}, "a": 1}',
    '{"hook": [{"passcode": "one"}]}', '{"hook": {"passcode": true}}', '[{"a": "one", "0": "two"}, {"a": ["one"]}]',
    r'{"passcode": "ü", "a": "\u00fc"}', "[" * 5000, r'{"a/b": {"\uD83d\ude00": 1}, "a\/b": {"😀": 2}, "a\u002Fb": 3}',
    '{"a":":b", ":":"one"}', '{"a":"b",":":"one","c":"\\\\","d":"\\":\\""}', '{"hook": {"hook": 1}, "hook": 2}',
    '["one", 2]', '{"passcode": 1,}', r'{"a\"passcode": 1, "passcode": 2}', '{"passcode": 1, "a": "', '"passcode"',
]  # fmt: skip
PAIRS = json.JSONDecoder(object_pairs_hook=tuple)


@pytest.mark.parametrize(
    "pointer",
    ["/passcode", "/hook/passcode", "/hook/0/passcode", "/1/a/0", "/0/a", "/0", "/:", "/a~1b/\U0001f600", "/hook/hook"],
)
def test_each_member_at_the_place_is_emptied_and_nothing_else(tmp_path, pointer):
    profile = profile_of(tmp_path, "one", kind="shared-secret", pointer=pointer)
    for body in BODIES:
        kept = profile.redacted(request(body=body.encode())).body.decode()
        try:
            read = PAIRS.decode(body)
        except (ValueError, RecursionError):
            assert not kept, body
        else:
            tokens = [token.replace("~1", "/") for token in pointer.split("/")[1:]]
            assert PAIRS.decode(kept) == emptied(read, tokens), body


def emptied(value, tokens):
    """Return what JSON has, its objects as pairs, with an empty text for each value at a pointer."""
    if not tokens:
        return ""
    first, *others = tokens
    if isinstance(value, tuple):
        return tuple((name, emptied(each, others) if name == first else each) for name, each in value)
    if isinstance(value, list):
        return [emptied(each, others) if str(index) == first else each for index, each in enumerate(value)]
    return value


def test_a_body_is_not_searched_member_by_member(in_body):
    """An unknown sender chooses how many members a body has, how they are spelled, and how often the name is there."""

    def calls(members):
        body = '{"a": {"passcode": 1}, ' + r'"\u0061": [0], "b": {}, ' * members + '"passcode": "ab/c+d", "c": 0}'
        made, sent = [], request(body=body.encode())
        sys.setprofile(lambda frame, *_: made.append(frame.f_code.co_filename))
        try:
            in_body.verify(sent, URL)
            kept = in_body.redacted(sent)
        finally:
            sys.setprofile(None)
        assert kept.body.endswith(b'"passcode": "", "c": 0}')
        return len([each for each in made if each == places.__file__])

    calls(1)  # what is made once and kept
    assert calls(2000) == calls(1)

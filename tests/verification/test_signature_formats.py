"""The kind `hmac`: where senders write signature, time and id, how they write them, and what they sign."""

import base64
import hashlib
import hmac
import json
import tracemalloc
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from soak.counts import count
from support.verification import NOW, URL, Clock, changed, profile_of, refused, request

from callback_process.credentials import CredentialsError
from callback_server.domain.call import Request
from callback_server.verification.credential import Credential
from callback_server.verification.places import parse_place
from callback_server.verification.profile import VerificationError
from callback_server.verification.settings.signed import HmacSettings
from callback_server.verification.signature import make_hmac_signature
from callback_server.verification.template import Template

BODY = b'{"meta": {"webhook_id": "WB1"}, "items": [{"id": 7}], "a/b": {"~": "x"}}'
CASE = "https://box.example/cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"
RFC3339 = "2023-11-14T22:13:20Z"
FORM = ("content-type", "application/x-www-form-urlencoded")


def digest(signed, secret=b"one", algorithm="sha256"):
    return hmac.digest(secret, signed, algorithm)


def hexed(signed, **how):
    return digest(signed, **how).hex()


@pytest.fixture
def hmac_of(tmp_path):
    """Return a function that makes a profile of the kind `hmac`."""

    def make(*secrets, clock=None, **given):
        given = {"kind": "hmac", "signature": "header:x-sign", **given}
        return profile_of(tmp_path, *(secrets or ("one",)), clock=clock, **given)

    return make


# ---- Places ----


@pytest.mark.parametrize(
    ("place", "sent"),
    [
        ("header:X-Sign", {"headers": [("x-sign", "{}")]}),
        ("query:sig", {"query": [("sig", "{}")]}),
        ("form:sig", {"headers": [FORM], "body": "a=1&sig={}"}),
        ("json:/signature/value", {"body": '{{"a": 1, "signature": {{"value": "{}"}}}}'}),
        ("json:/items/1", {"body": '{{"items": ["x", "{}"]}}'}),
    ],
)
def test_a_signature_is_read_from_its_place(hmac_of, place, sent):
    profile = hmac_of(signature=place, signed="{header:x-part}", allow_unsigned_body=True)

    def asked(signature):
        return request(
            ("x-part", "part"),
            *((name, value.format(signature)) for name, value in sent.get("headers", [])),
            query=[(name, value.format(signature)) for name, value in sent.get("query", [])],
            body=sent.get("body", "").format(signature).encode(),
        )

    profile.verify(asked(hexed(b"part")), URL)
    assert refused(profile, asked(hexed(b"other"))) == "no signature is valid"
    assert refused(profile, request(("x-part", "part"), FORM)).endswith(" is missing")


def test_at_least_one_of_several_places_must_have_a_signature(hmac_of):
    profile = hmac_of(signature=["header:x-new", "header:x-old"])
    good, bad = hexed(b"a"), hexed(b"b")
    for headers in ([("x-new", good)], [("x-old", good)], [("x-new", bad), ("x-old", good)]):
        profile.verify(request(*headers, body=b"a"), URL)
    assert refused(profile, request(("x-new", bad), body=b"a")) == "no signature is valid"
    assert refused(profile, request(body=b"a")) == "x-new is missing"
    assert refused(profile, request(("x-new", good), ("x-new", good), body=b"a")) == "x-new occurs more than once"


@pytest.mark.parametrize(
    ("place", "message_id"),
    [
        ("json:/meta/webhook_id", "WB1"),
        ("json:/items/0/id", "7"),
        ("json:/a~1b/~0", "x"),
        ("json:/meta", ""),
        ("json:/items/1/id", ""),
        ("json:/items/00/id", ""),
        ("json:/items/id", ""),
        ("json:/meta/webhook_id/x", ""),
        ("body-hash", hashlib.sha256(BODY).hexdigest()),
        (["json:/none", "body-hash"], hashlib.sha256(BODY).hexdigest()),
        (["json:/none", "json:/meta/webhook_id"], "WB1"),
        (["header:x-id", "body-hash"], "H1"),
        (["header:x-none", "body-hash"], hashlib.sha256(BODY).hexdigest()),
        (["header:x-none", "none"], ""),
        (["header:x-id", "none"], "H1"),
        ("query:id", "Q1"),
    ],
)
def test_an_id_is_read_from_its_place(hmac_of, place, message_id):
    sent = request(("x-sign", hexed(BODY)), ("x-id", "H1"), body=BODY, query=[("id", "Q1")])
    assert hmac_of(id=place).verify(sent, URL).message_id == message_id


def test_an_id_of_a_form_is_read_and_a_form_that_cannot_be_read_has_none(hmac_of):
    profile = hmac_of(id="form:id")
    for body, message_id in [(b"a=1&id=F1", "F1"), (b"id=1&id=2", ""), (b"id=%ff", ""), (b"", "")]:
        assert profile.verify(request(("x-sign", hexed(body)), FORM, body=body), URL).message_id == message_id


def test_an_id_in_a_header_or_in_the_query_must_be_there(hmac_of):
    for place in ("header:x-id", "query:id"):
        assert (
            refused(hmac_of(id=place), request(("x-sign", hexed(b"")))) == f"{place.removeprefix('header:')} is missing"
        )


# ---- Several signatures in one value ----


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"separators": " ", "prefix": "v1,"}, "v2,{0} v1,{1} v1,{0}"),
        ({"separators": ","}, "{1},{0}"),
        ({"separators": ";", "prefix": "sha256="}, "sha256={0};sha256={1}"),
        ({"signature_field": "v1"}, "t=1,v0={1},v1={1},v1={0}"),
        ({"signature_field": "h1", "separators": ";"}, "ts=1;h1={0}"),
    ],
)
def test_one_valid_signature_of_several_is_enough(hmac_of, given, value):
    profile = hmac_of(**given)
    good, bad = hexed(b"a"), hexed(b"b")
    profile.verify(request(("x-sign", value.format(good, bad)), body=b"a"), URL)
    assert refused(profile, request(("x-sign", value.format(bad, bad)), body=b"a")) == "no signature is valid"


def test_a_list_of_fields_has_the_one_form_that_the_sender_writes(hmac_of):
    form = {"signature_field": "v1", "signature_format": "t={timestamp}, v1={signature}", "separators": ", "}
    profile = hmac_of(signed="{timestamp}.{body}", timestamp="field:t", **form)
    made = hexed(f"{NOW}.b".encode())
    profile.verify(request(("x-sign", f"t={NOW}, v1={made}"), body=b"b"), URL)
    for other in (
        f"t={NOW},v1={made}", f"v1={made}, t={NOW}", f"t={NOW}, v1={made}, v1={made}", f"t={NOW}, v1={made}, v0=1",
        f"t={NOW}, t={NOW}, v1={made}", f"t={NOW}, v1={made}=", f" t={NOW}, v1={made}",
    ):  # fmt: skip
        said = refused(profile, request(("x-sign", other), body=b"b"))
        assert said == "x-sign is not as signature_format says"


# ---- Encodings ----


def url_safe(octets):
    return base64.urlsafe_b64encode(octets).decode()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize(
    ("encoding", "forms"),
    [
        ("hex", lambda made: [made.hex()]),
        ("hex-upper", lambda made: [made.hex().upper()]),
        ("base64", lambda made: [base64.b64encode(made).decode()]),
        ("base64url", lambda made: [url_safe(made), url_safe(made).rstrip("=")]),
    ],
)
def test_each_algorithm_passes_in_each_encoding_and_in_no_other(hmac_of, algorithm, encoding, forms):
    profile = hmac_of(algorithm=algorithm, encoding=encoding)
    made = digest(b">>>a???", algorithm=algorithm)
    plain = base64.b64encode(made).decode()
    all_forms = {made.hex(), made.hex().upper(), plain, plain.rstrip("="), url_safe(made)}
    for form in forms(made):
        profile.verify(request(("x-sign", form), body=b">>>a???"), URL)
    for form in all_forms - set(forms(made)):
        refused(profile, request(("x-sign", form), body=b">>>a???"))


RAW = b"\x00\xfb\xff secret of 24 bytes...."


@pytest.mark.parametrize(
    ("encoding", "prefix", "text"),
    [
        ("hex", "", RAW.hex()),
        ("hex", "", RAW.hex().upper()),
        ("base64", "whsec_", "whsec_" + base64.b64encode(RAW).decode()),
        ("base64", "whsec_", base64.b64encode(RAW).decode()),
        ("base64url", "", base64.urlsafe_b64encode(RAW).decode()),
        ("base64url", "", base64.urlsafe_b64encode(RAW).decode().rstrip("=")),
    ],
)
def test_a_secret_is_decoded(hmac_of, encoding, prefix, text):
    profile = hmac_of(text, secret_encoding=encoding, secret_prefix=prefix)
    profile.verify(request(("x-sign", hexed(b"a", secret=RAW)), body=b"a"), URL)
    refused(profile, request(("x-sign", hexed(b"a", secret=text.encode())), body=b"a"))


@pytest.mark.parametrize(
    ("encoding", "text", "why"),
    [
        ("hex", "xyz", "is not in the secret_encoding hex"),
        ("hex", "\u00e9\u00e9", "is not in the secret_encoding hex"),
        ("base64", "a-b_", "is not in the secret_encoding base64"),
        ("base64", "whsec_", "is empty"),
        ("base64url", "a+b/", "is not in the secret_encoding base64url"),
    ],
)
def test_a_secret_in_another_encoding_is_refused_at_the_start(hmac_of, encoding, text, why):
    with pytest.raises(CredentialsError) as caught:
        hmac_of(text, secret_encoding=encoding, secret_prefix="whsec_")
    assert str(caught.value).endswith(f": {why}")


# ---- Times ----


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("milliseconds", "1700000000000"),
        ("rfc3339", RFC3339),
        ("rfc3339", "2023-11-14T22:13:20.5Z"),
        ("rfc3339", "2023-11-14T23:13:20.123456789+01:00"),
        ("rfc3339", "2023-11-14T15:13:20-07:00"),
    ],
)
def test_a_time_is_read_in_its_format_with_the_tolerance_on_both_sides(hmac_of, written, time):
    clock = Clock()
    profile = hmac_of(
        clock=clock, timestamp="header:x-time", timestamp_format=written, signed="{timestamp}{body}", tolerance_s=10
    )
    sent = request(("x-time", time), ("x-sign", hexed(time.encode() + b"a")), body=b"a")
    for passed in (-9, 0, 10):
        clock.now = NOW + passed
        profile.verify(sent, URL)
    clock.now = NOW + 12
    assert "too far in the past" in refused(profile, sent)
    clock.now = NOW - 12
    assert "too far in the future" in refused(profile, sent)


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("milliseconds", "1700000000000.0"),
        ("milliseconds", "-1700000000000"),
        ("milliseconds", "9" * 16),
        *(("rfc3339", each) for each in (
            "2023-11-14 22:13:20Z", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z", "2023-11-14T22:13:20+0100",
            "2023-11-14T22:13:20z", "\u0662023-11-14T22:13:20Z", "2023-11-14T22:13:20.Z", "1700000000", "",
            "2023-11-14T22:13:20+99:00", "0001-01-01T00:00:00+23:59", "2023-11-14T24:00:01Z", "20231114T221320Z",
        )),
    ],
)  # fmt: skip
def test_a_time_in_another_format_is_refused(hmac_of, written, time):
    profile = hmac_of(timestamp="header:x-time", timestamp_format=written, signed="{timestamp}{body}")
    sent = request(("x-time", time), ("x-sign", hexed(time.encode())))
    assert refused(profile, sent).startswith(("the time is not", "the time is too far in the past"))


def test_a_time_in_milliseconds_is_named_as_the_reason(hmac_of):
    profile = hmac_of(timestamp="header:x-time", signed="{timestamp}{body}")
    sent = request(("x-time", "1700000000000"), ("x-sign", hexed(b"1700000000000")))
    assert refused(profile, sent) == 'the time is not in seconds; timestamp_format = "milliseconds" may fit'


def test_a_time_in_a_signed_body_is_checked(hmac_of):
    clock = Clock()
    profile = hmac_of(clock=clock, timestamp="json:/at", timestamp_format="milliseconds")
    for body in (b'{"at": 1700000000000}', b'{"at": "1700000000000"}'):
        profile.verify(request(("x-sign", hexed(body)), body=body), URL)
    assert refused(profile, request(("x-sign", hexed(b"{}")), body=b"{}")) == "json:/at is missing"
    clock.now = NOW + 301
    assert "past" in refused(profile, request(("x-sign", hexed(body)), body=body))


# ---- The signed bytes ----

SENT = Request(
    "put", (("x-time", RFC3339), ("x-id", "m1"), ("x-a", "A b")), (("b", "1"),), "b=1", "", b'{"c": {"d": 5}}'
)


@pytest.mark.parametrize(
    ("signed", "expected"),
    [
        ("{body}{timestamp}", b'{"c": {"d": 5}}2023-11-14T22:13:20Z'),
        ("{id}{timestamp}{body}", b'm12023-11-14T22:13:20Z{"c": {"d": 5}}'),
        ("{method} {host}{path}?{query}\n{body}", f"PUT {CASE[8:]}?b=1\n".encode() + b'{"c": {"d": 5}}'),
        ("{path} {header:X-A}\n{body}", b'/cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11 A b\n{"c": {"d": 5}}'),
        ("{json:/c/d}:{json:/none}:{body}", b'5::{"c": {"d": 5}}'),
        ("{timestamp}.{body-hash}", f"{RFC3339}.{hashlib.sha256(SENT.body).hexdigest()}".encode()),
        ("{body-hash:base64}", base64.b64encode(hashlib.sha256(SENT.body).digest())),
    ],
)  # fmt: skip
def test_the_parts_of_a_request_are_signed_in_the_order_of_the_template(hmac_of, signed, expected):
    given = {"timestamp": "header:x-time", "timestamp_format": "rfc3339"} if "{timestamp}" in signed else {}
    given |= {"id": "header:x-id"} if "{id}" in signed else {}
    profile = hmac_of(signed=signed, **given)
    sent = changed(SENT, headers=(*SENT.headers, ("x-sign", hexed(expected))))
    url = f"{CASE}?b=1"
    profile.verify(sent, url)
    for altered, reached in [
        (changed(sent, body=b'{"c": {"d": 5}} '), url),
        (changed(sent, body=b""), url),
        *([(changed(sent, method="post"), url)] if "{method}" in signed else []),
        *([(sent, url.replace("box", "bax"))] if "{host}" in signed else []),
        *([(sent, url.replace("3fae", "3fea"))] if "{path}" in signed else []),
        *([(changed(sent, query_string="b=2"), url)] if "{query}" in signed else []),
    ]:
        refused(profile, altered, reached)


def test_the_url_can_follow_the_body_or_stand_before_it_only_as_it_was_generated(hmac_of):
    for signed, made in (
        ("{body}{url}", BODY + CASE.encode()),
        ("{method}{url}{body}", b"POST" + CASE.encode() + BODY),
    ):
        profile = hmac_of(signed=signed)
        sent = request(("x-sign", hexed(made)), body=BODY)
        profile.verify(sent, CASE)
        assert refused(profile, sent, f"{CASE}?a=1").startswith("the URL differs from the generated one")


def test_a_date_within_the_id_does_not_end_it(hmac_of):
    """Check that a part of the body which looks like a time never becomes the time."""
    profile = hmac_of(
        signed="{id}{timestamp}{body}", id="header:x-id", timestamp="header:x-time", timestamp_format="rfc3339"
    )
    old = "2020-01-01T00:00:00Z"
    signature = hexed(f"m1{old}{RFC3339}rest".encode())
    sent = request(("x-id", f"m1{old}"), ("x-time", RFC3339), ("x-sign", signature), body=b"rest")
    assert "must end it" in refused(profile, sent)


def test_a_value_of_a_header_does_not_contain_the_text_that_ends_it(hmac_of):
    profile = hmac_of(signed="{header:x-a}.{body}")
    sent = request(("x-a", "1.2"), ("x-sign", hexed(b"1.2.a")), body=b"a")
    assert "must end it" in refused(profile, sent)
    assert refused(profile, request(("x-sign", "00"), body=b"a")) == "x-a is missing"


def test_sorted_fields_of_a_form_are_signed_after_the_url(hmac_of):
    """The example of https://www.twilio.com/docs/usage/security."""
    profile = hmac_of("12345", algorithm="sha1", encoding="base64", signed="{url}{form}", id="body-hash")
    body = b"To=%2B18005551212&CallSid=CA1234567890ABCDE&Caller=%2B14158675310&Digits=1234&From=%2B14158675310"
    made = CASE + "CallSidCA1234567890ABCDECaller+14158675310Digits1234From+14158675310To+18005551212"
    signature = base64.b64encode(digest(made.encode(), b"12345", "sha1")).decode()
    sent = request(("x-sign", signature), FORM, body=body)
    assert profile.verify(sent, CASE).message_id == hashlib.sha256(body).hexdigest()
    refused(profile, changed(sent, body=body.replace(b"1234&", b"1235&")), CASE)
    refused(profile, changed(sent, body=body + b"&X=1"), CASE)
    assert "not signed" in refused(profile, request(("x-sign", signature), body=b"{}"), CASE)
    assert refused(profile, request(("x-sign", signature), FORM, body=b"a=%ff"), CASE) == "the form cannot be read"


def multipart(*fields, file=b"\x89PNG\xff"):
    """Return the content type and the body of a form with fields and a file."""
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields]
    head = b'Content-Disposition: form-data; name="attachment-1"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in [*parts, head + file])
    return ("content-type", "multipart/form-data; boundary=x"), body + b"--x--\r\n"


def test_the_fields_of_a_multipart_form_are_places_and_its_files_are_not(hmac_of):
    given = {"signature": "form:signature", "signed": "{timestamp}{form:token}", "timestamp": "form:timestamp"}
    with pytest.raises(ValidationError, match="allow_unsigned_body"):
        hmac_of(**given)
    profile = hmac_of(**given | {"signed": "{timestamp}{id}"}, id="form:token", allow_unsigned_body=True)
    fields = [("timestamp", str(NOW)), ("token", "t1"), ("signature", hexed(f"{NOW}t1".encode()))]
    kind, body = multipart(*fields)
    assert profile.verify(request(kind, body=body), URL).message_id == "t1"
    assert refused(profile, request(kind, body=body.replace(b"t1", b"t2"))) == "no signature is valid"
    assert refused(profile, request(kind, body=multipart(*fields, ("token", "t1"))[1])) == "form:token is missing"
    as_file = body.replace(b'name="token"', b'name="token"; filename="f"')
    assert refused(profile, request(kind, body=as_file)) == "form:token is missing"
    assert refused(profile, request(kind, body=body.replace(b"t1", b"\xff"))) == "the form cannot be read"
    assert refused(profile, request(("content-type", "multipart/form-data"), body=body)) == "form:signature is missing"


@pytest.mark.parametrize("kind", ["multipart", "urlencoded"])
def test_a_member_of_the_json_in_a_field_of_a_form_is_a_place(hmac_of, kind):
    profile = hmac_of(
        signature="form-json:json/event/hash", timestamp="form-json:json/event/time", allow_unsigned_body=True,
        signed="{timestamp}{form-json:json/event/type}",
    )  # fmt: skip

    def sent(text):
        if kind == "multipart":
            made, body = multipart(("json", text))
            return request(made, body=body)
        return request(FORM, body=urlencode({"json": text}).encode())

    text = json.dumps({"event": {"time": str(NOW), "type": "signed", "hash": hexed(f"{NOW}signed".encode())}})
    profile.verify(sent(text), URL)
    refused(profile, sent(text.replace("signed", "sent")))
    assert refused(profile, sent(text[:-1])) == "form-json:json/event/hash is missing"
    assert "more than once" in refused(profile, sent(text.replace('"type"', '"Type": "sent", "type"')))


OPEN = "{json:/a}:{open:json:/b}:{json:/c}:{json:/d}"


def test_one_value_may_contain_the_text_that_ends_it_and_has_one_meaning(hmac_of):
    profile = hmac_of(signed=OPEN, signature="header:x-sign", allow_unsigned_body=True)

    def sent(*values):
        body = json.dumps(dict(zip("abcd", values, strict=True))).encode()
        return request(("x-sign", hexed(":".join(values).encode())), body=body)

    profile.verify(sent("shop", "order:5:6", "10", "EUR"), URL)
    profile.verify(sent("shop", "", "", ""), URL)
    for moved in (
        ("shop:order", "5:6", "10", "EUR"),
        ("shop", "order:5", "6:10", "EUR"),
        ("shop", "order", "5:6", "10:EUR"),
    ):
        assert "must end it" in refused(profile, sent(*moved))


@pytest.mark.parametrize(
    "signed",
    ["{open:json:/a}{json:/b}", "{open:json:/a}.{body}", "{open:json:/a}.{open:json:/b}", "{form}{header:x-a}"],
)
def test_what_follows_an_open_end_can_be_read_from_the_end(signed):
    with pytest.raises(ValueError, match="only places with text"):
        Template(signed)


def test_an_id_may_end_at_a_time_that_ends_the_signed_bytes(hmac_of):
    given = {"id": "header:x-id", "timestamp": "header:x-time", "allow_unsigned_body": True}
    profile = hmac_of(signed="{id}{timestamp}", **given)
    signature = ("x-sign", hexed(f"7{NOW}".encode()))
    assert profile.verify(request(("x-id", "7"), ("x-time", str(NOW)), signature), URL).message_id == "7"
    moved = request(("x-id", f"7{NOW}"[:2]), ("x-time", f"7{NOW}"[2:]), signature)
    assert "too far in the past" in refused(profile, moved)
    with pytest.raises(ValidationError, match="some text must follow"):
        hmac_of(signed="{id}{timestamp}.{header:x-a}", **given)


def test_a_time_can_be_at_several_places(hmac_of):
    profile = hmac_of(signed="{timestamp}.{body}", timestamp=["header:x-time", "header:x-old-time"])
    for name in ("x-time", "x-old-time"):
        profile.verify(request((name, str(NOW)), ("x-sign", hexed(f"{NOW}.b".encode())), body=b"b"), URL)
    assert refused(profile, request(("x-sign", "00"), body=b"b")) == "x-time is missing"
    with pytest.raises(ValidationError, match="no other place"):
        hmac_of(signed="{timestamp}.{body}", timestamp=["field:t", "header:x"], signature_field="s")


def test_a_body_that_is_not_signed_passes_only_if_the_profile_allows_it(hmac_of):
    sent = request(("x-sign", hexed(b"part")), ("x-part", "part"), body=b"anything")
    hmac_of(signed="{header:x-part}", allow_unsigned_body=True).verify(sent, URL)


@pytest.mark.parametrize(
    ("given", "content_type"),
    [
        ({"signed": "{json:/a}", "allow_unsigned_body": True}, "application/json"),
        ({"signed": "{header:x-part}", "signature": "json:/s", "allow_unsigned_body": True}, "application/json"),
        ({"timestamp": "json:/a"}, "application/json"),
        ({"signed": "{id}.{body}", "id": "json:/a"}, "application/json"),
        ({"signed": "{url}{form}"}, FORM[1]),
    ],
)
def test_a_large_body_is_not_read_before_its_sender_is_known(hmac_of, given, content_type):
    body = b'{"a": "1", "b": "' + b"b" * 1024 * 1024 + b'"}'
    sent = request(("x-sign", "00"), ("x-part", "part"), ("content-type", content_type), body=body)
    assert "too large" in refused(hmac_of(**given), sent)


def test_what_lies_beside_a_member_of_the_body_becomes_no_object(hmac_of):
    """An unknown sender chooses how much it is."""
    many = b'{"items": [{"a": "1"' + b"".join(b', "k%d": 1' % index for index in range(50_000)) + b"}" + b", 1" * 50_000
    sent = request(("x-sign", hexed(b"1")), body=many + b"]}")
    profile = hmac_of(signed="{json:/items/0/a}", allow_unsigned_body=True)
    profile.verify(sent, URL)
    tracemalloc.start()
    try:
        parse_place("json:/items/0/a").find(sent)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(sent.body)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", ["{}", "[]", "1.0", "1e2", "true", "false", "9" * 5000])
def test_a_member_that_is_neither_text_nor_a_whole_number_is_not_taken_for_an_empty_one(hmac_of, value):
    profile = hmac_of(signed="{json:/a}:{json:/b}", allow_unsigned_body=True)
    for empty in ('{"a": "x", "b": ""}', '{"a": "x", "b": null}', '{"a": "x"}'):
        profile.verify(request(("x-sign", hexed(b"x:")), body=empty.encode()), URL)
    sent = request(("x-sign", hexed(b"x:")), body=f'{{"a": "x", "b": {value}}}'.encode())
    assert refused(profile, sent) == "json:/b is neither a text nor a whole number"


@pytest.mark.parametrize(
    "body", ['{"a": "forged", "a": "x"}', '{"a": "x", "b": {"c": 1, "c": 2}}', '{"a": "x", "\\u0061": "x"}']
)
def test_a_name_occurs_once_in_a_body_of_which_only_members_are_signed(hmac_of, body):
    profile = hmac_of(signed="{json:/a}", allow_unsigned_body=True)
    profile.verify(request(("x-sign", hexed(b"x")), body=b'{"a": "x", "b": {"a": 1}}'), URL)
    assert "more than once" in refused(profile, request(("x-sign", hexed(b"x")), body=body.encode()))


def test_the_text_after_a_time_can_occur_in_the_time(hmac_of):
    profile = hmac_of(signed="{timestamp}.{body}", timestamp="header:x-time", timestamp_format="rfc3339")
    time = "2023-11-14T22:13:20.123Z"
    profile.verify(request(("x-time", time), ("x-sign", hexed(f"{time}.a".encode())), body=b"a"), URL)
    profile = hmac_of(signed="v0:{timestamp}:{body}", timestamp="header:x-time", timestamp_format="rfc3339")
    profile.verify(request(("x-time", time), ("x-sign", hexed(f"v0:{time}:a".encode())), body=b"a"), URL)


@pytest.mark.parametrize(
    "given",
    [
        {"signature": "form:sign", "signed": "{url}"},
        {"signed": "{url} {timestamp}", "timestamp": "json:/time"},
        {"signed": "{json:/a} {url}"},
    ],
)
def test_a_place_in_a_body_that_is_not_signed_is_refused_in_the_settings(hmac_of, given):
    with pytest.raises(ValidationError, match="a place in the body needs the body in signed"):
        hmac_of(**given)
    hmac_of(**given, allow_unsigned_body=True)


# ---- Arbitrary input ----

often = settings(max_examples=count(100, 50_000), deadline=None)
texts = st.text(max_size=12)
placeholders = st.sampled_from(
    ["{timestamp}", "{id}", "{method}", "{url}", "{host}", "{path}", "{query}", "{header:x-a}", "{json:/a}", "{body}",
     "{body-hash}", "{body-hash:base64}", "{open:header:x-a}", "{form-json:a/b}", "{form}",
     " ", "\n", ".", ":", "?", ""]
)  # fmt: skip


@given(text=texts | st.lists(placeholders | texts, max_size=6).map("".join))
@often
def test_a_template_is_read_or_is_refused(text):
    try:
        template = Template(text)
    except ValueError:
        pass
    else:
        assert len(template.parts) == text.count("{")


@given(
    text=texts
    | st.tuples(st.sampled_from(["header:", "query:", "form:", "json:/", "form-json:a/", "field:"]), texts).map("".join)
)
@often
def test_a_place_is_read_or_is_refused(text):
    try:
        place = parse_place(text)
    except ValueError:
        pass
    else:
        assert text == (f"{place.kind}:{place.name}" if place.name else place.kind)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0", ""]) | texts, inner),
    max_leaves=8,
)
pointers = st.lists(st.sampled_from(["a", "b", "0", "1", "01", "-", "", "~0", "~1"]), min_size=1, max_size=4)


def refuse(constant):
    raise ValueError(f"{constant} is not JSON")


@given(body=st.binary(max_size=30) | anything.map(lambda value: json.dumps(value).encode()), pointer=pointers)
@example(body=b'{"a": 5, "b": NaN}', pointer=["a"])
@often
def test_a_pointer_finds_the_text_or_number_that_the_standard_library_finds(body, pointer):
    try:
        found = parse_place("json:/" + "/".join(pointer)).find(request(body=body))
    except VerificationError:
        found = "refused"
    try:
        value = json.loads(body, parse_constant=refuse)
        for token in pointer:
            if isinstance(value, list):
                value = value[int(token)] if token in ("0", "1") else None
            else:
                value = value[token.replace("~1", "/").replace("~0", "~")]
    except (ValueError, LookupError, TypeError):
        value = None
    if value is None:
        assert found is None
    elif isinstance(value, str):
        assert found in (value, "refused")  # refused: half of a character, as in "\ud800"
    elif isinstance(value, int) and not isinstance(value, bool):
        assert found == str(value)
    else:
        assert found == "refused"


parts = st.lists(placeholders, min_size=1, max_size=5).map("".join)
id_texts = st.text("ab.:2- \nT0", min_size=1, max_size=14).filter(lambda text: " " not in text and "\n" not in text)
sent_requests = st.builds(
    lambda method, id_, a, query, body, at: (
        Request(
            method, (("x-id", id_), ("x-a", a), ("x-time", at), ("x-sign", "00")), (), query, "", body.encode()
        ),
        f"{CASE}?{query}" if query else CASE,
    ),
    st.sampled_from(["get", "post", "put", "delete", "patch"]),
    id_texts | st.just(f"a{RFC3339}"),
    st.text("ab.: 2", max_size=6),
    st.text("ab.:/?=", max_size=6),
    st.text("ab.:/?=2023-11-14T22:13:20Z \n", max_size=24) | st.just(f'{RFC3339}{{"a":1}}') | st.just('{"a": "x"}'),
    st.sampled_from([RFC3339, "2023-11-14T22:13:20.5Z", "2023-11-14T23:13:20+01:00"]),
)  # fmt: skip


def signed_parts(verifier, template, sent, url):
    """Return the signed bytes of a request and the values in them, or None if it is refused before its signature."""
    try:
        verifier.verify(sent, url, float(NOW))
    except VerificationError as error:
        if str(error) != "no signature is valid":
            return None
    headers, at = dict(sent.headers), urlsplit(url)
    values = {
        "timestamp": headers["x-time"], "id": headers["x-id"], "method": sent.method, "url": url, "host": at.netloc,
        "path": at.path, "query": sent.query_string, "header:x-a": headers["x-a"],
        "open:header:x-a": headers["x-a"], "form-json:a/b": "",
    }  # fmt: skip
    if "json:/a" in template.parts:
        values["json:/a"] = parse_place("json:/a").find(sent) or ""
    return verifier.explain(sent, url).signed, [values.get(part, sent.body) for part in template.parts]


DOTS = (
    Request("post", (("x-id", "m"), ("x-a", ""), ("x-time", RFC3339), ("x-sign", "00")), (), "", "", b".."), CASE,
)  # fmt: skip
"""A request that would have the signed bytes of another one, if an id could end as it likes."""


@example(signed="{id}.{body}", one=DOTS, moved=1, other=DOTS)
@given(signed=parts, one=sent_requests, moved=st.integers(0, 60), other=sent_requests)
@settings(max_examples=count(200, 100_000), deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_two_different_requests_never_have_the_same_signed_bytes(signed, one, moved, other):
    """Check every template that is accepted. `moved` puts the first bytes of a body at the end of what precedes it."""
    given = {"timestamp": "header:x-time", "timestamp_format": "rfc3339"} if "{timestamp}" in signed else {}
    given |= {"id": "header:x-id"} if "{id}" in signed else {}
    given["allow_unsigned_body"] = "{body" not in signed
    try:
        declared = HmacSettings(kind="hmac", signature="header:x-sign", signed=signed, secret_files=["s"], **given)
    except ValueError:
        assume(False)
    verifier, template = make_hmac_signature(declared, [Credential("s", b"one")]), Template(signed)
    sent, url = one
    shifted = sent.body[: moved % (len(sent.body) + 1)].decode()
    rest = changed(sent, body=sent.body[len(shifted) :])
    candidates = [other]
    for name in ("x-id", "x-a", "x-time"):
        headers = tuple((each, value + shifted if each == name else value) for each, value in sent.headers)
        candidates.append((changed(rest, headers=headers), url))
    query = sent.query_string + shifted
    candidates.append((changed(rest, query_string=query), f"{CASE}?{query}" if query else CASE))
    first = signed_parts(verifier, template, sent, url)
    assume(first is not None)
    for each in candidates:
        second = signed_parts(verifier, template, *each)
        if second is not None and second[1] != first[1]:
            assert second[0] != first[0]

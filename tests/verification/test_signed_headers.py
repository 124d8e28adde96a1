"""Headers that a list names: the list and the time are in it, and the signed text has one meaning."""

import hmac
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from pydantic import ValidationError
from support.keys import P521, jwk, pem, segment
from support.verification import NOW, Clock, changed, profile_of, refused, request, sample_request, with_header

from callback_server.verification.providers import PROVIDERS

URL = "https://box.example/cb/1"
PUBLISHED = (
    "eyJhbGciOiJFUzUxMiIsImtpZCI6IjQ1ZmM3NWNmLTU2NDktNDEzNC04NGIzLTE5MmMyYzc4ZTk5MCIsInRsX3ZlcnNpb24iOiIyIiwidGxfaGVh"
    "ZGVycyI6IlgtVGwtV2ViaG9vay1UaW1lc3RhbXAsQ29udGVudC1UeXBlIiwiamt1IjoiaHR0cHM6Ly93ZWJob29rcy50cnVlbGF5ZXIuY29tLy53"
    "ZWxsLWtub3duL2p3a3MifQ..AB9S1dzZTmw0tofUjJNGO7Kt_jZsahPyIrBTdhfxBWOI3KoLALkMy6ka1MjpZQx06_hQUJnanu9K_LS6V9lNaNGi"
    "AX5Cos5RWQfbeBCZWqAvIpXO3FvIzyJKRaTYK8FBG4lfJYPi76_pIkCLGKWeq8__7ElpMVRcLTM5IBKWL8isVZn_"
)
"""https://github.com/TrueLayer/truelayer-signing/blob/main/test-resources/webhook-signature.txt"""
PUBLISHED_KEY = {
    "kty": "EC", "alg": "ES512", "kid": "45fc75cf-5649-4134-84b3-192c2c78e990", "crv": "P-521",
    "x": "oLuW4nFqoUuR8d7FVsUoI62libYdQlWGtLStnqdudLY92bQ0ra5eZAbkunrGTR9-w9mr4o2Etyb6pC7YB2-23WM",
    "y": "AX1cjkGMiltikPrkX49qwuJDdcETaTsj-kyFP8jsF9W5XAB3Z4tBiQtc72DQnJYeKyAV_T6qZTtFKFr-Tp4iu-j7",
}  # fmt: skip
"""The key beside it, in which a zero before a coordinate is left out."""


def published(timestamp="2021-11-29T11:42:55Z"):
    return request(
        ("Content-Type", "application/json"), ("X-Tl-webhook-Timestamp", timestamp), ("Tl-Signature", PUBLISHED),
        body=b'{"event_type":"example","event_id":"18b2842b-a57b-4887-a0a6-d3c7c36f1020"}',
    )  # fmt: skip


def test_the_webhook_that_truelayer_published_passes_with_its_key(tmp_path):
    clock, key = Clock(1_638_186_175), json.dumps({"keys": [PUBLISHED_KEY]})
    profile = profile_of(tmp_path, key, kind="provider:truelayer", clock=clock)
    url = "https://shop.example/tl-webhook"
    assert profile.verify(published(), url).message_id == "18b2842b-a57b-4887-a0a6-d3c7c36f1020"
    refused(profile, published(), f"{url}s")
    refused(profile, published("2021-11-29T11:42:56Z"), url)
    refused(profile, changed(published(), method="put"), url)
    refused(profile, with_header(published(), "Content-Type", "text/plain"), url)
    other = json.dumps({"keys": [jwk(P521, kid=PUBLISHED_KEY["kid"])]})
    refused(profile_of(tmp_path, other, kind="provider:truelayer", clock=clock), published(), url)
    clock.now += 301
    assert "too far in the past" in refused(profile, published(), url)


def test_a_jws_is_detached_and_has_the_header_of_the_profile(tmp_path):
    sample = PROVIDERS["truelayer"].sample
    sent = sample_request("truelayer")
    head, _, signature = dict(sent.headers)["tl-signature"].split(".")
    profile = profile_of(tmp_path, sample.secret, kind="provider:truelayer", clock=Clock(sample.time))

    def says(value):
        return refused(profile, with_header(sent, "tl-signature", value), sample.url)

    assert "payload of its own" in says(f"{head}.e30.{signature}")
    assert "alg of the JWS" in says(f"e30..{signature}")
    for value in (f"{head}.{signature}", f"{head}..{signature}.", f"{head}..{signature}=", f"{head}..", "", "a..b"):
        assert "not a JWS" in says(value)
    assert profile.verifier.explain(sent, sample.url).secret_file == "key_files[0]"


def jws(head, payload, key=P521):
    """Return a detached JWS by ES512, whatever its header says."""
    signed = f"{segment(head)}.{segment(payload)}".encode()
    numbers = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA512())))
    return f"{segment(head)}..{segment(b''.join(each.to_bytes(66) for each in numbers))}"


HEAD = {"alg": "ES512", "kid": "1", "tl_version": "2", "tl_headers": "T"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, None),
        ({"tl_version": "1"}, "lacks one of jws_header"),
        ({"alg": "ES256"}, "not that of the profile"),
        ({"crit": ["b64"], "b64": False}, "an extension"),
        ({"tl_headers": ""}, "is not one of the signed headers"),
        ({"tl_headers": None}, "is not one of the signed headers"),
        ({"tl_headers": "T,t"}, "cannot be read"),
        ({"tl_headers": "T, x"}, "cannot be read"),
        ({"tl_headers": "T,X-None"}, "x-none is missing"),
    ],
)
def test_the_header_of_a_jws_decides_no_more_than_the_profile_allows(tmp_path, changes, says):
    profile = profile_of(
        tmp_path, pem(P521), kind="public-key", algorithm="ecdsa-raw-sha512", signature="header:s",
        encoding="base64url", jws="detached", jws_header={"tl_version": "2"}, signed_headers="field:tl_headers",
        signed="{header-lines}{body}", timestamp="header:t",
    )  # fmt: skip
    head = {name: value for name, value in (HEAD | changes).items() if value is not None}
    sent = request(("t", str(NOW)), ("s", jws(head, f"T: {NOW}\n{{}}".encode())), body=b"{}")
    if says is None:
        profile.verify(sent, URL)
    else:
        assert says in refused(profile, sent, URL)


LISTED = {
    "kind": "hmac", "signature": "header:s", "signed_headers": "header:list", "timestamp": "header:t",
    "signed": "{target}\n{header-list}\n{body}",
}  # fmt: skip


def listed(text, *headers, query=(), body=b"body", target="/cb/1"):
    """Return a request with these headers, and the signature of its target, a text and its body."""
    signature = hmac.new(b"one", target.encode() + b"\n" + text.encode() + b"\n" + body, "sha256").hexdigest()
    return request(("t", str(NOW)), ("s", signature), *headers, query=query, body=body)


@pytest.fixture
def by_list(tmp_path):
    return profile_of(tmp_path, "one", **LISTED)


def test_the_headers_of_a_list_are_signed_in_its_order_with_its_names(by_list):
    by_list.verify(listed(f"list:list,t;t:{NOW}", ("list", "list,t")), URL)
    by_list.verify(listed(f"T:{NOW};list:T,list", ("list", "T,list")), URL)
    content_type = "application/json; charset=utf-8"
    text = f"list:list,t,content-type;t:{NOW};content-type:{content_type}"
    by_list.verify(listed(text, ("list", "list,t,content-type"), ("content-type", content_type)), URL)


@pytest.mark.parametrize(
    ("text", "headers", "says"),
    [
        ("list:list", [("list", "list")], "t is not one of the signed headers"),
        (f"t:{NOW}", [("list", "t")], "list is not one of the signed headers"),
        (f"list:list,t;t:{NOW}", [], "list is missing"),
        (f"list:list,t;t:{NOW}", [("list", "list,t"), ("list", "list,t")], "list occurs more than once"),
        (f"list:list,t,x;t:{NOW};x:a;y:b", [("list", "list,t,x"), ("x", "a;y:b")], "could be another header"),
        (f"list:list,t,t;t:{NOW};t:{NOW}", [("list", "list,t,t")], "cannot be read"),
        (f"list:list,t;t:{NOW}", [("list", "list,t,x"), ("x", "1")], "no signature is valid"),
    ],
)
def test_a_list_that_leaves_the_signed_text_open_is_refused(by_list, text, headers, says):
    assert says in refused(by_list, listed(text, *headers), URL)


def test_an_id_in_a_header_must_be_one_of_the_list(tmp_path):
    profile = profile_of(tmp_path, "one", **LISTED, id=["header:i", "none"])
    text = f"list:list,t,i;t:{NOW};i:5"
    assert profile.verify(listed(text, ("list", "list,t,i"), ("i", "5")), URL).message_id == "5"
    assert "i is not one of" in refused(profile, listed(f"list:list,t;t:{NOW}", ("list", "list,t"), ("i", "5")), URL)
    assert profile.verify(listed(f"list:list,t;t:{NOW}", ("list", "list,t")), URL).message_id == ""


def test_the_query_belongs_to_the_target_if_there_is_one(by_list):
    headers, text = ("list", "list,t"), f"list:list,t;t:{NOW}"
    plain, with_query = listed(text, headers), listed(text, headers, query=[("a", "1")], target="/cb/1?a=1")
    by_list.verify(with_query, f"{URL}?a=1")
    refused(by_list, changed(with_query, query=(), query_string=""), URL)
    refused(by_list, changed(with_query, query_string="a=1#&b=2"), f"{URL}?a=1#&b=2")
    refused(by_list, changed(plain, query=(("a", "1"),), query_string="a=1"), f"{URL}?a=1")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"signed_headers": "field:list"}, "header:NAME, or field:NAME with jws"),
        ({"signed_headers": "query:list"}, "header:NAME, or field:NAME with jws"),
        ({"signed_headers": None}, "need each other"),
        ({"signed": "{target}\n{body}"}, "need each other"),
        ({"signed": "{target}{header-list}\n{body}"}, "must follow {target}"),
        ({"signed": "{header-list}{body}"}, "must follow {header-list}"),
    ],
)
def test_settings_without_a_list_or_an_end_are_refused(tmp_path, changes, says):
    with pytest.raises(ValidationError, match=says):
        profile_of(tmp_path, "one", **LISTED | changes)

"""The correlation key of an event: where it stands, and what can be one."""

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callback_server.domain.call import Request
from callback_server.domain.endpoint import MAX_BODY_BYTES, Endpoint, is_correlation_key, parse_location

FORM = ("content-type", "application/x-www-form-urlencoded")


def key_of(request, *locations, segments=()):
    endpoint = Endpoint("psp", "orders", "psp", tuple(map(parse_location, locations)))
    return endpoint.correlation_key(request, segments)


def of_json(body, pointer="/id"):
    return key_of(Request("post", body=body.encode()), f"json:{pointer}")


@pytest.mark.parametrize(
    ("location", "request_", "segments"),
    [
        ("json:/data/object/id", Request("post", body=b'{"data": {"object": {"id": "tr_7"}}}'), ()),
        ("json:/a~1b/m~0n", Request("post", body=b'{"a/b": {"m~n": "tr_7"}}'), ()),
        ("json:/", Request("post", body=b'{"": "tr_7"}'), ()),
        ("json:/items/1/id", Request("post", body=b'{"items": [{"id": "tr_6"}, {"id": "tr_7"}]}'), ()),
        ("json:/1", Request("post", body=b'["tr_6", "tr_7"]'), ()),
        ("json:/1", Request("post", body=b'{"1": "tr_7"}'), ()),
        ("header:X-Payment", Request("post", (("X-PAYMENT", "tr_7"),)), ()),
        ("query:id", Request("get", query_string="a=1&id=tr%5F7"), ()),
        ("form:id", Request("post", (FORM,), body=b"a=1&id=tr%5F7"), ()),
        ("form-json:payload/actions/0/value",
         Request("post", (FORM,), body=urlencode({"payload": '{"actions": [{"value": "tr_7"}]}'}).encode()), ()),
        ("form:id", Request("post", (("content-type", "multipart/form-data; boundary=b"),),
         body=b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\ntr_7\r\n--b--\r\n'), ()),
        ("segment:1", Request("post"), ("tr%5F7", "more")),
        ("segment:2", Request("post"), ("first", "tr_7")),
    ],
)  # fmt: skip
def test_a_key_stands_in_any_part_of_a_request(location, request_, segments):
    assert key_of(request_, location, segments=segments) == "tr_7"
    assert str(parse_location(location)) == location.replace("X-Payment", "x-payment")


def test_the_first_location_that_has_a_key_counts():
    def found(body):
        request = Request("post", (("x-id", "from-header"),), body=body)
        return key_of(request, "json:/payment", "json:/payment/id", "header:x-id")

    assert found(b'{"payment": "tr_7"}') == "tr_7"
    assert found(b'{"payment": {"id": "tr_7"}}') == "tr_7"
    for none in (b"{}", b'{"payment": ""}', b'{"payment": null}', b'{"payment": 1.5}', b"", b"not JSON"):
        assert found(none) == "from-header"
    assert key_of(Request("post"), "json:/payment", "header:x-id") == ""


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("7", "7"),
        ('"7"', "7"),
        ('"07"', "07"),
        ("-7", "-7"),
        ("0", "0"),
        (str(2**53), str(2**53)),
        (str(-(2**53)), str(-(2**53))),
        (f'"{2**53 + 1}"', str(2**53 + 1)),
        ('" 7 "', " 7 "),
        ('"\\u0037"', "7"),
        ('"ABC"', "ABC"),
        # what is no key
        ("07", ""),
        ("7.0", ""),
        ("7e0", ""),
        (str(2**53 + 1), ""),
        (str(-(2**53) - 1), ""),
        ("1" * 5000, ""),
        ("true", ""),
        ("false", ""),
        ("null", ""),
        ("[7]", ""),
        ("[]", ""),
        ('{"id": 7}', ""),
        ("{}", ""),
        ("NaN", ""),
        ('""', ""),
        ('"\\ud800"', ""),
        ('"7', ""),
    ],
)
def test_text_and_whole_numbers_of_json_are_keys_and_nothing_else_is(value, key):
    assert of_json(f'{{"id": {value}}}') == key


def test_unicode_forms_are_different_keys():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for key in (composed, decomposed):
        assert of_json(json.dumps({"id": key})) == key  # as \u00e9
        assert of_json(json.dumps({"id": key}, ensure_ascii=False)) == key
        as_header = key.encode().decode("latin-1")  # as an edge hands it over
        assert key_of(Request("post", (("x-id", as_header),)), "header:x-id") == key
        assert key_of(Request("get", query_string=f"id={quote(key)}"), "query:id") == key
        assert key_of(Request("post"), "segment:1", segments=[quote(key)]) == key
    assert of_json('{"id": "\\ud83d\\ude00"}') == "\U0001f600"


def test_bytes_that_are_not_utf_8_are_no_key():
    assert key_of(Request("post", (("x-id", "\xff"),)), "header:x-id") == ""
    assert key_of(Request("post", (("x-id", "\u0100"),)), "header:x-id") == ""
    assert key_of(Request("get", query_string="id=%FF"), "query:id") == ""
    assert key_of(Request("post", (FORM,), body=b"id=%ff"), "form:id") == ""
    assert key_of(Request("post"), "segment:1", segments=["%ff"]) == ""
    assert key_of(Request("post", body=b'{"id": "\xff"}'), "json:/id") == ""


@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f600"])
def test_a_key_has_at_most_200_bytes(character):
    longest = character * (200 // len(character.encode()))
    for key, expected in ((longest, longest), (longest + "x", "")):
        assert of_json(json.dumps({"id": key})) == expected
        assert key_of(Request("get", query_string=f"id={quote(key)}"), "query:id") == expected
        assert key_of(Request("post"), "segment:1", segments=[quote(key)]) == expected
        assert is_correlation_key(key) is bool(expected)
    assert not is_correlation_key("")
    assert not is_correlation_key("\ud800")


@pytest.mark.parametrize(
    ("location", "request_"),
    [
        ("json:/id", Request("post", body=b'{"id": "tr_7", "id": "tr_7"}')),
        ("json:/id", Request("post", body=b'{"id": "tr_7", "\\u0069d": "tr_8"}')),
        ("json:/data/id", Request("post", body=b'{"data": {"id": "tr_7"}, "data": {}}')),
        ("json:/0/id", Request("post", body=b'[{"id": "tr_7", "id": "tr_7"}]')),
        ("header:x-id", Request("post", (("x-id", "tr_7"), ("X-Id", "tr_7")))),
        ("query:id", Request("get", query_string="id=tr_7&%69d=tr_7")),
        ("form:id", Request("post", (FORM,), body=b"id=tr_7&id=")),
        ("form-json:payload/id", Request("post", (FORM,), body=b"payload=%7B%22id%22%3A7%7D&payload=")),
        ("form-json:payload/id", Request("post", (FORM,), body=b"payload=%7B%22id%22%3A7%2C%22id%22%3A7%7D")),
        ("form:id", Request("post", (FORM, FORM), body=b"id=tr_7")),
    ],
)
def test_what_is_given_twice_is_no_key(location, request_):
    assert key_of(request_, location) == ""


def test_a_member_that_is_given_twice_elsewhere_does_not_matter():
    assert of_json('{"a": 1, "a": 2, "id": "tr_7"}') == "tr_7"


@pytest.mark.parametrize("pointer", ["/id/0", "/id/x", "/items/01", "/items/-", "/items/-1", "/items/2", "/items/1e0"])
def test_a_pointer_that_leads_nowhere_finds_no_key(pointer):
    assert of_json('{"id": "tr_7", "items": ["a", "b"]}', pointer) == ""


def test_a_body_of_another_type_is_no_form():
    assert key_of(Request("post", (("content-type", "text/plain"),), body=b"id=tr_7"), "form:id") == ""
    assert key_of(Request("post", body=b"id=tr_7"), "form:id") == ""


def test_deep_and_huge_bodies_have_no_key():
    assert of_json('{"id": "tr_7", "deep": ' + "[" * 100_000 + "]" * 100_000 + "}") == ""
    largest = '{"id": "tr_7", "x": "%s"}' % ("x" * (MAX_BODY_BYTES - 23))
    assert len(largest) == MAX_BODY_BYTES
    assert of_json(largest) == "tr_7"
    assert of_json(f"{largest} ") == ""
    assert key_of(Request("post", (FORM,), body=b"id=tr_7" + b"&a=1" * 1000), "form:id") == ""
    assert key_of(Request("post", (FORM,), body=b"id=tr_7&a=" + b"x" * MAX_BODY_BYTES), "form:id") == ""


@given(st.text(max_size=210))
def test_a_key_is_the_same_in_each_part_of_a_request(key):
    try:
        quoted = quote(key, safe="")
    except UnicodeEncodeError:
        assert of_json(json.dumps({"id": key})) == ""
        assert not is_correlation_key(key)
        return
    expected = key if is_correlation_key(key) else ""
    assert of_json(json.dumps({"id": key})) == expected
    assert key_of(Request("get", query_string=f"id={quoted}"), "query:id") == expected
    assert key_of(Request("post"), "segment:1", segments=[quoted]) == expected


@given(st.binary(max_size=60))
def test_any_bytes_have_a_key_or_none(data):
    request = Request("post", (FORM, ("x-id", data.decode("latin-1"))), body=data)
    for location in ("json:/id", "form:id", "form-json:payload/id", "header:x-id"):
        key = key_of(request, location)
        assert key == "" or is_correlation_key(key)


@pytest.mark.parametrize(
    "text",
    ["", "id", "json:", "json:id", "json:/a~2", "json:" + "/a" * 21, "json:/" + "a" * 200, "header:", "header:a b",
     "query:", "form:\n", "form-json:payload", "form-json:/id", "segment:0", "segment:11", "segment:01", "body:/id"],
)  # fmt: skip
def test_a_location_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="must be json:/POINTER, header:NAME"):
        parse_location(text)

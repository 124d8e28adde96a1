"""Responses: the override of a handler, the rules between attributes, and the answer that results."""

import pytest
from msgspec.structs import replace

from callback_server.domain.response import (
    FIELDS,
    MAX_HEADERS_BYTES,
    Response,
    ResponseType,
    complete,
    masked_overlay,
    overlay,
    problems,
)

PLATFORM = "https://shop.example"
BASE = Response(
    ResponseType.RESPONSE, "/page", 201, (("x-a", "1"),), b"body", "heading", "text", "label", "/link", "nl"
)
"""A response with a value of every attribute."""
NONE = Response()
REDIRECT = Response(ResponseType.REDIRECT, "/page")
PAGE = Response(ResponseType.PAGE, heading="heading")


def test_an_override_replaces_the_attributes_that_it_gives():
    assert overlay(BASE, NONE) == BASE
    override = Response(code=202, headers=())
    assert overlay(BASE, override) == replace(BASE, code=202, headers=())
    assert overlay(NONE, BASE) == BASE


@pytest.mark.parametrize("name", FIELDS)
def test_a_mask_sets_its_attributes_and_resets_those_without_a_value(name):
    given = masked_overlay(NONE, BASE, [name])
    assert [getattr(given, FIELDS[each]) is not None for each in FIELDS] == [each == name for each in FIELDS]
    assert getattr(masked_overlay(BASE, NONE, [name]), FIELDS[name]) is None


def test_every_attribute_has_its_name_in_the_contract():
    assert sorted(FIELDS.values()) == sorted(Response.__struct_fields__)


@pytest.mark.parametrize(
    ("response", "platform_url", "must_be_complete", "broken"),
    [
        (BASE, PLATFORM, True, []),
        (NONE, PLATFORM, True, ["response_type"]),
        (REDIRECT, PLATFORM, True, []),
        (REDIRECT, None, True, ["response_redirect_url"]),
        (PAGE, None, True, []),
        (Response(ResponseType.PAGE), None, True, ["response_heading"]),
        (Response(ResponseType.PAGE), None, False, []),
        (replace(PAGE, link_label="Shop"), None, True, ["response_link_url"]),
        (replace(PAGE, link_url="https://shop.example"), None, False, ["response_link_label"]),
        (replace(PAGE, link_label="", link_url="https://shop.example"), None, True, []),
        (replace(PAGE, link_label="Shop", link_url="/shop"), None, True, ["response_link_url"]),
        (replace(PAGE, link_label="Shop", link_url="/shop"), PLATFORM, True, []),
        (Response(ResponseType.REDIRECT), PLATFORM, True, ["response_redirect_url"]),
        (Response(ResponseType.REDIRECT), PLATFORM, False, []),
        (Response(ResponseType.REDIRECT, "https://shop.example"), None, True, []),
        (Response(ResponseType.RESPONSE, headers=(("a", "x" * (MAX_HEADERS_BYTES - 1)),)), None, True, []),
        (Response(ResponseType.RESPONSE, headers=(("a", "x" * MAX_HEADERS_BYTES),)), None, True, ["response_headers"]),
    ],
)  # fmt: skip
def test_the_rules_between_attributes(response, platform_url, must_be_complete, broken):
    found = problems(response, platform_url=platform_url, must_be_complete=must_be_complete)
    assert [violation.field for violation in found] == broken


@pytest.mark.parametrize("field", ["redirect_url", "link_url"])
def test_a_target_has_a_scheme_of_the_web_or_one_that_the_operator_lists(field):
    def found(url):
        response = replace(PAGE, **{"link_label": "Open", "link_url": "https://a.example", field: url})
        return problems(response, platform_url=None, redirect_schemes=["shopapp"], must_be_complete=True)

    for url in ("shopapp://paid?id=5", "ShopApp:paid", "HTTPS://shop.example"):
        assert found(url) == []
    (violation,) = found("otherapp://paid")
    assert (violation.field, violation.rule) == (f"response_{field}", "redirect_schemes")


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (BASE, Response(ResponseType.RESPONSE, None, 201, (("x-a", "1"),), b"body")),
        (replace(BASE, type=ResponseType.PAGE),
         Response(ResponseType.PAGE, None, 201, None, None, "heading", "text", "label", f"{PLATFORM}/link", "nl")),
        (replace(PAGE, link_label="", link_url="https://a.example"),
         Response(ResponseType.PAGE, code=200, heading="heading", text="")),
        (Response(ResponseType.RESPONSE), Response(ResponseType.RESPONSE, None, 200, (), b"")),
        (Response(ResponseType.RESPONSE, code=204, body=b"x"), Response(ResponseType.RESPONSE, None, 204, (), b"")),
        (REDIRECT, Response(ResponseType.REDIRECT, f"{PLATFORM}/page")),
        (Response(ResponseType.REDIRECT, "https://a.example", 201, body=b"x"),
         Response(ResponseType.REDIRECT, "https://a.example")),
    ],
)  # fmt: skip
def test_an_answer_is_complete_and_has_only_what_its_type_uses(response, answer):
    assert complete(response, platform_url=PLATFORM) == answer

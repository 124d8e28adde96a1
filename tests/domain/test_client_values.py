"""Values are immutable, validate their types, and keep secrets out of their repr."""

import copy
import dataclasses
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clients import CASE, STATE

from callback import Headers, IncomingCall, PageResponse, Pairs, Query, Redirect, Response, ResponseType
from callback._converters import response_from_proto, response_to_proto

TEXT = st.text(max_size=8)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=6)
ATTRIBUTES = [each.name for each in dataclasses.fields(Response)]
SAMPLES = {"body": b"body", "code": 201, "headers": Headers([("x", "1")]), "type": ResponseType.RESPONSE}
"""Values of the attributes that are not text."""


def test_a_name_gives_its_first_value_and_get_all_every_value():
    query = Query([("id", "5"), ("status", "ok"), ("id", "6")])
    assert (query["id"], query.get("id"), query.get_all("id")) == ("5", "5", ("5", "6"))
    assert (query.get("ID"), query.get_all("ID"), "ID" in query, 5 in query) == (None, (), False, False)
    assert (list(query), len(query), dict(query)) == (["id", "status"], 2, {"id": "5", "status": "ok"})
    with pytest.raises(KeyError):
        query["ID"]


def test_the_json_view_is_flat_and_a_repeated_name_becomes_a_list():
    assert Query([("id", "5"), ("status", "ok")]).as_json() == {"id": "5", "status": "ok"}
    assert Query([("a", "1"), ("b", ""), ("a", "1")]).as_json() == {"a": ["1", "1"], "b": ""}
    assert Query().as_json() == {}


def test_header_names_are_case_insensitive():
    headers = Headers([("Content-Type", "text/plain"), ("X-A", "1"), ("x-a", "2")])
    assert (headers["content-type"], headers.get_all("X-a")) == ("text/plain", ("1", "2"))
    assert "CONTENT-TYPE" in headers
    assert headers.as_json() == {"Content-Type": "text/plain", "X-A": ["1", "2"]}
    assert headers == Headers({"content-type": "text/plain", "x-a": ["1", "2"]})
    assert hash(headers) == hash(Headers([headers.pairs[0], ("X-A", "1"), ("X-A", "2")]))
    assert headers != Headers([("content-type", "text/plain")])
    assert headers != Query(headers.pairs)


def test_a_response_can_be_created_from_json_and_html():
    assert Response.json({"é": [1, None]}, code=201, headers={"x-a": "1"}) == Response(
        b'{"\\u00e9": [1, null]}', code=201, headers=[("content-type", "application/json"), ("x-a", "1")]
    )
    assert Response.html("<p>é") == Response("<p>é".encode(), headers={"content-type": "text/html; charset=utf-8"})
    with pytest.raises(TypeError):
        Response.json(b"bytes")
    for number in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="JSON"):
            Response.json({"a": [number]})


@given(PAIRS)
def test_no_pair_is_lost_or_moved(pairs):
    for kind in (Pairs, Headers, Query):
        made = kind(iter(pairs))
        assert list(made.pairs) == pairs
        assert sum(len(made.get_all(name)) for name in made) == len(pairs)
        assert kind(made) == made
        assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made


@pytest.mark.parametrize("pairs", [{"x-count": 3}, {"x": b"1"}, {"x": ["1", 2]}, [(b"x", "1")], {"x": None}])
def test_names_and_values_that_are_not_text_are_refused(pairs):
    with pytest.raises(TypeError, match="names and values must be text"):
        Headers(pairs)


ALMOST = [("body", bytearray(b"x")), ("code", "200"), ("code", True), ("redirect_url", b"/x"), ("type", "REDIRECT")]
"""Values that are almost of the right type."""


@pytest.mark.parametrize(("attribute", "value"), [*((attribute, object()) for attribute in ATTRIBUTES), *ALMOST])
def test_a_response_names_the_attribute_of_the_wrong_type(attribute, value):
    with pytest.raises(TypeError, match="not iterable" if attribute == "headers" else f"{attribute} must be "):
        Response(**{attribute: value})


@pytest.mark.parametrize("kind", [Response, Redirect, PageResponse])
def test_each_kind_of_response_keeps_each_attribute(kind):
    values = {name: SAMPLES.get(name, name) for name in ATTRIBUTES}
    made = kind(**values)
    assert {name: getattr(made, name) for name in ATTRIBUTES} == values


def test_text_becomes_bytes_in_utf_8():
    assert Response("één").body == "één".encode()


def test_a_redirect_is_a_response_of_that_type():
    redirect = Redirect("/page/thankyou")
    assert redirect == Response(type=ResponseType.REDIRECT, redirect_url="/page/thankyou")
    assert hash(redirect) == hash(Response(type=ResponseType.REDIRECT, redirect_url="/page/thankyou"))
    assert redirect != Response(redirect_url="/page/thankyou")
    assert redirect != "/page/thankyou"


def test_a_page_is_a_response_of_that_type():
    page = PageResponse("Thank you", "Order 5", "Shop", "/shop", 201)
    assert page == Response(
        type=ResponseType.PAGE, code=201, heading="Thank you", text="Order 5", link_label="Shop", link_url="/shop"
    )
    assert dataclasses.replace(page, text="Order 6") == PageResponse("Thank you", "Order 6", "Shop", "/shop", 201)
    assert page != PageResponse("Thank you", "Order 5", "Shop", "/shop")


def test_an_attribute_is_given_by_position_or_by_name():
    assert Redirect("/a") == Redirect(redirect_url="/a")
    with pytest.raises(TypeError, match="redirect_url is given by position and by name"):
        Redirect("/a", redirect_url="/b")
    with pytest.raises(TypeError, match="text is given by position and by name"):
        PageResponse("heading", "text", text="other")


def test_values_are_immutable_and_work_with_replace_and_matching():
    redirect = Redirect("/x", headers={"x-a": "1"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        redirect.code = 404
    assert dataclasses.replace(redirect, body=b"x") == Redirect("/x", body=b"x", headers={"x-a": "1"})
    assert pickle.loads(pickle.dumps(redirect)) == redirect
    call = IncomingCall(activity="order-paid", response=redirect, labels={"a": "1"})
    assert dataclasses.asdict(call)["labels"] == {"a": "1"}
    assert len({call, dataclasses.replace(call)}) == 1


@given(
    body=st.none() | st.binary(max_size=8),
    code=st.none() | st.integers(0, 999),
    headers=st.none() | PAIRS,
    redirect_url=st.none() | TEXT,
    heading=st.none() | TEXT,
    text=st.none() | TEXT,
    link_label=st.none() | TEXT,
    link_url=st.none() | TEXT,
    type=st.none() | st.sampled_from(ResponseType),
)
def test_a_response_comes_back_as_it_was_sent(**attributes):
    response = Response(**attributes)
    assert response_from_proto(response_to_proto(response)) == response


def test_json_and_form_read_the_body():
    assert IncomingCall(activity="a", body=b'{"id": 5}').json() == {"id": 5}
    with pytest.raises(ValueError, match="the body is not JSON"):
        IncomingCall(activity="a", body=b"id=5").json()
    form = IncomingCall(activity="a", body=b"id=5&id=6&empty=&naam=%C3%A9%C3%A9n+twee&bad=%ff\xff").form()
    assert form.as_json() == {"id": ["5", "6"], "empty": "", "naam": "één twee", "bad": "��"}


def test_a_repr_omits_possible_secrets():
    call = IncomingCall(
        call_id="the-call",
        case_id=CASE,
        activity="order-paid",
        query=Query({"state": STATE}),
        query_string=f"state={STATE}",
        body=STATE.encode(),
        headers=Headers({"authorization": STATE}),
        response=Response(STATE, headers={"set-cookie": STATE}),
    )
    assert STATE not in repr(call)
    assert "the-call" in repr(call)

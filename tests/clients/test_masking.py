"""States and credentials in a recorded call are masked everywhere, and everything else is unchanged."""

import dataclasses
import re
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clients import CALL, CASE, STATE

from callback import Call, CallStatus, Delivery, DeliveryStatus, Headers, Query, Response, masking
from callback.masking import masked, masked_response

OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e"
FORM = Headers({"content-type": "application/x-www-form-urlencoded; charset=utf-8"})


def a_call(**values):
    return Call(call_id=CALL, case_id=CASE, status=CallStatus.SUCCEEDED, **values)


def test_only_the_state_in_a_query_is_masked():
    call = masked(
        a_call(query=Query([("id", OTHER), ("shop", STATE)]), query_string=f"id={OTHER}&shop={STATE}&x"), "shop"
    )
    assert call.query == Query([("id", OTHER), ("shop", "***")])
    assert call.query_string == f"id={OTHER}&shop=***&x"


def test_the_state_is_masked_in_a_delivery():
    delivery = Delivery(
        status=DeliveryStatus.DEAD,
        failure_detail=f"{STATE} is not known",
        response=Response(f"see {STATE}", headers={"set-cookie": "hunter2"}),
    )
    call = masked(a_call(query=Query([("shop", STATE)]), delivery=delivery), "shop")
    assert call.delivery.failure_detail == "*** is not known"
    assert call.delivery.response == Response("see ***", headers={"set-cookie": "***"})


def test_the_state_in_a_form_is_masked():
    call = masked(a_call(headers=FORM, body=f"order=PHM%2B&shop={STATE}&x=1".encode()), "shop")
    assert call.body == b"order=PHM%2B&shop=***&x=1"


@pytest.mark.parametrize("spelled", [STATE.replace("-", "%2D"), STATE.replace("3", "%33", 1)])
def test_an_encoded_state_and_an_encoded_name_are_masked(spelled):
    query = Query([("st.ate", STATE)])
    assert masked(a_call(query=query, query_string=f"st%2Eate={spelled}"), "st.ate").query_string == "st%2Eate=***"
    form = a_call(headers=FORM, body=f"a=\xff&st%2Eate={spelled}".encode("latin-1"))
    assert masked(form, "st.ate").body == b"a=\xff&st%2Eate=***"


def test_every_other_occurrence_of_the_state_is_masked():
    call = masked(
        a_call(
            query=Query([("state", STATE), ("copy", f"<{STATE}>")]),
            query_string=f"state={STATE}&copy=<{STATE}>",
            headers=Headers({"referer": f"https://pay.example/?s={STATE}"}),
            body=b"\xff" + STATE.encode(),
            response=Response(
                f"thanks {STATE}", headers={"x-state": STATE}, redirect_url=f"https://pay.example/{STATE}"
            ),
        ),
        "state",
    )
    assert call.query["copy"] == "<***>"
    assert call.query_string == "state=***&copy=<***>"
    assert call.headers["referer"] == "https://pay.example/?s=***"
    assert call.body == b"\xff***"
    assert call.response == Response("thanks ***", headers={"x-state": "***"}, redirect_url="https://pay.example/***")


def test_every_occurrence_of_a_state_from_a_form_is_masked():
    headers = Headers([*FORM.pairs, ("x-state", STATE)])
    call = masked(a_call(headers=headers, body=f"state={STATE}".encode(), response=Response(STATE)), "state")
    assert call.headers["x-state"] == "***"
    assert call.response == Response("***")


def test_a_state_in_a_path_is_masked():
    call = masked(
        a_call(
            headers=Headers({"referer": f"https://pay.example/cb/{STATE}?x=1"}),
            query=Query({"back": f"https://pay.example/cb/{STATE}"}),
            query_string=f"back=https%3A%2F%2Fpay.example%2Fcb%2F{STATE}",
        ),
        "",
    )
    assert call.headers["referer"] == "https://pay.example/cb/***?x=1"
    assert call.query["back"] == "https://pay.example/cb/***"
    assert call.query_string == "back=https%3A%2F%2Fpay.example%2Fcb%2F***"


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "Proxy-Authorization", "cookie", "set-cookie", "x-api-key", "apikey", "x-auth-token",
        "x-gitlab-token", "x-telegram-bot-api-secret-token", "x-password", "x-amz-security-token", "stripe-signature",
        "x-hub-signature-256", "x-shop-signature", "x-session-id", "x-private-key", "x-credential",
    ],
)  # fmt: skip
def test_header_fields_that_carry_a_credential_are_masked(name):
    headers = Headers([(name, "hunter2"), (name, "hunter3")])
    call = masked(a_call(headers=headers, response=Response(headers=headers)), "")
    assert call.headers.pairs == call.response.headers.pairs == ((name, "***"), (name, "***"))


@pytest.mark.parametrize("name", ["content-type", "user-agent", "x-request-id", "idempotency-key", "webhook-id"])
def test_other_header_fields_are_not_masked(name):
    assert masked(a_call(headers=Headers({name: OTHER})), "").headers[name] == OTHER


PARAMETERS = (
    "state", "code", "token", "access_token", "id_token", "refresh_token", "signature", "sig", "secret",
    "client_secret", "password", "user[password]", "pwd", "key", "api_key", "apiKey", "SAMLResponse",
    "RelayState", "assertion", "CODE",
)  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_that_carry_a_credential_are_masked_in_queries_forms_and_urls(name):
    url = f"https://a.example/x?a=1&{name}=hunter2#b"
    call = masked(
        a_call(
            headers=Headers([*FORM.pairs, ("referer", url)]),
            query=Query({name: "hunter2", "back": url}),
            query_string=f"a=1&{name}=hunter2&{name}=&back=https%3A%2F%2Fa.example%3Fb%26{name}%3Dhunter2%26c%3D1",
            body=f"{name}=hunter2&a=1".encode(),
            response=Response(
                url, headers={"location": url}, redirect_url=url, heading=url, text=url, link_label=url, link_url=url
            ),
            failure_detail=url,
        ),
        "",
    )
    hidden = f"https://a.example/x?a=1&{name}=***#b"
    assert call.query == Query({name: "***", "back": hidden})
    assert call.query_string == (f"a=1&{name}=***&{name}=***&back=https%3A%2F%2Fa.example%3Fb%26{name}%3D***%26c%3D1")
    assert call.body == f"{name}=***&a=1".encode()
    assert call.headers["referer"] == call.failure_detail == hidden
    assert call.response == Response(
        hidden,
        headers={"location": hidden},
        redirect_url=hidden,
        heading=hidden,
        text=hidden,
        link_label=hidden,
        link_url=hidden,
    )


@pytest.mark.parametrize("name", ["status_code", "country", "keyword", "id", "statement", "design", "monkey", "trxid"])
def test_other_parameters_are_not_masked(name):
    call = a_call(
        headers=FORM,
        query=Query({name: "7", "back": f"https://a.example/?{name}=7"}),
        query_string=f"{name}=7&back=https%3A%2F%2Fa.example%3F{name}%3D7",
        body=f"{name}=7".encode(),
    )
    assert masked(call, "") == call


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("https://me:hunter2@a.example/x", "https://***@a.example/x"),
        ("<redis://:hunter2@a.example>", "<redis://***@a.example>"),
        ("https://hunter2@a.example", "https://***@a.example"),
        ("https%3A%2F%2Fme%3Ahunter2%40a.example", "https%3A%2F%2F***%40a.example"),
        ("https%253A%252F%252Fme:hunter2%2540a.example", "https%253A%252F%252F***%2540a.example"),
        ("https://a.example/@me", "https://a.example/@me"),
        ("https://a.example?mail=me@a.example", "https://a.example?mail=me@a.example"),
    ],
)
def test_user_and_password_in_a_url_are_masked(url, hidden):
    call = masked(a_call(query_string=f"u={url}", body=url.encode(), response=Response(redirect_url=url)), "")
    assert call.query_string == f"u={hidden}"
    assert call.body == hidden.encode()
    assert call.response == Response(redirect_url=hidden)


def all_encoded(text):
    return "".join(f"%{ord(each):02X}" for each in text)


@pytest.mark.parametrize(
    "spelled", [STATE.upper(), STATE.replace("-", "%2D"), STATE.replace("3", "%33"), all_encoded(STATE),
                all_encoded(STATE).replace("%", "%25"), all_encoded(STATE).replace("%", "%2525")],
)  # fmt: skip
def test_a_state_is_masked_in_every_encoding(spelled):
    call = masked(
        a_call(
            query=Query({"shop": STATE}),
            query_string=f"shop={STATE}&back=/x/{spelled}/",
            headers=Headers({"referer": f"https://a.example/cb/{spelled}?x", "x-encoded": f"%2F%63b%2F{spelled}"}),
        ),
        "shop",
    )
    assert call.query_string == "shop=***&back=/x/***/"
    assert call.headers == Headers({"referer": "https://a.example/cb/***?x", "x-encoded": "%2F%63b%2F***"})
    alone = masked(a_call(headers=Headers({"referer": f"https://a.example/cb/{spelled}?x"})), "")
    assert alone.headers["referer"] == "https://a.example/cb/***?x"


def names_no_secret(text):
    return not any(masking.CREDENTIAL.search(unquote_plus(piece)) for piece in re.split("[&=]", text))


TEXT = st.text(max_size=8).filter(names_no_secret)  # some are texts of the code, such as "SECRET"


@given(
    body=st.binary().filter(lambda body: names_no_secret(body.decode("latin-1"))),
    is_form=st.booleans(),
    query=st.lists(st.tuples(TEXT, TEXT), max_size=4),
    query_string=TEXT,
    value=st.text(st.characters(max_codepoint=255), max_size=8),
)
def test_a_call_without_secrets_is_unchanged(body, is_form, query, query_string, value):
    headers = Headers([*(FORM.pairs if is_form else ()), ("x-a", value)])
    call = a_call(headers=headers, body=body, query=Query(query), query_string=query_string, response=Response(body))
    assert masked(call, "") == call
    assert masked(call, "no-such-parameter") == call


def test_a_short_value_is_masked_only_in_its_parameter():
    call = masked(a_call(query=Query({"state": "a", "x": "banana"}), query_string="state=a&x=banana"), "state")
    assert call.query == Query({"state": "***", "x": "banana"})
    assert call.query_string == "state=***&x=banana"


@pytest.mark.parametrize(
    "name", [each.name for each in dataclasses.fields(Response) if each.name not in {"code", "type"}]
)
def test_each_attribute_of_a_response_that_can_hold_a_text_is_masked(name):
    url = "https://user:hunter2@shop.example"
    value = {"x-a": url} if name == "headers" else url
    assert "hunter2" not in str(masked_response(Response(**{name: value})).to_dict(reveal_secrets=True))

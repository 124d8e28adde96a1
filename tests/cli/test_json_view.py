"""JSON output has the names of the contract and no others."""

import base64
import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clients import CALL, CREATED, call_message, callback_message, timestamp

from callback import Headers, Response, ResponseType
from callback._converters import call_event_from_proto, call_from_proto, callback_from_proto
from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages
from callback_cli import json_view


def names_of(message):
    return {field.json_name for field in message.DESCRIPTOR.fields}


def test_the_names_are_exactly_those_of_the_contract():
    response = resources.Response(
        response_type=resources.RESPONSE_TYPE_RESPONSE,
        response_redirect_url="/",
        response_body=b"ok",
        response_code=200,
        response_headers=resources.ResponseHeaders(),
        response_heading="Thank you",
        response_text="",
        response_link_label="Shop",
        response_link_url="/",
    )
    callback = callback_message(
        response=response,
        close_reason=resources.CLOSE_REASON_CONSUMED,
        expire_time=timestamp(CREATED),
        close_time=timestamp(CREATED),
        answer_deadline=timedelta(seconds=1),
        fallback=response,
        prompt=resources.Prompt(title="Approve?"),
        closed_response=response,
        hold_time=timedelta(hours=1),
        resolved=True,
    )
    delivery = resources.Delivery(
        status=resources.DELIVERY_STATUS_PENDING,
        next_attempt_time=timestamp(CREATED),
        failure=resources.CALL_FAILURE_HANDLER_ERROR,
        response=response,
    )
    call = call_message(response=response, failure=resources.CALL_FAILURE_HANDLER_ERROR, delivery=delivery)
    event = messages.CallEvent(
        call_id=CALL,
        close_reason=resources.CLOSE_REASON_CONSUMED,
        call_status=resources.CALL_STATUS_SUCCEEDED,
        delivery_status=resources.DELIVERY_STATUS_PENDING,
        resume_token="2:x",
        reason=resources.CALL_REASON_CALL,
    )
    assert set(json_view.callback(callback_from_proto(callback))) == names_of(callback)
    assert set(json_view.call(call_from_proto(call))) == names_of(call)
    assert set(json_view.call(call_from_proto(call))["response"]) == names_of(response)
    assert set(json_view.call(call_from_proto(call))["delivery"]) == names_of(delivery)
    assert set(json_view.event(call_event_from_proto(event))) == names_of(event)


@given(st.binary())
def test_a_body_is_printed_byte_for_byte(body):
    view = json.loads(json_view.dumps(json_view.response(Response(body))))
    [name] = view.keys() - {"responseType"}
    if name == "responseBody":
        assert view[name].encode() == body
    else:
        assert name == "responseBodyBase64"
        assert base64.b64decode(view[name]) == body
        with pytest.raises(UnicodeDecodeError):
            body.decode()


def test_a_call_with_a_body_that_is_not_text_has_it_in_base64():
    call = call_from_proto(call_message(request_body=b"\xff\x00", request_body_size=2))
    view = json_view.call(call)
    assert "requestBody" not in view
    assert view["requestBodyBase64"] == "/wA="


def test_an_empty_body_differs_from_one_that_is_not_recorded():
    empty = call_from_proto(call_message(request_body=b"", request_body_size=0))
    assert json_view.call(empty)["requestBody"] == ""
    left_out = call_from_proto(call_message(request_body=b"", request_body_size=5))
    assert "requestBody" not in json_view.call(left_out)


def test_a_list_omits_bodies():
    response = resources.Response(response_type=resources.RESPONSE_TYPE_RESPONSE, response_body=b"", response_code=200)
    call = call_from_proto(call_message(request_body=b"", request_body_size=5, response=response))
    listed = json_view.listed_call(call)
    assert "requestBody" not in listed
    assert listed["response"] == {"responseType": "RESPONSE", "responseCode": 200}
    assert json_view.call(call)["response"]["responseBody"] == ""


def test_response_headers_are_flat():
    response = Response(headers=[("Content-Type", "text/plain"), ("Set-Cookie", "a"), ("set-cookie", "b")])
    assert json_view.response(response) == {
        "responseType": "RESPONSE",
        "responseHeaders": {"Content-Type": "text/plain", "Set-Cookie": ["a", "b"]},
    }
    assert json_view.response(Response(headers=Headers(), type=ResponseType.REDIRECT)) == {
        "responseType": "REDIRECT",
        "responseHeaders": {},
    }


@given(st.text())
def test_the_output_is_always_ascii(text):
    output = json_view.dumps({"requestBody": text})
    assert output.replace("\n", "").isprintable()
    assert output.isascii()
    assert json.loads(output) == {"requestBody": text}

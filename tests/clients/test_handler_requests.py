"""`verify_handler_request`: the call in a request to an HTTP handler, and the requests that are refused."""

from datetime import UTC, datetime, timedelta

import pytest
from support.http_handlers import CALL_ID as ID
from support.http_handlers import OTHER_SECRET, SECRET, HttpHandlerServer, http_activity, signed, unsigned
from support.services import running_services

from callback import CallReason, IncomingCall, Notification, UnverifiedRequestError, verify_handler_request


def test_a_signed_request_has_its_call():
    call = verify_handler_request(SECRET, signed(), b"paid")
    assert isinstance(call, IncomingCall)
    assert (call.call_id, call.case_id, call.activity, call.attempt) == (ID, ID[:32], "act", 2)
    assert (call.method, call.body, call.headers["content-type"]) == ("put", b"paid", "text/x")
    assert call.query.pairs == (("status", "paid"), ("id", "5"), ("id", "6"))
    assert (call.verified, call.verification_profile, call.traceparent) == (True, "hub", "00-a-b-01")
    assert timedelta(seconds=5) < call.deadline - datetime.now(UTC) <= timedelta(seconds=8)


def test_a_notification_has_no_request():
    told = verify_handler_request(SECRET, signed(b"", reason="EXPIRY"), b"")
    assert (type(told), told.reason, told.call_id) == (Notification, CallReason.EXPIRY, ID)


def test_one_of_several_secrets_is_enough():
    assert verify_handler_request([OTHER_SECRET, f"{SECRET}\n"], signed(), b"paid").call_id == ID


@pytest.mark.parametrize("why", unsigned())
def test_a_request_that_is_not_signed_is_refused(why):
    headers, body = unsigned()[why]
    with pytest.raises(UnverifiedRequestError):
        verify_handler_request(SECRET, headers, body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook-signature": "v1,\u00e9"}, {"webhook-timestamp": "1e9"}, {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 400}, {"webhook-timestamp": "9" * 5_000},
    ],
)  # fmt: skip
def test_a_header_that_has_another_form_is_refused(wrong):
    with pytest.raises(UnverifiedRequestError):
        verify_handler_request(SECRET, signed() | wrong, b"paid")


@pytest.mark.parametrize("secret", ["", "hunter2", "whsec_", "whsec_!", "whpk_aHVudGVyMg=="])
def test_a_secret_that_is_none_is_an_error_of_the_program(secret):
    with pytest.raises(ValueError, match="whsec_") as caught:
        verify_handler_request(secret, signed(), b"paid")
    assert not isinstance(caught.value, UnverifiedRequestError)
    assert "hunter2" not in str(caught.value)


async def test_a_request_of_a_server_has_its_call_whatever_the_bytes_of_its_body(store_of, tmp_path):
    async with HttpHandlerServer() as server:
        activities = {"act": http_activity(server.url, tmp_path, SECRET, OTHER_SECRET)}
        async with running_services(store_of(), activities=activities) as services:
            made = await services.generate("act", labels={"order": "5"})
            answered = await services.call(made, body=b"\xff\x00", request_query=[{"name": "a", "value": "\u00e9"}])
        (sent,) = server.requests
    for secret in (SECRET, OTHER_SECRET):
        call = verify_handler_request(secret, sent.fields, sent.body)
        assert (call.call_id, call.body, call.labels) == (answered.call_id, b"\xff\x00", {"order": "5"})
        assert call.query["a"] == "\u00e9"

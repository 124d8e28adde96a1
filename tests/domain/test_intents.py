"""Guards: the intent of a request, and the GET that a confirmation stands for."""

import pytest

from callback_server.domain.call import Request
from callback_server.domain.guard import CONFIRMATION, RequestIntent, confirmed, intent_of

FORM = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")


@pytest.mark.parametrize(
    ("method", "headers", "body", "intent"),
    [
        ("get", (), b"", RequestIntent.GET), ("options", (), b"", RequestIntent.OPTIONS),
        ("post", (FORM,), CONFIRMATION, RequestIntent.FORM),
        ("post", (FORM,), CONFIRMATION + b"&a=1", RequestIntent.CALL), ("post", (), CONFIRMATION, RequestIntent.CALL),
        ("put", (FORM,), CONFIRMATION, RequestIntent.CALL), ("delete", (), b"", RequestIntent.CALL),
    ],
)  # fmt: skip
def test_the_intent_of_a_request(method, headers, body, intent):
    assert intent_of(Request(method, headers, body=body)) is intent


def test_a_confirmation_is_the_get_without_its_form():
    headers = (("Accept", "*/*"), FORM, ("content-length", "18"), ("Origin", "https://box.example"), ("X-A", "1"))
    form = Request("post", headers, (("a", "1"),), "a=1", "192.0.2.7", CONFIRMATION)
    assert confirmed(form) == Request("get", (("Accept", "*/*"), ("X-A", "1")), (("a", "1"),), "a=1", "192.0.2.7")

"""Conversion by name: the values of the domain have the names and words of the contract."""

import pytest

from callback.v1 import audit_service_pb2, callback_pb2, callbacks_service_pb2, operations_service_pb2
from callback_process.findings import Level
from callback_server.contract.conversion import from_message, member_of, to_message, word_of, words
from callback_server.contract.converters import content_attributes, response_from
from callback_server.domain.audit import AuditAction
from callback_server.domain.audit_check import KnownHead, ProblemKind
from callback_server.domain.call import CallFailure, CallStatus, DeliveryStatus, Request
from callback_server.domain.case import AnswerMode, CaseStatus, CloseReason, GetGuard, Prompt
from callback_server.domain.event import EventType
from callback_server.domain.notification import CallReason
from callback_server.domain.response import FIELDS, Response, ResponseType
from callback_server.handlers.served import ActivityKind
from callback_server.store.queries.list_owner_calls import CallFilter
from callback_shared.fields import short_name

ENUMS = {
    callback_pb2.AnswerMode: AnswerMode,
    callback_pb2.CallFailure: CallFailure,
    callback_pb2.CallReason: CallReason,
    callback_pb2.CallStatus: CallStatus,
    callback_pb2.CallbackStatus: CaseStatus,
    callback_pb2.CloseReason: CloseReason,
    callback_pb2.DeliveryStatus: DeliveryStatus,
    callback_pb2.GetGuard: GetGuard,
    callback_pb2.ResponseType: ResponseType,
    callbacks_service_pb2.CallEventType: EventType,
    callbacks_service_pb2.CallFilter: CallFilter,
    operations_service_pb2.ActivityKind: ActivityKind,
    operations_service_pb2.FindingLevel: Level,
    audit_service_pb2.AuditAction: AuditAction,
    audit_service_pb2.AuditProblemKind: ProblemKind,
}


@pytest.mark.parametrize(("of_contract", "of_domain"), ENUMS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_an_enum_has_the_words_of_the_contract(of_contract, of_domain):
    assert words(of_contract.DESCRIPTOR).keys() - {"UNSPECIFIED"} == set(of_domain.__members__)


def test_a_response_has_the_attributes_of_the_contract():
    assert {
        name: short_name(field) for name, field in callback_pb2.Response.DESCRIPTOR.fields_by_name.items()
    } == FIELDS


def test_recorded_content_is_what_the_contract_says():
    assert content_attributes(bodies=False, headers=False) == set()
    assert content_attributes(bodies=False, headers=True) == {"headers"}
    assert content_attributes(bodies=True, headers=False) == {"body", "heading", "text", "link_label"}


@pytest.mark.parametrize("headers", [None, (), (("a", "1"), ("a", "2"))])
def test_a_list_that_is_empty_differs_from_one_that_is_absent(headers):
    message = to_message(callback_pb2.Response, Response(headers=headers))
    assert message.HasField("response_headers") is (headers is not None)
    assert response_from(message).headers == headers


def test_times_have_the_unit_that_their_attribute_names():
    event = to_message(
        callbacks_service_pb2.CallEvent, type="CASE_CREATED", case_id="", call_id="", activity="", owner="", time_s=1.5,
        case_status="OPEN", close_reason=None, call_status="", delivery_status="NEWER", resume_token="", reason=None,
    )  # fmt: skip
    assert (event.time.seconds, event.time.nanos) == (1, 500_000_000)
    assert (event.case_status, event.call_status, event.delivery_status) == (callback_pb2.CALLBACK_STATUS_OPEN, 0, 0)


def test_a_prompt_and_its_choices_are_converted_both_ways():
    prompt = Prompt("A title", "A text", (("yes", "Yes"), ("no", "No")))
    assert from_message(Prompt, to_message(callback_pb2.Prompt, prompt)) == prompt


def test_a_field_without_an_attribute_and_an_attribute_without_a_field_are_errors():
    with pytest.raises(TypeError, match=r"callback\.v1\.Prompt\.title has no attribute in Request"):
        to_message(callback_pb2.Prompt, Request("get"))
    with pytest.raises(TypeError, match=r"callback\.v1\.Prompt has no field for body"):
        to_message(callback_pb2.Prompt, Prompt("A title"), body=b"")


def test_an_enum_field_of_another_release_has_no_word():
    request = callbacks_service_pb2.ListCallbacksRequest(status=99)
    assert (word_of(request, "status"), member_of(CaseStatus, request, "status")) == ("", None)
    assert word_of(callbacks_service_pb2.ListCallbacksRequest(), "status") == "UNSPECIFIED"


def test_a_field_that_is_zero_is_zero_where_its_attribute_has_no_default():
    head = audit_service_pb2.AuditHead(chain=3, digest="d" * 64, time={"seconds": 5})
    assert from_message(KnownHead, head, is_kept=True) == KnownHead(0, "d" * 64, 5000, is_kept=True)

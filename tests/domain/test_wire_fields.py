"""The bytes of a message are refused before they are parsed if they have more fields than any request."""

import pytest

from callback.v1 import callbacks_service_pb2, worker_service_pb2
from callback_shared.wire_fields import MAX_FIELDS, MAX_FIELDS_OF_LISTS, has_too_many_fields

GENERATE = callbacks_service_pb2.GenerateCallbackUrlRequest.DESCRIPTOR
WORK = worker_service_pb2.WorkRequest.DESCRIPTOR
PROMPT = GENERATE.fields_by_name["prompt"].number
MESSAGES = WORK.fields_by_name["messages"].number
CHOICE = b"\x1a\x00"


def field(number, content):
    """Return a field that has a length, whose number and length are below 2^14."""
    return b"".join(bytes([each & 127 | 128, each >> 7]) for each in (number << 3 | 2, len(content))) + content


@pytest.mark.parametrize("parts", [1, 2, 40])
def test_a_message_that_is_there_several_times_counts_as_one_because_a_parser_merges_it(parts):
    each = MAX_FIELDS // parts  # with one more, the field itself
    assert has_too_many_fields(field(PROMPT, CHOICE * each) * parts, GENERATE)
    assert not has_too_many_fields(field(PROMPT, CHOICE * (each - 1)) * parts, GENERATE)


def test_each_message_of_a_list_has_fields_of_its_own_but_not_all_of_them_together_without_a_limit():
    whole = field(MESSAGES, CHOICE * MAX_FIELDS)
    several = MAX_FIELDS_OF_LISTS // MAX_FIELDS - 1
    assert not has_too_many_fields(whole * several, WORK)
    assert has_too_many_fields(whole * (several + 1), WORK)
    assert has_too_many_fields(field(MESSAGES, CHOICE * (MAX_FIELDS + 1)), WORK)


@pytest.mark.parametrize("data", [b"\xff" * 5000, b"\x0a\xff\xff\x7f" + b"a" * 3000, CHOICE * 1001 + b"\x0a"])
def test_what_is_no_message_is_counted_as_far_as_it_can_be_read(data):
    assert has_too_many_fields(data, GENERATE) is (data[:2] == CHOICE)

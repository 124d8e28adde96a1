"""The reasons in the contract, in the errors and in the table of codes are the same ones."""

import re
from pathlib import Path

from google.rpc import code_pb2, error_details_pb2

from callback.v1 import error_reason_pb2
from callback_server import errors
from callback_server.rpc import status

PROTO = Path(__file__).parents[2] / "proto/callback/v1/error_reason.proto"


def refusals(base=errors.CallbackError):
    for each in base.__subclasses__():
        yield from refusals(each)
        if "reason" in vars(each):
            yield each


def test_every_reason_of_the_contract_is_an_error_with_the_code_that_the_contract_says():
    said = dict(re.findall(r"// ERROR_REASON_(\w+) \((\w+)\)", PROTO.read_text()))
    codes = {reason: code_pb2.Code.Name(number) for reason, number in status._CODES.items()}
    assert codes | {"INTERNAL": "INTERNAL"} == said
    assert {each.reason for each in refusals()} == codes.keys()
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118
    assert names - {"UNSPECIFIED"} == said.keys()


def test_a_status_with_very_many_violations_stays_small_enough_to_arrive():
    many = [errors.Violation(f"field_{i}" * 50, "rule", "message " * 100) for i in range(1000)]
    made = status.status_of(errors.InvalidRequestError(many))
    assert made.ByteSize() < 8000
    bad = error_details_pb2.BadRequest()
    assert made.details[1].Unpack(bad)
    assert bad.field_violations

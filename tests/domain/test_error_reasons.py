"""The error reasons: the same in the contract and in the errors of the server."""

import re
from pathlib import Path

from google.rpc import code_pb2, error_details_pb2

from callback.v1 import error_reason_pb2
from callback_edge import problems
from callback_server import errors
from callback_server.rpc import status

CONTRACT = Path(__file__).parents[2] / "proto/callback/v1"
PROTO = CONTRACT / "error_reason.proto"
UNLISTED = {"INTERNAL", "UNAUTHENTICATED", "ROLE_MISSING", "SUBJECT_UNKNOWN", "ISSUER_UNAVAILABLE"}
"""Reasons that every RPC returns. An RPC does not have to list them."""


def refusals(base=errors.CallbackError):
    for each in base.__subclasses__():
        yield from refusals(each)
        if "reason" in vars(each):
            yield each


def test_every_reason_of_the_contract_has_a_code_and_is_an_error():
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118  # the wrapper of an enum is not iterable
    assert status.CODES.keys() == names - {"UNSPECIFIED"}
    assert {each.reason for each in refusals()} | {"INTERNAL"} == status.CODES.keys()


def test_an_error_has_the_code_that_the_contract_says():
    assert status.status_of(errors.CaseNotFoundError()).code == code_pb2.NOT_FOUND
    assert status.internal_error().code == code_pb2.INTERNAL


def joined(lines):
    """Return the text of comment lines, as one line."""
    return " ".join(line.strip().removeprefix("//").strip() for line in lines.splitlines())


def returned_by():
    """Return what the comment of each reason says of the RPCs that return it: `every RPC`, and the names."""
    comments = re.findall(r"((?: +//.*\n)+) +ERROR_REASON_(\w+) = ", PROTO.read_text())
    said = {reason: joined(comment) for comment, reason in comments if reason != "UNSPECIFIED"}
    for reason, comment in said.items():
        ((every, rpcs),) = re.findall(r"Returned by (every RPC(?: except )?)?([\w, ]*)\.$", comment)
        yield reason, bool(every), {rpc for rpc in re.split(r", | and ", rpcs) if rpc}


def test_each_reason_names_rpcs_of_the_contract():
    rpcs = {
        rpc
        for file in CONTRACT.glob("*_service.proto")
        for rpc in re.findall(r"^ +rpc (\w+)\(", file.read_text(), re.MULTILINE)
    }
    assert {reason for reason, every, _ in returned_by() if every} >= UNLISTED
    for reason, every, named in returned_by():
        assert named <= rpcs, reason
        assert every or named, reason


def test_the_edge_has_a_problem_for_each_reason_that_a_call_fails_with():
    returned = {reason for reason, every, named in returned_by() if ("StreamInvocations" in named) != every}
    refused = {"INVALID_REQUEST", "ISSUER_UNAVAILABLE", "ROLE_MISSING", "SUBJECT_UNKNOWN", "UNAUTHENTICATED"}
    assert problems.BY_REASON.keys() == returned - refused  # refused: the edge is wrong, not the caller


def test_a_status_with_very_many_violations_stays_small_enough_to_arrive():
    many = [errors.Violation(f"field_{i}" * 50, "rule", "message " * 100) for i in range(1000)]
    made = status.status_of(errors.InvalidRequestError(many))
    assert made.ByteSize() < 8000
    bad = error_details_pb2.BadRequest()
    assert made.details[1].Unpack(bad)
    assert bad.field_violations

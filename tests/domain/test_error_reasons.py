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
    assert status._CODES.keys() == names - {"UNSPECIFIED"}
    assert {each.reason for each in refusals()} | {"INTERNAL"} == status._CODES.keys()


def test_an_error_has_the_code_that_the_contract_says():
    assert status.status_of(errors.CaseNotFoundError()).code == code_pb2.NOT_FOUND
    assert status.internal_error().code == code_pb2.INTERNAL


def joined(lines):
    """Return the text of comment lines, as one line."""
    return " ".join(line.strip().removeprefix("//").strip() for line in lines.splitlines())


def test_the_reasons_that_each_rpc_lists_and_the_rpcs_that_each_reason_lists_are_the_same():
    listed_by_rpc = {}
    for file in CONTRACT.glob("*_service.proto"):
        if file.stem == "callback_handler_service":  # the server is its client
            continue
        text = file.read_text()
        for comment, rpc in re.findall(r"((?: +//.*\n)+) +rpc (\w+)\(", text):
            if rpc == "StreamInvocations":  # most of its reasons are those of a result
                (of_result,) = re.findall(r"((?: +//.*\n)+) +google\.rpc\.Status status", text)
                comment += of_result
            listed = re.findall(r"Fails with ([\w, ]+)\.", joined(comment))
            listed_by_rpc[rpc] = {reason for each in listed for reason in re.split(r", | or ", each)}
            assert listed_by_rpc[rpc] <= status._CODES.keys(), rpc
    comments = re.findall(r"((?: +//.*\n)+) +ERROR_REASON_(\w+) = ", PROTO.read_text())
    listed_by_reason = {reason: joined(comment) for comment, reason in comments if reason != "UNSPECIFIED"}
    for reason, comment in listed_by_reason.items():
        ((every, rpcs),) = re.findall(r"Returned by (every RPC(?: except )?)?([\w, ]*)\.$", comment)
        named = {rpc for rpc in re.split(r", | and ", rpcs) if rpc}
        if reason in UNLISTED:
            assert every
            assert not named, reason
        else:
            returns = listed_by_rpc.keys() - named if every else named
            assert returns == {rpc for rpc, names in listed_by_rpc.items() if reason in names}, reason


def test_the_edge_has_a_problem_for_each_reason_that_a_call_fails_with():
    proto = (CONTRACT / "edge_service.proto").read_text()
    (of_result,) = re.findall(r"((?: +//.*\n)+) +google\.rpc\.Status status", proto)
    ((listed, last),) = re.findall(r"Fails with ([\w, ]+) or (\w+)\.", joined(of_result))
    refused = {"INVALID_REQUEST", "UNAUTHENTICATED", "ROLE_MISSING"}  # the edge is wrong, not the caller
    assert problems.BY_REASON.keys() == {*listed.split(", "), last, "INTERNAL"} - refused


def test_a_status_with_very_many_violations_stays_small_enough_to_arrive():
    many = [errors.Violation(f"field_{i}" * 50, "rule", "message " * 100) for i in range(1000)]
    made = status.status_of(errors.InvalidRequestError(many))
    assert made.ByteSize() < 8000
    bad = error_details_pb2.BadRequest()
    assert made.details[1].Unpack(bad)
    assert bad.field_violations

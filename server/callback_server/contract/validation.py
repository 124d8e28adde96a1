"""The rules of single fields, which stand in the contract alone, applied to a message."""

from __future__ import annotations

from google.protobuf.message import Message
from protovalidate import EvaluationError, Validator
from protovalidate import Violation as RuleViolation

from callback_server.errors import Violation

_validator = Validator()


def violations(message: Message) -> list[Violation]:
    """Every field of `message` that breaks a rule of the contract; empty if none does.

    The first message of a type compiles its rules, which takes some milliseconds: warm up at start.
    """
    try:
        found = _validator.collect_violations(message)
    except EvaluationError as error:  # a rule that can not be applied to this value is a value that breaks it
        return [Violation("", "evaluation", f"can not be validated: {error}")]
    return [Violation(_path(each), each.proto.rule_id, each.proto.message) for each in found]


def _path(violation: RuleViolation) -> str:
    if violation.proto.field is None:
        return ""
    return ".".join(
        element.field_name + ("" if element.subscript is None else f"[{element.subscript.value!r}]")
        for element in violation.proto.field.elements
    )

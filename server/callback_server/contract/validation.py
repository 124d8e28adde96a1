"""Validation of messages by the rules of single fields, which the contract alone defines."""

from __future__ import annotations

import json

from google.protobuf.message import Message
from protovalidate import EvaluationError, Validator
from protovalidate import Violation as RuleViolation

from callback_server.errors import Violation

_validator = Validator()


def violations(message: Message) -> list[Violation]:
    """Return every field of a message that breaks a rule of the contract.

    The first message of a type compiles its rules, which takes some milliseconds: the process does it at its start.
    """
    try:
        found = _validator.collect_violations(message)
    except EvaluationError as error:  # a rule cannot be evaluated for this value, so the value breaks it
        return [Violation("", "evaluation", f"cannot be validated: {error}")]
    return [Violation(_path(each), each.proto.rule_id, each.proto.message) for each in found]


def _path(violation: RuleViolation) -> str:
    if violation.proto.field is None:
        return ""
    return ".".join(
        element.field_name
        + ("" if element.subscript is None else f"[{json.dumps(element.subscript.value, ensure_ascii=False)}]")
        for element in violation.proto.field.elements
    )

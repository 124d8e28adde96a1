"""JSON of the command line: values of the contract in its JSON form, and other data as it is."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp


def dumps(given: Any, *, indent: int | None = 2) -> str:
    """Return JSON. It is ASCII, so that no character of it can control a terminal."""
    return json.dumps(plain(given), indent=indent)


def plain(given: Any) -> Any:
    """Return data in which values of the contract have their JSON form."""
    if hasattr(given, "to_dict"):
        return given.to_dict(reveal_secrets=True)
    if isinstance(given, Mapping):
        return {name: plain(each) for name, each in given.items()}
    return [plain(each) for each in given] if isinstance(given, list | tuple) else given


def time(when: datetime) -> str:
    """Return a time as in the JSON form of the contract."""
    message = Timestamp()
    message.FromDatetime(when)
    return message.ToJsonString()

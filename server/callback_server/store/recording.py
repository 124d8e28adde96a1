"""What is recorded of calls."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import fields, replace

from callback_server.domain.call import Request
from callback_server.domain.response import Response

S = TypeVar("S", bound=Struct)


@dataclass(frozen=True, slots=True)
class Recording:
    """What is recorded of calls."""

    calls_per_case: int = 100
    """How many ended calls of a case are kept."""
    bytes_per_case: int = 16 * 1024 * 1024
    """How many bytes of ended calls of a case are kept: requests and answers, packed."""
    repeat_bytes_per_case: int = 16 * 1024 * 1024
    """How many bytes of answers a case keeps for repeats, packed."""
    unrecorded: frozenset[str] = frozenset()
    """The attributes of requests and answers that are not recorded."""

    @property
    def limits(self) -> tuple[int, int]:
        """The argument of scripts that end calls: how much is kept of the ended calls of a case."""
        return self.calls_per_case, self.bytes_per_case

    def of_request(self, request: Request) -> Request:
        """Return what is recorded of a request. It is the same object if all of it is recorded."""
        recorded = _without(request, self.unrecorded)
        return replace(recorded, body_size=len(request.body)) if len(recorded.body) < len(request.body) else recorded

    def of_answer(self, answer: Response) -> Response:
        """Return what is recorded of an answer."""
        return _without(answer, self.unrecorded)


def _without(value: S, names: frozenset[str]) -> S:
    """Return a value with the default of each of these attributes. It is the same object if that changes nothing."""
    defaults = _defaults(type(value), names) if names else {}
    changed = {name: default for name, default in defaults.items() if getattr(value, name) != default}
    return replace(value, **changed) if changed else value


@functools.cache
def _defaults(kind: type[Struct], names: frozenset[str]) -> Mapping[str, object]:
    return {field.name: field.default for field in fields(kind) if field.name in names}

"""What is recorded of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from callback_server.domain.call import Request
from callback_server.domain.response import Response
from callback_server.store.script_arguments import group

LIMITS: Final = group("limits", ["recorded_calls_per_case", "recorded_bytes_per_case"])
"""The argument of scripts that end calls: how much is kept of the ended calls of a case."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What is recorded of calls."""

    calls_per_case: int = 100
    """How many ended calls of a case are kept."""
    bytes_per_case: int = 16 * 1024 * 1024
    """How many bytes of ended calls of a case are kept: requests and answers, packed."""
    repeat_bytes_per_case: int = 16 * 1024 * 1024
    """How many bytes of answers a case keeps for repeats, packed."""
    bodies: bool = True
    """Whether the bodies of requests and answers are recorded."""
    headers: bool = True
    """Whether the headers of requests and answers are recorded."""

    @property
    def limits(self) -> tuple[int, int]:
        """The values of `LIMITS`."""
        return self.calls_per_case, self.bytes_per_case

    def of_request(self, request: Request) -> Request:
        """Return what is recorded of a request. It is the same object if all of it is recorded."""
        if not self.headers and request.headers:
            request = replace(request, headers=())
        if not self.bodies and request.body:
            request = replace(request, body=b"", body_size=len(request.body))
        return request

    def of_answer(self, answer: Response) -> Response:
        """Return what is recorded of an answer."""
        if not self.headers:
            answer = replace(answer, headers=None)
        if not self.bodies:
            answer = replace(answer, body=None, heading=None, text=None, link_label=None)
        return answer

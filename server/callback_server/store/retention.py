"""What is kept of calls and closed cases, and for how long."""

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
class Retention:
    """What is kept of calls and closed cases."""

    time_ms: int = 7 * 24 * 3600 * 1000
    """How long a closed case and an ended call are kept, in milliseconds."""
    recorded_calls_per_case: int = 100
    """How many ended calls of a case are kept."""
    recorded_bytes_per_case: int = 16 * 1024 * 1024
    """How many bytes of ended calls of a case are kept: requests and responses, packed."""
    bodies: bool = True
    """Whether the bodies of requests and answers are kept."""
    headers: bool = True
    """Whether the headers of requests and answers are kept."""

    @property
    def limits(self) -> tuple[int, int]:
        """The values of `LIMITS`."""
        return self.recorded_calls_per_case, self.recorded_bytes_per_case

    def of_request(self, request: Request) -> Request:
        """Return what is kept of a request. It is the same object if all of it is kept."""
        if not self.headers and request.headers:
            request = replace(request, headers=())
        if not self.bodies and request.body:
            request = replace(request, body=b"", body_size=len(request.body))
        return request

    def of_answer(self, answer: Response) -> Response:
        """Return what is kept of an answer."""
        if not self.headers:
            answer = replace(answer, headers=None)
        return answer if self.bodies else replace(answer, body=None)

"""What is kept of calls, and how much of what has ended."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from callback_server.domain.call import Request
from callback_server.domain.response import Response


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of calls and closed cases (spec, "Kept")."""

    time_ms: int = 7 * 24 * 3600 * 1000
    """How long a closed case and an ended call are kept."""
    calls_per_case: int = 100
    """How many ended calls of a case are kept."""
    bytes_per_case: int = 16 * 1024 * 1024
    """How many bytes of ended calls of a case are kept: requests and responses, packed."""
    bodies: bool = True
    """Whether the bodies of requests and answers are kept."""
    headers: bool = True
    """Whether the headers of requests and answers are kept."""

    def of_request(self, request: Request) -> Request:
        """What is kept of a request: itself, if that is all of it."""
        if not self.headers and request.headers:
            request = replace(request, headers=())
        if not self.bodies and request.body:
            request = replace(request, body=b"", body_size=len(request.body))
        return request

    def of_answer(self, answer: Response) -> Response:
        """What is kept of what a call with a handler was answered."""
        if not self.headers:
            answer = replace(answer, headers=None)
        return answer if self.bodies else replace(answer, body=None)

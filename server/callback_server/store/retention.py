"""What is kept of calls and closed cases, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from callback_server.domain.call import Request
from callback_server.domain.response import Response


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of calls and closed cases."""

    time_ms: int = 7 * 24 * 3600 * 1000
    """How long a closed case and an ended call are kept, in milliseconds."""
    calls_per_case: int = 100
    """How many ended calls of a case are kept."""
    bytes_per_case: int = 16 * 1024 * 1024
    """How many bytes of ended calls of a case are kept: requests and responses, packed."""
    bodies: bool = True
    """Whether the bodies of requests and answers are kept."""
    headers: bool = True
    """Whether the headers of requests and answers are kept."""

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

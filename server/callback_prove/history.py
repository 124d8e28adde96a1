"""History of a proof: what clients sent and got, what handlers ran, what was recorded, and each fault.

Each step is one line of JSON in a file, written when the step is complete. Times are seconds since 1970, by the clock
of this machine, on which all processes run. The checker judges by the history alone.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self, TypeVar

import msgspec

NO_ANSWER = 0
"""In the place of a code: no response arrived."""


class Step(msgspec.Struct, frozen=True, kw_only=True, tag_field="step"):
    """One step."""


class Generated(Step, frozen=True, kw_only=True, tag="generated"):
    """A URL that a client generated, or failed to generate."""

    at: float
    began: float = 0.0
    """When the client asked for it."""
    mode: str
    """Name of the mode of the case: a key of `MODES`."""
    case_id: str
    """Empty: no URL was returned."""
    reason: str = ""
    """Why there is no URL: the reason of the server, or the gRPC code."""


class Requested(Step, frozen=True, kw_only=True, tag="requested"):
    """One request of a caller, and its response."""

    began: float
    ended: float
    case_id: str
    body: str
    query: str = ""
    """Query string of the request beside that of its URL."""
    code: int
    text: str = ""
    reason: str = ""
    """Why there is no success: the code of the problem, or the error of the connection."""
    is_untouched: bool = False
    """Whether the response is a 503 with `Retry-After`, which promises that nothing was done."""
    is_told_to_wait: bool = False
    """Whether the response is a 202 with the address of the call, which promises only that the call is stored."""


class Answered(Step, frozen=True, kw_only=True, tag="answered"):
    """An answer to a held call that the server confirmed. The text of the answer is the id of the call."""

    at: float
    case_id: str
    call_id: str


class Ran(Step, frozen=True, kw_only=True, tag="ran"):
    """One run of a handler."""

    case_id: str
    call_id: str
    attempt: int
    began: float
    ended: float
    """At the latest the deadline of the call: the server does not wait for a later result."""
    outcome: str
    """`done`, `failed`, `rejected`, `cancelled`, or `killed` with its process."""


class WatchStarted(Step, frozen=True, kw_only=True, tag="watch_started"):
    """The start of a watch, before the first URL is generated."""

    at: float


class Watched(Step, frozen=True, kw_only=True, tag="watched"):
    """An event that a watch received."""

    at: float
    type: str
    case_id: str
    call_id: str


class WatchLost(Step, frozen=True, kw_only=True, tag="watch_lost"):
    """The server refused to continue a watch, because it no longer has every event."""

    at: float
    reason: str


class Injected(Step, frozen=True, kw_only=True, tag="injected"):
    """A fault."""

    at: float
    fault: str
    process: str


class Restarted(Step, frozen=True, kw_only=True, tag="restarted"):
    """A planned restart of a process."""

    began: float
    ended: float
    process: str
    may_fail: bool
    """Whether calls may fail meanwhile: the store fails over, or waits for a replica."""


class RecordedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call as it is recorded at the end."""

    call_id: str
    status: str
    body: str
    seconds: float
    """Time from its start to its end. 0 if it has not ended."""
    ended: float = 0.0
    """When it ended. 0: it has not, or the clock of the store is not that of this machine."""
    delivery: str = ""
    """Status of its delivery. Empty: it has none."""
    attempts: int = 0


class Recorded(Step, frozen=True, kw_only=True, tag="recorded"):
    """A case as it is recorded at the end."""

    case_id: str
    status: str
    """Empty: the case is unknown."""
    close_reason: str = ""
    calls: tuple[RecordedCall, ...] = ()


AnyStep = Generated | Requested | Answered | Ran | WatchStarted | Watched | WatchLost | Injected | Restarted | Recorded

_Kind = TypeVar("_Kind")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyStep).decode


class History:
    """The steps so far, also in a file. Use it as a context manager, which closes the file."""

    def __init__(self, path: Path) -> None:
        """Create a history that writes to a new file."""
        self.path = path
        self.steps: list[AnyStep] = []
        self._file = path.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def add(self, *steps: AnyStep) -> None:
        """Append steps."""
        self.steps += steps
        self._file.write(b"".join(_encode(step) + b"\n" for step in steps))


def read(path: Path) -> Iterator[AnyStep]:
    """Yield the steps of a file.

    Raises:
        ValueError: A line is not a step.
    """
    with path.open("rb") as file:
        yield from map(_decode, file)


def of_type(steps: Iterable[AnyStep], kind: type[_Kind]) -> list[_Kind]:
    """Return the steps of one type."""
    return [step for step in steps if isinstance(step, kind)]

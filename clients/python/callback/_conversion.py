"""What the generated `_converters` uses: conversions of enums and times."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from callback import _checks as checks
from callback.v1 import callback_handler_service_pb2

UNKNOWN = "UNKNOWN"
"""The member of an enum for each value that this version of the client does not know."""
_UNKNOWN_NUMBER = -1

_Member = TypeVar("_Member", bound=StrEnum)


class _Enum(Protocol):
    """The generated wrapper of a protobuf enum."""

    def items(self) -> list[tuple[str, Any]]: ...


class EnumNumbers(Generic[_Member]):
    """The members of an enum, and their numbers in messages.

    Args:
        kind: The enum of this library.
        enum: The enum of the contract.
    """

    def __init__(self, kind: type[_Member], enum: _Enum) -> None:
        prefix = enum.items()[0][0].removesuffix("UNSPECIFIED")
        self._kind = kind
        self._members = {number: kind(name.removeprefix(prefix)) for name, number in enum.items() if number}
        self._numbers: dict[str | None, int] = {member: number for number, member in self._members.items()}
        self._numbers |= {None: 0, UNKNOWN: _UNKNOWN_NUMBER}

    def member(self, number: int) -> _Member | None:
        """Return the member for a number: None for unspecified, UNKNOWN for a number of a newer server."""
        if number == 0:
            return None
        return self._members.get(number) or self._kind(UNKNOWN)

    def number(self, member: _Member | None) -> Any:
        """Return the number of a member."""
        return self._numbers[member]

    def argument(self, name: str, member: _Member | None) -> Any:
        """Return the number of a member that a program passes, or of unspecified.

        Raises:
            TypeError: It is not a member.
            ValueError: It is UNKNOWN.
        """
        if member is not None and checks.instance(name, member, self._kind) == UNKNOWN:
            raise ValueError(f"{name} cannot be UNKNOWN: it represents a value that this client does not know")
        return self.number(member)


def to_timestamp(time: datetime) -> Timestamp:
    """Return a time as a message."""
    message = Timestamp()
    message.FromDatetime(time)
    return message


def to_duration(duration: timedelta) -> Duration:
    """Return a duration as a message."""
    message = Duration()
    message.FromTimedelta(duration)
    return message


def from_timestamp(message: Timestamp) -> datetime:
    """Return the time of a message, in UTC."""
    return message.ToDatetime(tzinfo=UTC)


def local_deadline(message: callback_handler_service_pb2.HandleCallbackRequest) -> datetime:
    """Return the deadline of a call by the clock of this machine. Without a timeout, the server's own time is all."""
    if message.HasField("timeout"):
        return datetime.now(UTC) + message.timeout.ToTimedelta()
    return from_timestamp(message.deadline)

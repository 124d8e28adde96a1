"""The errors of the store: what each error of redis-py means for the command that was sent.

redis-py resends a command by default when its reply is lost. Here, retries are off: the code that knows the meaning
of a command decides whether to send it again (see resend.py). It needs to know whether the command may have been
done.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from redis.asyncio.connection import DefaultParser
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterError,
    MaxConnectionsError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from callback_server import metrics


class StoreError(Exception):
    """The store refused a command, or did not confirm that it was done.

    `maybe_done` is False only where it is certain that nothing was changed.
    """

    def __init__(self, message: str, *, maybe_done: bool) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done


class NotSentError(RedisConnectionError):
    """No connection could be made, so the command was not sent."""


class SlotMigratingError(ResponseError):
    """The slot of a key is on its way to another node of the cluster. The node did nothing.

    Both nodes have a part of the slot's data then, and a script needs all of it. A node that gives a slot away answers
    ASK for a key that it does not have, which the one declared key of a script never exists as. So ASK, which leads to
    the other node, is never followed, and nothing runs on a partition while its slot moves.
    """


def reply_error(text: str) -> Exception:
    """Return the error that the text of an error reply means."""
    return refused_ask(DefaultParser.parse_error(text))  # type: ignore[no-untyped-call]  # redis-py's


def refused_ask(error: Exception) -> Exception:
    """Return this error, or in place of ASK the error that nothing follows."""
    if isinstance(error, AskError) and not isinstance(error, MovedError):
        return SlotMigratingError("the slot is migrating to another node")
    return error


_REFUSAL_WORDS: Final = (
    "MISCONF", "BUSY", "NOREPLICAS",
    "UNBLOCKED",  # the store became a replica while a command waited
)  # fmt: skip
"""The first words of errors for which redis-py has no class. It removes the first word of all others."""


class _StoreErrors:
    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case None:
                return
            # A RedisClusterException: no node could be reached, or none has the slot.
            case NotSentError() | AuthenticationError() | MaxConnectionsError() | RedisClusterException():
                raise _counted(error, maybe_done=False) from error
            # The store refuses to do anything at the moment.
            case (
                BusyLoadingError()
                | ClusterError()
                | OutOfMemoryError()
                | ReadOnlyError()
                | SlotMigratingError()
                | TryAgainError()
            ):
                raise _counted(error, maybe_done=False) from error
            # uvloop raises RuntimeError when it writes to a connection that turns out to be closed.
            case RedisConnectionError() | RedisTimeoutError() | OSError() | RuntimeError():
                # The blocking pool raises this when no connection became free.
                sent = str(error) != "No connection available."
                raise _counted(error, maybe_done=sent) from error
            case ResponseError():
                if str(error).startswith(_REFUSAL_WORDS):
                    raise _counted(error, maybe_done=False) from error
            case RedisError():
                raise _counted(error, maybe_done=True) from error


_STORE_ERRORS: Final = _StoreErrors()


def store_errors() -> AbstractContextManager[None]:
    """Return a context that turns the errors of redis-py into `StoreError`. A fault of ours (a script error) passes."""
    return _STORE_ERRORS  # not a generator, which takes three times as long, on every command


def _counted(error: Exception, *, maybe_done: bool) -> StoreError:
    metrics.STORE_ERRORS.labels("unknown" if maybe_done else "refused").inc()
    return StoreError(str(error), maybe_done=maybe_done)

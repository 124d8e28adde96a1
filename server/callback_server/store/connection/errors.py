"""The errors of the store: what each error of redis-py means for the command that was sent.

redis-py resends a command by default when its reply is lost. Here, retries are off: the code that knows the meaning
of a command decides whether to send it again (see resend.py). It needs to know whether the command may have been
done.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from redis import exceptions
from redis.asyncio.connection import DefaultParser

from callback_server import metrics


class StoreError(Exception):
    """The store refused a command, or did not confirm that it was done.

    `maybe_done` is False only where it is certain that nothing was changed. `is_full` is whether the store refused it
    because its memory is full.
    """

    def __init__(self, message: str, *, maybe_done: bool, is_full: bool = False) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done
        self.is_full = is_full


class NotSentError(exceptions.ConnectionError):
    """No connection could be made, so the command was not sent."""


class SlotMigratingError(exceptions.ResponseError):
    """The slot of a key is on its way to another node of the cluster. The node did nothing.

    Both nodes have a part of the slot's data then, and a script needs all of it. A node that gives a slot away answers
    ASK for a key that it does not have, which the one declared key of a script never exists as. So ASK, which leads to
    the other node, is never followed, and nothing runs on a partition while its slot moves.
    """


NO_PRIMARY: Final = (exceptions.ReadOnlyError, exceptions.MasterDownError)
"""Errors of a node that is not the primary any more. Its connections are closed, and the primary is looked up anew."""


def reply_error(text: str) -> Exception:
    """Return the error that the text of an error reply means."""
    return refused_ask(DefaultParser.parse_error(text))  # type: ignore[no-untyped-call]  # redis-py's


def refused_ask(error: Exception) -> Exception:
    """Return this error, or in place of ASK the error that nothing follows."""
    if isinstance(error, exceptions.AskError) and not isinstance(error, exceptions.MovedError):
        return SlotMigratingError("the slot is migrating to another node")
    return error


_REFUSAL_WORDS: Final = (
    "MISCONF", "BUSY", "NOREPLICAS",
    "UNBLOCKED",  # the store became a replica while a command waited
)  # fmt: skip
"""The first words of errors for which redis-py has no class. It removes the first word of all others."""


_NOT_DONE: Final = (
    NotSentError,
    exceptions.AuthenticationError,
    exceptions.MaxConnectionsError,
    exceptions.RedisClusterException,  # no node could be reached, or none has the slot
    # The store refuses to do anything at the moment.
    exceptions.BusyLoadingError,
    exceptions.ClusterError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    SlotMigratingError,
    exceptions.TryAgainError,
)
# uvloop raises RuntimeError when it writes to a connection that turns out to be closed.
_LOST: Final = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, RuntimeError)


class _StoreErrors:
    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        if isinstance(error, _NOT_DONE):
            maybe_done = False
        elif isinstance(error, _LOST):
            # The blocking pool raises this when no connection became free.
            maybe_done = str(error) != "No connection available."
        elif isinstance(error, exceptions.ResponseError):
            if not str(error).startswith(_REFUSAL_WORDS):
                return
            maybe_done = False
        elif isinstance(error, exceptions.RedisError):
            maybe_done = True
        else:
            return
        metrics.STORE_ERRORS.labels("unknown" if maybe_done else "refused").inc()
        is_full = isinstance(error, exceptions.OutOfMemoryError)
        raise StoreError(str(error), maybe_done=maybe_done, is_full=is_full) from error


_STORE_ERRORS: Final = _StoreErrors()


def store_errors() -> AbstractContextManager[None]:
    """Return a context that turns the errors of redis-py into `StoreError`. A fault of ours (a script error) passes."""
    return _STORE_ERRORS  # not a generator, which takes three times as long, on every command

"""The log of what the store did not do: one line a second, whatever of a server fails, and however often.

While a store is down everything fails: each call, each sweep of a partition, each message to another server. A line of
`store_unavailable` counts them in `counts`, by what failed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from callback_process.limited_event import LimitedEvent
from callback_process.logs import get_logger
from callback_server.store.connection.errors import StoreError

log = get_logger()

_UNAVAILABLE: Final = LimitedEvent(log.warning, "store_unavailable")


def log_store_error(what: str, error: StoreError, **facts: Any) -> None:
    """Log that the store did not do something.

    Args:
        what: What failed, such as `sweep_failed`, or the name of an RPC.
        error: Why.
        facts: Further fields, such as the `call_id`. A line has those of the newest error.
    """
    _UNAVAILABLE.log(what, **facts, error=str(error))


@contextlib.contextmanager
def failures_logged(what: str, **facts: Any) -> Iterator[None]:
    """Log an error in the body, and continue behind it: for work that is done again later, or that others do.

    An error of the store is counted. Any other one is a bug of this process, and is logged with its traceback.
    """
    try:
        yield
    except StoreError as error:
        log_store_error(what, error, **facts)
    except Exception:
        log.exception(what, **facts)

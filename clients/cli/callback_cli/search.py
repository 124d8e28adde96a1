"""Search across owners: the callbacks that a principal can see, and the ids that begin with a prefix."""

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any

import click

from callback import (
    Call,
    Callback,
    CallbackClient,
    CallFilter,
    CallStatus,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from callback_cli.errors import EXIT_NOT_FOUND

MAX_PAGE = 1_000
"""The number of callbacks in a page."""
MAX_SEARCHED = 10_000
"""The number of the newest callbacks that a search looks at."""

_CONCURRENT = 8
"""The number of concurrent requests."""
_AT_ONCE = 100
_OWN_LENGTH = 16
_SEARCHABLE_LENGTH = 8
"""The number of digits by which the server searches all callbacks. A reference on a page has as many."""
_CASE_PREFIX = re.compile(r"[0-9a-f]{4,31}")
_CALL_PREFIX = re.compile(r"([0-9a-f]{4,32})-([0-9a-f]{1,15})|([0-9a-f]{4,31})-([0-9a-f]{16})")


def owners_of(client: CallbackClient, owner: str, *, with_open_only: bool = False) -> Sequence[str]:
    """Return the owners to list for: the given one, every one for an administrator, or "" for the principal itself.

    Every one is also one that has left the principals file and whose callbacks are kept.

    Args:
        client: The client.
        owner: The given owner. Empty: none is given.
        with_open_only: Whether to leave out owners without an open callback.
    """
    if owner:
        return [owner]
    with suppress(PermissionDeniedError):
        owners = client.get_statistics().owners
        return [each.owner for each in owners if each.open_callback_count or not with_open_only] or [""]
    return [""]


def callbacks_of(
    client: CallbackClient,
    owners: Sequence[str],
    last_calls: Sequence[CallStatus | None] = (None,),
    *,
    page_size: int = MAX_PAGE,
    **filters: Any,
) -> Iterator[Callback]:
    """Yield the callbacks of several owners, newest first, with any of some statuses of their newest call."""
    lists = [
        client.list_callbacks(owner=owner, last_call_status=last_call, page_size=page_size, **filters)
        for owner in owners
        for last_call in last_calls
    ]
    return heapq.merge(*lists, key=lambda each: each.create_time, reverse=True)


def searched_callbacks(
    client: CallbackClient, owners: Sequence[str], since: datetime | None, **filters: Any
) -> Iterator[Callback]:
    """Yield the callbacks that a search looks at: the newest ones that match, and older ones with a call lately.

    Args:
        client: The client.
        owners: The owners of the callbacks.
        since: Yields also each older callback of which a call has ended since then. None: only the newest ones.
        filters: As of `list_callbacks`: activity and labels.
    """
    newest = set()
    for callback in islice(callbacks_of(client, owners, **filters), MAX_SEARCHED):
        newest.add(callback.case_id)
        yield callback
    if since is None or len(newest) < MAX_SEARCHED:
        return
    activity, labels = filters.get("activity", ""), filters.get("labels", {})
    with suppress(InvalidRequestError):  # a server before this filter
        found = owner_calls_of(client, owners, CallFilter.ENDED, activity=activity, ended_after=since)
        for case_id in dict.fromkeys(call.case_id for call in found):
            if case_id in newest:
                continue
            with suppress(NotFoundError):  # it was dropped since it was listed
                callback = client.get_callback(case_id)
                if labels.items() <= callback.labels.items():
                    yield callback


def owner_calls_of(client: CallbackClient, owners: Sequence[str], chosen: CallFilter, **filters: Any) -> Iterator[Call]:
    """Yield the calls of several owners that a filter selects, newest first."""
    lists = [client.list_owner_calls(chosen, owner=owner, page_size=100, **filters) for owner in owners]
    return heapq.merge(*lists, key=lambda each: each.start_time, reverse=True)


def newest_calls(client: CallbackClient, callbacks: Iterable[Callback]) -> dict[str, Call]:
    """Return the newest recorded call of each callback that has one, by the id of the callback."""

    def newest(case_id: str) -> Call | None:
        with suppress(NotFoundError):  # it was dropped since it was listed
            return next(iter(client.list_calls_page(case_id, page_size=1).items), None)
        return None

    ids = [each.case_id for each in callbacks if each.call_count]
    with ThreadPoolExecutor(_CONCURRENT) as threads:
        return {case_id: call for case_id, call in zip(ids, threads.map(newest, ids), strict=True) if call is not None}


def calls_of(client: CallbackClient, callbacks: Iterable[Callback]) -> Iterator[tuple[Callback, Sequence[Call]]]:
    """Yield each callback with its recorded calls, newest first."""
    searched = iter(callbacks)
    with ThreadPoolExecutor(_CONCURRENT) as threads:
        while some := list(islice(searched, _AT_ONCE)):
            for callback, calls in zip(some, threads.map(lambda each: _calls(client, each), some), strict=True):
                if calls is not None:
                    yield callback, calls


def _calls(client: CallbackClient, callback: Callback) -> Sequence[Call] | None:
    """Return the calls of a callback. None: it was dropped since it was listed."""
    with suppress(NotFoundError):
        return list(client.list_calls(callback.case_id, page_size=100)) if callback.call_count else ()
    return None


def full_case_id(client: CallbackClient, given: str) -> str:
    """Return the id of the one callback that begins with a prefix, or what is given if it is no prefix.

    Raises:
        click.UsageError: Several callbacks begin with it, or may do so.
        click.exceptions.Exit: None does. The error has been printed on standard error.
    """
    if not _CASE_PREFIX.fullmatch(given):
        return given
    owners = owners_of(client, "")
    if len(given) >= _SEARCHABLE_LENGTH:
        ids = [each.case_id for each in callbacks_of(client, owners, case_id_prefix=given)]
        return _only(given, [each for each in ids if each.startswith(given)])  # an older server does not know prefixes
    ids = [each.case_id for each in islice(callbacks_of(client, owners), MAX_SEARCHED + 1)]
    if len(ids) > MAX_SEARCHED:  # a command could close or erase another one
        raise click.UsageError(
            f"only the newest {MAX_SEARCHED:,} callbacks are searched, and an older one may begin with {given} too:"
            f" use at least {_SEARCHABLE_LENGTH} digits of the id."
        )
    return _only(given, [each for each in ids if each.startswith(given)])


def full_call_id(client: CallbackClient, given: str) -> str:
    """Return the id of the one call that is meant: each of its two parts can be a prefix.

    Raises:
        click.UsageError: Several are meant.
        click.exceptions.Exit: None is. The error has been printed on standard error.
    """
    if not _CALL_PREFIX.fullmatch(given):
        return given
    case_prefix, _, prefix = given.partition("-")
    case_id = full_case_id(client, case_prefix)
    if len(prefix) == _OWN_LENGTH:
        return f"{case_id}-{prefix}"
    wanted = f"{case_id}-{prefix}"
    return _only(wanted, [each.call_id for each in client.list_calls(case_id) if each.call_id.startswith(wanted)])


def is_prefix(given: str) -> bool:
    """Return whether a search is needed to know what is meant."""
    return bool(_CASE_PREFIX.fullmatch(given) or _CALL_PREFIX.fullmatch(given))


def _only(given: str, found: Sequence[str]) -> str:
    if len(found) > 1:
        raise click.UsageError(f"{given} is not unique: {', '.join(found[:5])}{', …' if len(found) > 5 else ''}")
    if not found:
        click.echo(f"Error: none that you can see begins with {given}", err=True)
        if len(given) == _SEARCHABLE_LENGTH:
            click.echo("It may be the reference of a request that is no call: the log of the edge has it.", err=True)
        raise click.exceptions.Exit(EXIT_NOT_FOUND)
    return found[0]

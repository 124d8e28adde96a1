"""The command `trace`: why a call, a callback, or many of them are as they are."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import click

from callback import (
    Activity,
    Call,
    Callback,
    CallbackClient,
    CallStatus,
    DeliveryStatus,
    InvalidRequestError,
    PermissionDeniedError,
)
from callback.masking import masked
from callback_cli import json_output, options, search
from callback_cli.connection import Connection, server_command, with_connection
from callback_cli.request_options import request_options
from callback_cli.text_view import TextView
from callback_triage.reasons import why, why_uncalled
from callback_triage.texts import DEFAULT, TEXTS, text_of


@dataclass(slots=True)
class Group:
    """Callbacks or calls of one activity that are as they are for the same reasons."""

    activity: str
    sentences: tuple[str, ...]
    newest: str
    """The id of the newest call, or of the newest callback that has no call."""
    time: datetime
    """When that call came, or that callback was created."""
    details: tuple[str, ...] = ()
    """What its handler or the server said about that call."""
    owners: set[str] = field(default_factory=set)
    count: int = 0


@server_command(
    "callback trace CALL",
    "callback trace CASE",
    "callback trace --label customer=acme --since 1d",
    "callback trace --owner orders --activity order-paid",
)
@click.argument("given", metavar="[CALL|CASE]", default="")
@request_options("ListCallbacksRequest", "callback_activity", "labels", "owner")
@options.since_filter("Only what happened")
@click.option("--all", "shows_all", is_flag=True, help="Also list what went well.")
@with_connection
def trace(
    connection: Connection, *, given: str, values: dict[str, Any], since: datetime | None, shows_all: bool
) -> None:
    """Say why a call or a callback is as it is, or why the callbacks of a customer fail.

    For a CALL it says what became of it, and for a CASE also of each of its calls. With --label, --owner, --activity or
    --since it groups the 10,000 newest callbacks that match, and all their calls, by what happened to them, the largest
    group first, with the newest one of each group. With --since it also looks at each older callback that had a call in
    that time.
    """
    if bool(given) == bool(values or since):
        raise click.UsageError("Give either CALL or CASE, or --label, --owner, --activity or --since.")
    if given:
        _show_one(connection, *connection.run(lambda client: _one(client, given)))
        return

    owner = values.pop("owner", "")

    def grouped(client: CallbackClient) -> tuple[list[Group], dict[str, Activity]]:
        found = search.searched_callbacks(client, search.owners_of(client, owner), since, **values)
        groups = groups_of(search.calls_of(client, found), earliest=since, shows_all=shows_all)
        return groups, _activities(client)

    _show_groups(connection, *connection.run(grouped))


def _sentences(callback: Callback, call: Call | None) -> list[str]:
    """Return sentences about a callback and one of its calls. None: it has none."""
    names = [why_uncalled(callback)] if call is None else why(call, callback)
    return [text_of(TEXTS[DEFAULT], name) for name in names]


def _one(client: CallbackClient, given: str) -> tuple[Callback, Sequence[Call], dict[str, Activity]]:
    """Return the callback, the one call or all of its calls, newest first, and the activities."""
    if "-" in given:
        call = client.get_call(search.full_call_id(client, given))
        return client.get_callback(call.case_id), [call], _activities(client)
    callback = client.get_callback(search.full_case_id(client, given))
    return callback, list(client.list_calls(callback.case_id, page_size=100)), _activities(client)


def _activities(client: CallbackClient) -> dict[str, Activity]:
    """Return the activities that are served or have something to do, by name. None is known without the permission."""
    with suppress(PermissionDeniedError, InvalidRequestError):
        return {each.activity: each for each in client.list_activities()}
    return {}


def groups_of(
    found: Iterable[tuple[Callback, Sequence[Call]]], *, earliest: datetime | None, shows_all: bool
) -> list[Group]:
    """Return the groups of callbacks and their calls, the largest first.

    Args:
        found: The callbacks, each with its calls.
        earliest: Calls before this time, and callbacks without calls that ended before it, are left out. None: none is.
        shows_all: Whether to keep what went well, and what still runs.
    """
    groups: dict[tuple[str, tuple[str, ...]], Group] = {}
    for callback, calls in found:
        for call in calls or (None,):
            time = (callback.close_time or callback.create_time) if call is None else call.start_time
            is_early = earliest is not None and time < earliest and not (call is None and callback.close_time is None)
            if is_early or not (shows_all or call is None or needs_attention(call)):
                continue
            sentences = tuple(_sentences(callback, call))
            newest = callback.case_id if call is None else call.call_id
            key = (callback.activity, sentences)
            group = groups.setdefault(key, Group(callback.activity, sentences, newest, time))
            if time >= group.time:
                group.newest, group.time, group.details = newest, time, _details(callback, call)
            group.owners.add(callback.owner)
            group.count += 1
    return sorted(groups.values(), key=lambda each: (-each.count, each.activity, each.newest))


def needs_attention(call: Call) -> bool:
    """Return whether a call did not go well, or waits for something that an operator can change."""
    if call.delivery is not None and call.delivery.status is not DeliveryStatus.DELIVERED:
        return call.delivery.status is not DeliveryStatus.RUNNING
    return call.status not in (CallStatus.SUCCEEDED, CallStatus.RUNNING)


def _details(callback: Callback, call: Call | None) -> tuple[str, ...]:
    """Return what was said about a call, without credentials: a handler can write them into it."""
    if call is None:
        return ()
    shown = masked(call, callback.state_query_parameter)
    of_delivery = shown.delivery.failure_detail if shown.delivery else ""
    return tuple(filter(None, (shown.failure_detail, of_delivery, shown.verification_failure)))


def _show_one(
    connection: Connection, callback: Callback, calls: Sequence[Call], activities: dict[str, Activity]
) -> None:
    shown: Sequence[Call | None] = calls or (() if callback.call_count else (None,))
    entries = [(call, _sentences(callback, call), _details(callback, call)) for call in shown]
    now = activities.get(callback.activity)
    if connection.as_json:
        view = {
            "callbackCaseId": callback.case_id,
            "owner": callback.owner,
            "callbackActivity": callback.activity,
            "served": None if now is None else now.is_served,
            "reasons": [
                ({} if call is None else {"callId": call.call_id, "status": call.status})
                | {"sentences": sentences, "details": list(details)}
                for call, sentences, details in entries
            ],
        }
        connection.print_json(view)
    else:
        TextView().trace(callback, entries, now)


def _show_groups(connection: Connection, groups: Sequence[Group], activities: dict[str, Activity]) -> None:
    if connection.as_json:
        views = [
            {
                "count": each.count,
                "callbackActivity": each.activity,
                "owners": sorted(each.owners),
                "sentences": list(each.sentences),
                "details": list(each.details),
                "newest": each.newest,
                "newestTime": json_output.time(each.time),
            }
            for each in groups
        ]
        connection.print_json(views)
        return
    view = TextView()
    for each in groups:
        view.reason(
            f"{each.count:,}x {each.activity}",
            f"newest {each.newest}, owner {', '.join(sorted(each.owners))}",
            each.time,
            each.sentences,
            each.details,
            activities.get(each.activity),
        )
    if not groups:
        click.echo("Nothing needs attention.")

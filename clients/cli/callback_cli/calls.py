"""Commands about calls: calls, call, wait, watch."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import click

from callback import (
    Call,
    Callback,
    CallbackClient,
    CallFailure,
    CallFilter,
    CallStatus,
    CallWatch,
    NotFoundError,
)
from callback.masking import masked
from callback_cli import options
from callback_cli.connection import Connection, server_command, with_connection
from callback_cli.options import FAILED, has_failed_for
from callback_cli.request_options import join, option_names, request_options
from callback_cli.search import calls_of, owner_calls_of, owners_of, searched_callbacks
from callback_cli.text_view import TextView


@server_command(
    "callback calls CASE",
    "callback calls --failed --since 1h",
    "callback calls --label customer=acme --status rejected --jq '.[] | \"\\(.callId) \\(.failureDetail)\"'",
    "callback calls --dead",
    "callback calls --pending --activity order-paid",
    name="calls",
)
@click.argument("case_id", metavar="[CASE]", default="")
@click.option("--dead", is_flag=True, help="Only calls whose delivery is dead, of all callbacks.")
@click.option("--pending", is_flag=True, help="Only calls of --activity whose delivery waits for its next attempt.")
@click.option(
    "--status",
    type=click.Choice([each.lower() for each in CallStatus if each is not CallStatus.UNKNOWN], case_sensitive=False),
    help="Only calls with this status.",
)
@options.outcome_options
@request_options("ListOwnerCallsRequest")
@request_options("ListCallbacksRequest", "labels")
@options.since_filter("Only calls that came")
@options.limit_option(1_000)
@options.show_secrets
@with_connection
def list_calls(
    connection: Connection,
    *,
    case_id: str,
    dead: bool,
    pending: bool,
    status: str | None,
    failed: bool,
    reason: CallFailure | None,
    values: dict[str, Any],
    since: datetime | None,
    limit: int,
) -> None:
    """List recorded calls, newest first: those of a callback, or of the 10,000 newest callbacks that match.

    With --since, it also looks at each older callback that had a call in that time.
    With --dead or --pending, it lists the calls to replay with `callback replay`.
    """
    if case_id and (dead or pending or values):
        others = [*option_names("ListOwnerCallsRequest"), *option_names("ListCallbacksRequest", "labels")]
        raise click.UsageError(f"CASE cannot be combined with {join(['--dead', '--pending', *others], 'or')}.")
    if dead and pending:
        raise click.UsageError("--dead and --pending cannot be combined.")
    if (dead or pending) and "labels" in values:
        raise click.UsageError("--dead and --pending cannot be combined with --label.")
    if pending and "activity" not in values:
        raise click.UsageError("--pending requires --activity.")
    if not (dead or pending) and (alone := sorted(set(values) - {"owner", "activity", "labels"})):
        needed = "--dead or --pending"
        raise click.UsageError(f"{join(option_names('ListOwnerCallsRequest', *alone), 'and')} need {needed}.")
    if failed and status:
        raise click.UsageError("--failed and --status cannot be combined.")
    owner = values.pop("owner", "")
    statuses = FAILED if failed else () if status is None else (CallStatus(status.upper()),)

    def is_chosen(call: Call) -> bool:
        return (
            (not statuses or call.status in statuses)
            and has_failed_for(call, reason)
            and (since is None or call.start_time >= since)
        )

    def listed(client: CallbackClient) -> Iterator[Call]:
        if case_id:
            return filter(is_chosen, client.list_calls(case_id, page_size=100))
        owners = owners_of(client, owner)
        if dead or pending:
            chosen_by = CallFilter.DEAD if dead else CallFilter.PENDING
            return filter(is_chosen, owner_calls_of(client, owners, chosen_by, **values))
        found = calls_of(client, searched_callbacks(client, owners, since, **values))
        chosen = [call for _, calls in found for call in calls if is_chosen(call)]
        return iter(sorted(chosen, key=lambda each: each.start_time, reverse=True))

    if show_calls(connection, listed, limit=limit):
        click.echo("There are more. Use a higher --limit to list them.", err=True)


@server_command("callback call CALL", "callback call CALL --jq .requestBody", name="call")
@click.argument("call_id", metavar="CALL")
@options.show_secrets
@with_connection
def get_call(connection: Connection, *, call_id: str) -> None:
    """Show a recorded call: its request, its response, and its delivery.

    JSON has every byte. On a terminal, states and credentials in it are masked as ***, as in text.
    """
    show_call(connection, lambda client: client.get_call(call_id))


@server_command(
    "callback watch",
    "callback watch --activity order-paid --label order=5",
    'callback watch --json --resume-token "$(tail -n 1 events.jsonl | jq -r .resumeToken)" >> events.jsonl',
)
@request_options("WatchCallsRequest")
@with_connection
def watch(connection: Connection, *, values: dict[str, Any]) -> None:
    """Show each change of a callback or a call as it happens, until Ctrl-C.

    Each line has the time, the change, the callback or call, its activity, and its new status. --json prints one object
    per line, with a `resumeToken` for --resume-token. If no change matches, an object with only a new `resumeToken` is
    printed about every 15 seconds, because the store deletes old events. If the connection breaks, the command
    reconnects, however long that takes, and continues without a gap.
    """
    view, first_token = TextView(), values.pop("resume_token", "")

    def watching(client: CallbackClient, token: str) -> CallWatch:
        return client.watch_calls(**values, resume_token=token)

    def start(client: CallbackClient) -> str:
        with watching(client, first_token) as events:
            return events.resume_token

    # First without retries: an unreachable server or an unknown callback is reported at once.
    token = connection.run(start)

    def show(client: CallbackClient) -> None:
        with watching(client, token) as events:
            if sys.stderr.isatty():
                click.echo("Watching.", err=True)
            shown = token
            while True:
                for event in (received := events.receive()):
                    if connection.as_json:
                        connection.print_json(event, on_one_line=True)
                    else:
                        view.event(event)
                if connection.as_json and not received and events.resume_token != shown:
                    connection.print_json({"resumeToken": events.resume_token}, on_one_line=True)
                shown = events.resume_token

    connection.run(show, retry_s=math.inf)


@server_command(
    "callback wait CASE",
    "callback wait CASE --after 0 --timeout 10m   # also returns an earlier call",
    "callback wait CASE --jq .requestBody",
)
@click.argument("case_id", metavar="CASE")
@click.option(
    "--after",
    metavar="N",
    type=click.IntRange(min=0),
    help="Wait for the call after the Nth one; 0 for the first.  [default: after the last existing one]",
)
@click.option(
    "--timeout",
    metavar="10m",
    callback=options.duration,
    help="Exit with code 124 after this time: 90s, 15m, 1h.  [default: no limit]",
)
@options.show_secrets
@with_connection
def wait(connection: Connection, *, case_id: str, after: int | None, timeout: timedelta | None) -> None:
    """Wait for the next call of a callback, and show it.

    It waits until the call has ended, shows it like `callback call`, and exits with code 0. It exits with code 124
    after the timeout, and with code 4 if the callback is closed, so that no call can arrive. Ctrl-C stops it. If the
    server becomes unreachable, it goes on waiting up to the timeout. So it does if the server is unreachable at the
    start, and says so; without --timeout it then ends at once.
    """
    if timeout is not None and not timeout:
        raise click.BadParameter("the timeout must be longer than 0", param_hint="--timeout")
    # First without retries, so that an unreachable server is reported at once, also if the command then waits for it.
    callback = connection.run(lambda client: client.get_callback(case_id))
    number = callback.call_count if after is None else after
    if sys.stderr.isatty():
        click.echo(f"Waiting for call {number + 1} of {case_id}.", err=True)
    left_s = math.inf if timeout is None else max(connection.ends_at - time.monotonic(), 0.1)

    def next_call(client: CallbackClient) -> Call:
        try:
            return client.wait_for_call(case_id, after=number, timeout=left_s)
        except TimeoutError:
            message = f"no call {number + 1} of {case_id} within {timeout.total_seconds() if timeout else left_s:g} s"
            raise TimeoutError(message) from None

    call = connection.run(next_call, retry_s=left_s)
    _show(connection, call, callback)


def show_call(connection: Connection, operation: Callable[[CallbackClient], Call]) -> None:
    """Request a call, and print it."""

    def one(client: CallbackClient) -> tuple[Call, Callback]:
        call = operation(client)
        return call, client.get_callback(call.case_id)

    _show(connection, *connection.run(one))


def show_calls(connection: Connection, operation: Callable[[CallbackClient], Iterator[Call]], *, limit: int) -> bool:
    """Request calls, print them up to the limit, and return whether there are more."""

    def first(client: CallbackClient) -> tuple[list[Call], dict[str, Callback]]:
        found = list(islice(operation(client), limit + 1))
        cases = {}
        for case in {call.case_id for call in found}:
            with suppress(NotFoundError):  # it was dropped since it was listed
                cases[case] = client.get_callback(case)
        found = [each for each in found if each.case_id in cases]
        if connection.masks_secrets:
            found = [masked(each, cases[each.case_id].state_query_parameter) for each in found]
        return found, cases

    values, cases = connection.run(first)
    connection.show(values[:limit], lambda shown: TextView().calls(shown, cases, datetime.now(UTC)))
    return len(values) > limit


def _show(connection: Connection, call: Call, callback: Callback) -> None:
    shown = masked(call, callback.state_query_parameter) if connection.masks_secrets else call
    connection.show(shown, lambda each: TextView().call(each, callback.activity))

"""Commands about calls: calls, call, wait, watch, replay."""

import math
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice

import click

from callback import Call, Callback, CallbackClient, CallFilter, CallWatch
from callback.masking import masked
from callback_cli import errors, json_view, options
from callback_cli.connection import Connection, ServerCommand, with_connection
from callback_cli.options import examples
from callback_cli.text_view import TextView


@click.command(
    "calls",
    cls=ServerCommand,
    epilog=examples("callback calls CASE", "callback calls CASE --json", "callback calls --dead"),
)
@click.argument("case_id", metavar="[CASE]", default="")
@click.option("--dead", is_flag=True, help="List all calls whose delivery is dead, instead of the calls of a CASE.")
@click.option(
    "--owner",
    metavar="NAME",
    default="",
    help="With --dead: list the calls of this owner (role admin).  [default: your own]",
)
@options.show_secrets
@with_connection
def list_calls(connection: Connection, *, case_id: str, dead: bool, owner: str, show_secrets: bool | None) -> None:
    """List the recorded calls of a callback, newest first.

    With --dead, it lists the calls to replay with `callback replay`.
    """
    if bool(case_id) == dead:
        raise click.UsageError("Give either CASE or --dead.")
    if owner and not dead:
        raise click.UsageError("--owner requires --dead, because a CASE has only one owner.")

    def listed(client: CallbackClient) -> Iterator[Call]:
        if dead:
            return client.list_owner_calls(CallFilter.DEAD, owner=owner, page_size=100)
        return client.list_calls(case_id, page_size=100)

    show_calls(connection, listed, show_secrets=show_secrets)


@click.command(
    "call", cls=ServerCommand, epilog=examples("callback call CALL", "callback call CALL --json | jq -r .requestBody")
)
@click.argument("call_id", metavar="CALL")
@options.show_secrets
@with_connection
def get_call(connection: Connection, *, call_id: str, show_secrets: bool | None) -> None:
    """Show a recorded call: its request, its response, and its delivery.

    JSON has every byte. On a terminal, states and credentials in it are masked as ***, as in text.
    """
    show_call(connection, lambda client: client.get_call(call_id), show_secrets=show_secrets)


@click.command(
    cls=ServerCommand, epilog=examples("callback replay CALL", "callback calls --dead   # lists the calls to replay")
)
@click.argument("call_id", metavar="CALL")
@options.show_secrets
@with_connection
def replay(connection: Connection, *, call_id: str, show_secrets: bool | None) -> None:
    """Run the handler of a recorded call again.

    As with --answer-mode ack, the server retries until the handler succeeds; `callback call CALL` shows the progress.
    The replay does not change what the caller got, nor the callback, unless the handler closes it. A delivery
    that waits for its next attempt is attempted now.
    """
    show_call(connection, lambda client: client.replay_call(call_id), show_secrets=show_secrets)


@click.command(
    cls=ServerCommand,
    epilog=examples(
        "callback watch",
        "callback watch --activity order-paid --label order=5",
        'callback watch --json --resume-token "$(tail -n 1 events.jsonl | jq -r .resumeToken)" >> events.jsonl',
    ),
)
@options.activity_filter
@options.label_filter
@click.option("--case", "case_id", metavar="CASE", callback=options.not_blank, help="Only this callback.")
@click.option(
    "--resume-token",
    metavar="TOKEN",
    default="",
    help="Continue after the line with this `resumeToken`, without a gap. With a token, a --case that does not exist "
    "is not an error: it may have been deleted.  [default: start now]",
)
@with_connection
def watch(connection: Connection, *, activity: str, labels: dict[str, str], case_id: str, resume_token: str) -> None:
    """Show each change of a callback or a call as it happens, until Ctrl-C.

    Each line has the time, the change, the callback or call, its activity, and its new status. --json prints one object
    per line, with a `resumeToken` for --resume-token. If no change matches, an object with only a new `resumeToken` is
    printed about every 15 seconds, because the store deletes old events. If the connection breaks, the command
    reconnects and continues without a gap.
    """
    view = TextView()

    def watching(client: CallbackClient, token: str) -> CallWatch:
        return client.watch_calls(activity=activity, labels=labels, case_id=case_id, resume_token=token)

    def start(client: CallbackClient) -> str:
        with watching(client, resume_token) as events:
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
                        click.echo(json_view.line(json_view.event(event)))
                    else:
                        view.event(event)
                if connection.as_json and not received and events.resume_token != shown:
                    click.echo(json_view.line({"resumeToken": events.resume_token}))
                shown = events.resume_token

    connection.run(show, retry=True)


@click.command(
    cls=ServerCommand,
    epilog=examples(
        "callback wait CASE",
        "callback wait CASE --after 0 --timeout 10m   # also returns an earlier call",
        "callback wait CASE --json | jq -r .requestBody",
    ),
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
def wait(
    connection: Connection, *, case_id: str, after: int | None, timeout: timedelta | None, show_secrets: bool | None
) -> None:
    """Wait for the next call of a callback, and show it.

    It waits until the call has ended, shows it like `callback call`, and exits with code 0. It exits with code 124
    after the timeout, and with code 4 if the callback is closed, so that no call can arrive. Ctrl-C stops it.
    """
    if timeout is not None and not timeout:
        raise click.BadParameter("the timeout must be longer than 0", param_hint="--timeout")
    # First without retries: an unknown callback is reported at once.
    callback = connection.run(lambda client: client.get_callback(case_id))
    number = callback.call_count if after is None else after
    if sys.stderr.isatty():
        click.echo(f"Waiting for call {number + 1} of {case_id}.", err=True)
    seconds = math.inf if timeout is None else timeout.total_seconds()
    try:
        call = connection.run(lambda client: client.wait_for_call(case_id, after=number, timeout=seconds), retry=True)
    except TimeoutError:
        message = f"no call {number + 1} of {case_id} within {seconds:g} s"
        click.echo(errors.timed_out(message, as_json=connection.as_json), err=True)
        raise click.exceptions.Exit(errors.EXIT_TIMED_OUT) from None
    if connection.masks_secrets(show_secrets):
        call = masked(call, callback.state_query_parameter)
    _show(connection, call, callback.activity)


def show_call(
    connection: Connection, operation: Callable[[CallbackClient], Call], *, show_secrets: bool | None
) -> None:
    """Request a call, and print it."""

    def one(client: CallbackClient) -> tuple[Call, str]:
        call = operation(client)
        case = client.get_callback(call.case_id)
        is_masked = connection.masks_secrets(show_secrets)
        return masked(call, case.state_query_parameter) if is_masked else call, case.activity

    _show(connection, *connection.run(one))


def show_calls(
    connection: Connection,
    operation: Callable[[CallbackClient], Iterator[Call]],
    *,
    show_secrets: bool | None,
    limit: int | None = None,
) -> bool:
    """Request calls, print them up to the limit, and return whether there are more."""

    def first(client: CallbackClient) -> tuple[list[Call], dict[str, Callback]]:
        found = list(islice(operation(client), None if limit is None else limit + 1))
        cases = {case: client.get_callback(case) for case in {call.case_id for call in found}}
        if connection.masks_secrets(show_secrets):
            found = [masked(each, cases[each.case_id].state_query_parameter) for each in found]
        return found, cases

    values, cases = connection.run(first)
    if connection.as_json:
        click.echo(json_view.dumps([json_view.listed_call(each) for each in values[:limit]]))
    else:
        TextView().calls(values[:limit], {case: each.activity for case, each in cases.items()})
    return limit is not None and len(values) > limit


def _show(connection: Connection, call: Call, activity: str) -> None:
    if connection.as_json:
        click.echo(json_view.dumps(json_view.call(call)))
    else:
        TextView().call(call, activity)

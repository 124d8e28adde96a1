"""The commands about calls: calls, call, wait."""

import math
import sys
from datetime import timedelta

import click

from callback import Call, CallbackClient
from callback_cli import failures, json_view, options
from callback_cli.masking import masked
from callback_cli.options import examples
from callback_cli.screen import Screen
from callback_cli.session import AskingCommand, Session, asks

_show_secrets = click.option(
    "--show-secrets", is_flag=True, help="Do not mask the state, cookies and other credentials that were recorded."
)


@click.command("calls", cls=AskingCommand, epilog=examples("callback calls CASE", "callback calls CASE --json"))
@click.argument("case_id", metavar="CASE")
@_show_secrets
@asks
def list_calls(session: Session, *, case_id: str, show_secrets: bool) -> None:
    """Show the recorded calls of a case, newest first.

    States and credentials in them are masked as ***, in JSON too.
    """

    def recorded(client: CallbackClient) -> list[Call]:
        found = list(client.list_calls(case_id, page_size=100))
        if show_secrets or not found:
            return found
        callback = client.get_callback(case_id)
        return [masked(each, callback.state_query_parameter) for each in found]

    values = session.ask(recorded)
    if session.as_json:
        click.echo(json_view.dumps([json_view.listed_call(each) for each in values]))
    else:
        Screen().calls(values)


@click.command(
    "call", cls=AskingCommand, epilog=examples("callback call CALL", "callback call CALL --json --show-secrets")
)
@click.argument("call_id", metavar="CALL")
@_show_secrets
@asks
def get_call(session: Session, *, call_id: str, show_secrets: bool) -> None:
    """Show a recorded call: what came in, and what was answered.

    States and credentials in it are masked as ***, in JSON too.
    """

    def recorded(client: CallbackClient) -> Call:
        call = client.get_call(call_id)
        return call if show_secrets else masked(call, client.get_callback(call.case_id).state_query_parameter)

    _show(session, session.ask(recorded))


@click.command(
    cls=AskingCommand,
    epilog=examples(
        "callback wait CASE",
        "callback wait CASE --after 0 --timeout 10m   # a call that has come already counts",
        "callback wait CASE --json | jq -r .requestBody",
    ),
)
@click.argument("case_id", metavar="CASE")
@click.option(
    "--after",
    metavar="N",
    type=click.IntRange(min=0),
    help="Wait for the call after the Nth of the case; 0 for the first.  [default: after those that there are]",
)
@click.option(
    "--timeout",
    metavar="10m",
    callback=options.duration,
    help="End with 124 after this time: 90s, 15m, 1h.  [default: for as long as it takes]",
)
@_show_secrets
@asks
def wait(session: Session, *, case_id: str, after: int | None, timeout: timedelta | None, show_secrets: bool) -> None:
    """Wait for the next call of a case, and show it.

    It waits until the call has been answered, shows it as `callback call` does, and ends with 0; with 124 when the time
    is over, and with 4 when the case is closed, so that no call can come. Ctrl-C ends it.
    """
    if timeout is not None and not timeout:
        raise click.BadParameter("there is no time to wait", param_hint="--timeout")
    # This first, and impatiently: who asks for what is not there is told at once.
    callback = session.ask(lambda client: client.get_callback(case_id))
    number = callback.call_count if after is None else after
    if sys.stderr.isatty():
        click.echo(f"Waiting for call {number + 1} of {case_id}.", err=True)
    seconds = math.inf if timeout is None else timeout.total_seconds()
    try:
        call = session.ask(lambda client: client.wait_for_call(case_id, after=number, timeout=seconds), patient=True)
    except TimeoutError:
        what = f"waited {seconds:g} s in vain for call {number + 1} of {case_id}"
        click.echo(failures.timed_out(what, as_json=session.as_json), err=True)
        raise click.exceptions.Exit(failures.EXIT_TIMED_OUT) from None
    _show(session, call if show_secrets else masked(call, callback.state_query_parameter))


def _show(session: Session, call: Call) -> None:
    if session.as_json:
        click.echo(json_view.dumps(json_view.call(call)))
    else:
        Screen().call(call)

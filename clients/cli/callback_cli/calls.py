"""The commands about calls: calls, call, wait, watch, replay."""

import math
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice

import click

from callback import Call, Callback, CallbackClient, CallFilter, CallWatch
from callback_cli import failures, json_view, options
from callback_cli.masking import masked
from callback_cli.options import examples
from callback_cli.screen import Screen
from callback_cli.session import AskingCommand, Session, asks

_show_secrets = click.option(
    "--show-secrets", is_flag=True, help="Do not mask the state, cookies and other credentials that were recorded."
)


@click.command(
    "calls",
    cls=AskingCommand,
    epilog=examples("callback calls CASE", "callback calls CASE --json", "callback calls --dead"),
)
@click.argument("case_id", metavar="[CASE]", default="")
@click.option("--dead", is_flag=True, help="In place of those of a CASE: all that were acknowledged and never handled.")
@click.option("--owner", metavar="NAME", default="", help="With --dead: those of this owner; for an admin.")
@_show_secrets
@asks
def list_calls(session: Session, *, case_id: str, dead: bool, owner: str, show_secrets: bool) -> None:
    """Show recorded calls, newest first: those of a case, or with --dead what `callback replay` is for.

    States and credentials in them are masked as ***, in JSON too.
    """
    if bool(case_id) == dead:
        raise click.UsageError("Give CASE, or --dead.")
    if owner and not dead:
        raise click.UsageError("--owner is for --dead: a CASE has one owner.")

    def listed(client: CallbackClient) -> Iterator[Call]:
        if dead:
            return client.list_owner_calls(CallFilter.DEAD, owner=owner, page_size=100)
        return client.list_calls(case_id, page_size=100)

    show_calls(session, listed, show_secrets=show_secrets)


@click.command(
    "call", cls=AskingCommand, epilog=examples("callback call CALL", "callback call CALL --json --show-secrets")
)
@click.argument("call_id", metavar="CALL")
@_show_secrets
@asks
def get_call(session: Session, *, call_id: str, show_secrets: bool) -> None:
    """Show a recorded call: what came in, what was answered, and what became of it after that.

    States and credentials in it are masked as ***, in JSON too.
    """
    show_call(session, lambda client: client.get_call(call_id), show_secrets=show_secrets)


@click.command(cls=AskingCommand, epilog=examples("callback replay CALL", "callback calls --dead   # what to replay"))
@click.argument("call_id", metavar="CALL")
@_show_secrets
@asks
def replay(session: Session, *, call_id: str, show_secrets: bool) -> None:
    """Have the handler of a recorded call decide on it again.

    It is tried until it works, as with --answer-mode ack; `callback call CALL` shows what becomes of it. Nothing
    changes for its caller, who was answered long ago, nor for its case. What waits for its next attempt gets it now.
    """
    show_call(session, lambda client: client.replay_call(call_id), show_secrets=show_secrets)


@click.command(
    cls=AskingCommand,
    epilog=examples(
        "callback watch",
        "callback watch --activity order-paid --label order=5",
        'callback watch --json --resume-token "$(tail -n 1 events.jsonl | jq -r .resumeToken)" >> events.jsonl',
    ),
)
@options.activity_filter
@options.label_filter
@click.option("--case", "case_id", metavar="CASE", callback=options.filled, help="Only this case.")
@click.option(
    "--resume-token",
    metavar="TOKEN",
    default="",
    help="Go on behind the line with this `resumeToken`, without a gap. A --case may be gone by then: one that never "
    "was is watched in silence.  [default: from now on]",
)
@asks
def watch(session: Session, *, activity: str, labels: dict[str, str], case_id: str, resume_token: str) -> None:
    """Show each change of a case or a call when it happens, until Ctrl-C.

    A line for each: when, what, the case or the call, its activity, and what is so after it. --json prints an object a
    line, with what belongs to --resume-token; where nothing happens that was asked for, an object with that alone comes
    every 15 seconds or so, for an older one may be refused. Where the connection breaks, it goes on from there, without
    a gap.
    """
    screen = Screen()

    def watching(client: CallbackClient, token: str) -> CallWatch:
        return client.watch_calls(activity=activity, labels=labels, case_id=case_id, resume_token=token)

    def begin(client: CallbackClient) -> str:
        with watching(client, resume_token) as events:
            return events.resume_token

    # This first, and impatiently: who asks a server that is not there, or for what is not there, is told at once.
    token = session.ask(begin)

    def show(client: CallbackClient) -> None:
        with watching(client, token) as events:
            if sys.stderr.isatty():
                click.echo("Watching.", err=True)
            shown = token
            while True:
                for event in (received := events.receive()):
                    if session.as_json:
                        click.echo(json_view.line(json_view.event(event)))
                    else:
                        screen.event(event)
                if session.as_json and not received and events.resume_token != shown:
                    click.echo(json_view.line({"resumeToken": events.resume_token}))
                shown = events.resume_token

    session.ask(show, patient=True)


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
    _show(session, call if show_secrets else masked(call, callback.state_query_parameter), callback.activity)


def show_call(session: Session, question: Callable[[CallbackClient], Call], *, show_secrets: bool = False) -> None:
    """Ask for a call, and print it."""

    def one(client: CallbackClient) -> tuple[Call, str]:
        call = question(client)
        case = client.get_callback(call.case_id)
        return call if show_secrets else masked(call, case.state_query_parameter), case.activity

    _show(session, *session.ask(one))


def show_calls(
    session: Session,
    question: Callable[[CallbackClient], Iterator[Call]],
    *,
    show_secrets: bool = False,
    limit: int | None = None,
) -> bool:
    """Ask for calls, and print as many as the limit says; returns whether there are more."""

    def first(client: CallbackClient) -> tuple[list[Call], dict[str, Callback]]:
        found = list(islice(question(client), None if limit is None else limit + 1))
        cases = {case: client.get_callback(case) for case in {call.case_id for call in found}}
        if not show_secrets:
            found = [masked(each, cases[each.case_id].state_query_parameter) for each in found]
        return found, cases

    values, cases = session.ask(first)
    if session.as_json:
        click.echo(json_view.dumps([json_view.listed_call(each) for each in values[:limit]]))
    else:
        Screen().calls(values[:limit], {case: each.activity for case, each in cases.items()})
    return limit is not None and len(values) > limit


def _show(session: Session, call: Call, activity: str) -> None:
    if session.as_json:
        click.echo(json_view.dumps(json_view.call(call)))
    else:
        Screen().call(call, activity)

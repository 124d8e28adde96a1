"""The commands about cases: generate, list, get, set-response, close, erase."""

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import click

from callback import (
    Accept,
    AnswerMode,
    Callback,
    CallbackClient,
    CallbackStatus,
    CallFilter,
    GetGuard,
    Reject,
    Response,
)
from callback_cli import json_view, options
from callback_cli.calls import show_call, show_calls
from callback_cli.masking import masked_response
from callback_cli.options import examples, fallback_options, response_options
from callback_cli.screen import Screen
from callback_cli.session import AskingCommand, Session, asks

DEFAULT_LIMIT = 1_000
"""How many cases `list` prints unless it is told otherwise: what one page can hold."""

_RESETS = {"redirect-url": "redirect_url", "body": "body", "code": "code", "header": "headers"}
"""What `--reset` takes, and the attribute that it means."""


@click.command(
    cls=AskingCommand,
    epilog=examples(
        "callback generate --activity record --type response --body 'thank you'",
        "callback generate --activity order-paid --type redirect --redirect-url /page/thankyou",
        "callback generate --activity login --type response --param state --ttl 10m",
        "callback generate --activity pushed --type response --multiple --verification-profile github",
        "callback generate --activity confirmed --type response --get-guard confirm",
        "callback generate --activity record --type response --multiple --label order=5 --json",
        "callback generate --activity record --type response --body-file page.html --header content-type=text/html",
        "callback generate --activity form --type response --answer-deadline 20s --fallback-code 202",
        "callback generate --activity order-paid --type response --multiple --answer-mode ack --ordered",
    ),
)
@click.option("--activity", metavar="A", required=True, help="Who decides: `record`, `form`, or a handler of yours.")
@response_options(required=True)
@click.option("--param", metavar="P", default="", help="Carry the state in this query or form parameter (OAuth, SAML).")
@click.option("--retryable", is_flag=True, help="Stay open after a rejected or failed call.")
@click.option("--multiple", is_flag=True, help="Stay open whatever becomes of the calls, until it is closed.")
@click.option("--domain", metavar="https://…", default="", help="Use this domain in the URL.")
@click.option("--activity-case", metavar="C", default="", help="Handed to the handler unchanged.")
@click.option("--request-id", metavar="R", default="", help="Makes it safe to ask again: the same URL comes back.")
@click.option("--ttl", metavar="1h", callback=options.duration, help="Close it after this time: 90s, 15m, 1h, 7d.")
@click.option(
    "--label",
    "labels",
    metavar="K=V",
    multiple=True,
    callback=options.labels,
    help="A label, by which to find it again; repeat.",
)
@click.option(
    "--verification-profile",
    metavar="NAME",
    default="",
    help="Let in only what passes this profile, which the server declares: a signature, a secret, an address.",
)
@click.option(
    "--get-guard",
    type=click.Choice([each.lower() for each in GetGuard if each is not GetGuard.UNKNOWN], case_sensitive=False),
    default="off",
    show_default=True,
    help="What is no call: with detect a GET by a program that is known to open links; with confirm any GET, until a "
    "person presses the button that it shows.",
)
@click.option(
    "--answer-mode",
    type=click.Choice([each.lower() for each in AnswerMode if each is not AnswerMode.UNKNOWN], case_sensitive=False),
    help="Who answers a call: the handler, while the caller waits; with hold a person or program, by callback answer; "
    "with ack the case itself, and the handler gets the call after that.  [default: handler; for the activity form, "
    "hold]",
)
@click.option("--ordered", is_flag=True, help="With --answer-mode ack: handle the calls one by one, in their order.")
@click.option(
    "--answer-deadline",
    metavar="5s",
    callback=options.duration,
    help="After this time give the caller the fallback below, while the call goes on: 500ms, 5s.",
)
@fallback_options
@asks
def generate(
    session: Session,
    *,
    activity: str,
    response: Response,
    param: str,
    retryable: bool,
    multiple: bool,
    domain: str,
    activity_case: str,
    request_id: str,
    ttl: timedelta | None,
    labels: dict[str, str],
    verification_profile: str,
    get_guard: str,
    answer_mode: str | None,
    ordered: bool,
    answer_deadline: timedelta | None,
    fallback: Response | None,
) -> None:
    """Make a URL that someone outside can call.

    The URL is printed this once: keep it, and treat it as a secret.
    """
    value = session.ask(
        lambda client: client.generate_callback_url(
            activity,
            response,
            activity_case=activity_case,
            state_query_parameter=param,
            retryable_after_error=retryable,
            allow_multiple_calls=multiple,
            alternative_domain=domain,
            request_id=request_id,
            time_to_live=ttl,
            labels=labels,
            verification_profile=verification_profile,
            get_guard=GetGuard(get_guard.upper()),
            answer_mode=None if answer_mode is None else AnswerMode(answer_mode.upper()),
            ordered=ordered,
            answer_deadline=answer_deadline,
            fallback=fallback,
        )
    )
    if session.as_json:
        click.echo(json_view.dumps(json_view.generated(value)))
    else:
        Screen().generated(value)


@click.command(
    "list",
    cls=AskingCommand,
    epilog=examples(
        "callback list --status open --activity order-paid --limit 20",
        "callback list --label order=5 --json",
        "callback list --owner orders --token-file admin.token",
        "callback list --waiting",
    ),
)
@click.option(
    "--status",
    type=click.Choice(["open", "in_progress", "closed"], case_sensitive=False),
    help="Only cases in this status.",
)
@options.activity_filter
@options.label_filter
@click.option("--waiting", is_flag=True, help="In place of cases, the calls that are held and wait for their answer.")
@click.option("--owner", metavar="NAME", default="", help="Those of this owner, in place of your own; for an admin.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="The most to show.",
)
@asks
def list_callbacks(
    session: Session,
    *,
    status: str | None,
    activity: str,
    labels: dict[str, str],
    waiting: bool,
    owner: str,
    limit: int,
) -> None:
    """Show cases, newest first.

    Their labels are shown where the terminal is wide enough. With --waiting, what to answer by `callback
    answer`.
    """
    if waiting:
        if status or activity or labels:
            raise click.UsageError("--waiting excludes --status, --activity and --label.")
        more = show_calls(session, lambda client: client.list_owner_calls(CallFilter.WAITING, owner=owner), limit=limit)
    else:
        more = _show_cases(session, status=status, activity=activity, labels=labels, owner=owner, limit=limit)
    if more:
        click.echo("There are more: see them with a higher --limit.", err=True)


def _show_cases(
    session: Session, *, status: str | None, activity: str, labels: dict[str, str], owner: str, limit: int
) -> bool:
    """Print as many cases as may be shown; returns whether there are more."""

    def first(client: CallbackClient) -> list[Callback]:
        found = client.list_callbacks(
            status=None if status is None else CallbackStatus(status.upper()),
            activity=activity,
            labels=labels,
            owner=owner,
            page_size=min(limit + 1, 1_000),
        )
        return list(islice(found, limit + 1))

    values = session.ask(first)
    if session.as_json:
        click.echo(json_view.dumps([json_view.callback(each) for each in values[:limit]]))
    else:
        Screen().callbacks(values[:limit], datetime.now(UTC))
    return len(values) > limit


@click.command(cls=AskingCommand, epilog=examples("callback get CASE --json"))
@click.argument("case_id", metavar="CASE")
@asks
def get(session: Session, *, case_id: str) -> None:
    """Show a case.

    Credentials in its response are masked as ***; JSON has it whole.
    """
    _show(session, session.ask(lambda client: client.get_callback(case_id)))


@click.command(
    "set-response",
    cls=AskingCommand,
    epilog=examples(
        "callback set-response CASE --code 503 --body 'come back later'",
        "callback set-response CASE --type redirect --redirect-url /page/sorry",
        "callback set-response CASE --reset code --reset header",
    ),
)
@click.argument("case_id", metavar="CASE")
@response_options(required=False)
@click.option(
    "--reset",
    type=click.Choice(list(_RESETS)),
    multiple=True,
    help="Return to the default: no URL, an empty body, code 200, no headers; repeat.",
)
@asks
def set_response(session: Session, *, case_id: str, response: Response, reset: tuple[str, ...]) -> None:
    """Change the response to the calls of a case.

    What is not given stays as it is, the type too; headers are replaced as a whole. A call that already runs keeps the
    response that the case had when the call started.
    """
    if response == Response(type=None) and not reset:
        raise click.UsageError(
            "Nothing to change: give --type, --redirect-url, --body, --body-file, --code, --header or --reset."
        )
    for name in reset:
        if getattr(response, _RESETS[name]) is not None:
            raise click.UsageError(f"--{name} and --reset {name} exclude each other.")
    _show(
        session,
        session.ask(lambda client: client.set_response(case_id, response, reset=[_RESETS[name] for name in reset])),
    )


@click.command(
    cls=AskingCommand,
    epilog=examples(
        "callback answer CALL --body 'welcome'",
        "callback answer CALL --reject --body 'we do not know you'",
        "callback list --waiting   # what to answer",
    ),
)
@click.argument("call_id", metavar="CALL")
@click.option("--reject", is_flag=True, help="Reject the call: it sent incorrect data.")
@click.option("--keep-open", is_flag=True, help="Accept, and keep the case open for another call.")
@response_options(required=False)
@asks
def answer(session: Session, *, call_id: str, reject: bool, keep_open: bool, response: Response) -> None:
    """Answer a held call, as a handler would.

    What is given overrides the response of the case. With --reject the caller gets only what is given, by default a
    422. `callback list --waiting` shows the held calls.
    """
    if reject and keep_open:
        raise click.UsageError("--reject and --keep-open exclude each other.")
    given = None if response == Response(type=None) else response
    decision = Reject(given) if reject else Accept(given, keep_open=keep_open)
    show_call(session, lambda client: client.answer_call(call_id, decision))


@click.command(cls=AskingCommand, epilog=examples("callback close CASE"))
@click.argument("case_id", metavar="CASE")
@asks
def close(session: Session, *, case_id: str) -> None:
    """Close a case at once: its URL can not be called any more.

    Calls that run go on and are answered. Closing a closed case changes nothing.
    """
    _show(session, session.ask(lambda client: client.close_callback(case_id)))


@click.command(cls=AskingCommand, epilog=examples("callback erase CASE", "callback erase CASE --yes --json"))
@click.argument("case_id", metavar="CASE")
@click.option("--yes", is_flag=True, help="Do not ask. Needed where there is no terminal to ask on.")
@asks
def erase(session: Session, *, case_id: str, yes: bool) -> None:
    """Erase what was recorded of the calls of a case.

    Headers, query, body, client address and answer of each call are gone then, for good: for data protection. The
    case, with its own response, its labels and what else is known of the calls (times, status), stays for its time.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("There is no terminal to ask on: give --yes to erase.")
        click.confirm(f"Erase what was recorded of the calls of {case_id}?", abort=True, err=True)
    count = session.ask(lambda client: client.erase_calls(case_id))
    if session.as_json:
        click.echo(json_view.dumps({"erasedCallCount": count}))
    else:
        click.echo(f"Erased what was recorded of {count} call{'' if count == 1 else 's'}.")


def _show(session: Session, value: Callback) -> None:
    if session.as_json:
        click.echo(json_view.dumps(json_view.callback(value)))
    else:
        fallback = None if value.fallback is None else masked_response(value.fallback)
        Screen().callback(replace(value, response=masked_response(value.response), fallback=fallback))

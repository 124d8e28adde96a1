"""Commands about callbacks: generate, list, get, set-response, answer, resolve, extend, close, erase."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import click

from callback import (
    Accept,
    AnswerMode,
    Call,
    Callback,
    CallbackClient,
    CallbackStatus,
    CallFailure,
    CallFilter,
    CallReason,
    CallStatus,
    GetGuard,
    Prompt,
    Reject,
    Response,
)
from callback.masking import masked_response
from callback_cli import json_view, options
from callback_cli.calls import show_call, show_calls
from callback_cli.connection import Connection, ServerCommand, with_connection
from callback_cli.options import FAILED, examples, has_failed_for, other_response_options, response_options
from callback_cli.search import MAX_PAGE, callbacks_of, calls_of, newest_calls, owner_calls_of, owners_of
from callback_cli.template import Template
from callback_cli.text_view import TextView

DEFAULT_LIMIT = 1_000
"""The number of callbacks that `list` prints without --limit: the size of one page."""

_RESETS = {
    "redirect-url": "redirect_url",
    "body": "body",
    "code": "code",
    "header": "headers",
    "heading": "heading",
    "text": "text",
    "link-label": "link_label",
    "link-url": "link_url",
}
"""The values of `--reset`, and the attribute of each."""


@click.command(
    cls=ServerCommand,
    epilog=examples(
        "callback generate --activity record --type response --body 'thank you'",
        "callback generate --activity order-paid --type redirect --redirect-url https://shop.example/thankyou",
        "callback generate --activity login --type response --param state --ttl 10m",
        "callback generate --activity confirmed --type response --get-guard confirm",
        "callback generate --activity approval --type response --get-guard confirm --prompt-title 'Approve order 5?' "
        "--choice approve=Approve --choice reject=Reject",
        "callback generate --activity record --type response --multiple --label order=5 --json",
        "callback generate --activity record --type response --body-file page.html --header content-type=text/html",
        "callback generate --activity record --type page --heading 'Thank you' --text 'Your order has arrived.'",
        "callback generate --activity form --type response --answer-deadline 20s --fallback-code 202",
        "callback generate --activity record --type response --closed-heading 'Already done' --closed-code 410",
        "callback generate --activity order-paid --type response --multiple --answer-mode ack --ordered",
    ),
)
@click.option(
    "--activity",
    metavar="A",
    required=True,
    help="The activity that decides on calls: `record`, `form`, or one of your handlers.",
)
@response_options(required=True)
@click.option(
    "--param",
    metavar="P",
    default="",
    help="Put the secret of the URL (the state) in this query or form parameter, as OAuth and SAML do.",
)
@click.option("--retryable", is_flag=True, help="Keep the callback open after a rejected, failed or interrupted call.")
@click.option("--multiple", is_flag=True, help="Accept any number of calls, until the callback is closed or expires.")
@click.option("--domain", metavar="https://…", default="", help="Use this origin in the URL.")
@click.option("--activity-case", metavar="C", default="", help="A text that the handler receives unchanged.")
@click.option(
    "--request-id", metavar="R", default="", help="An id that makes retries safe: the same id returns the same URL."
)
@click.option(
    "--ttl", metavar="1h", callback=options.duration, help="Close the callback after this time: 90s, 15m, 1h, 7d."
)
@click.option(
    "--label",
    "labels",
    metavar="K=V",
    multiple=True,
    callback=options.labels,
    help="A label by which to find the callback. Can be repeated.",
)
@click.option(
    "--verification-profile",
    metavar="NAME",
    default="",
    help="Accept only requests that pass this verification profile, which the server declares (a signature, a secret, "
    "an address).",
)
@click.option(
    "--get-guard",
    type=click.Choice([each.lower() for each in GetGuard if each is not GetGuard.UNKNOWN], case_sensitive=False),
    default="off",
    show_default=True,
    help="How to treat GET requests. off: every GET is a call. detect: a GET of a known link-opening program is not a "
    "call. confirm: a GET gets a page with a button, which makes the call.",
)
@click.option("--prompt-title", metavar="TEXT", help="With --get-guard confirm: the heading of the page.")
@click.option("--prompt-text", metavar="TEXT", help="The text of that page.")
@click.option(
    "--choice",
    "choices",
    metavar="VALUE=LABEL",
    multiple=True,
    callback=options.labels,
    help="A button of that page, which makes the call with this choice. Can be repeated, up to 4 times.",
)
@click.option(
    "--answer-mode",
    type=click.Choice([each.lower() for each in AnswerMode if each is not AnswerMode.UNKNOWN], case_sensitive=False),
    help="How a call gets its response. handler: from the handler, while the caller waits. hold: from `callback "
    "answer`, while the caller waits. ack: the response of the callback, at once; the handler runs later.  "
    "[default: handler; for the activity form, hold]",
)
@click.option(
    "--ordered", is_flag=True, help="With --answer-mode ack: handle the calls one after the other, in their order."
)
@click.option(
    "--repeat-window",
    metavar="2m",
    callback=options.duration,
    help="Give the same request its answer again for this time after its call, at most 7d; 0s: the same request is "
    "another call.  [default: 2m; with --multiple, 0s]",
)
@click.option("--no-repeat", is_flag=True, help="Give no answer twice: the same request again gets a 410.")
@click.option(
    "--answer-deadline",
    metavar="5s",
    callback=options.duration,
    help="Send the fallback response to the caller after this time, or tell it to wait, while the call continues: "
    "500ms, 5s.",
)
@other_response_options("fallback", "fallback", "the fallback")
@other_response_options("closed_response", "closed", "the response to requests after the callback is closed")
@click.option(
    "--hold-time",
    metavar="5m",
    callback=options.duration,
    help="With --answer-mode hold: let a call fail that is not answered within this time: 90s, 15m, 7d.  [default: 5m]",
)
@click.option(
    "--remind-after",
    metavar="3d",
    multiple=True,
    callback=options.durations,
    help="With --notify reminder: remind the handler after this time, unless the callback is closed or resolved by "
    "then: 90s, 15m, 3d. Can be repeated, up to 10 times.",
)
@click.option(
    "--notify",
    type=click.Choice(["reminder", "expiry"], case_sensitive=False),
    multiple=True,
    help="A notification that the handler of the activity gets. reminder: at each time of --remind-after. expiry: when "
    "the callback expires, unless it is resolved. Can be repeated.",
)
@with_connection
def generate(
    connection: Connection,
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
    prompt_title: str | None,
    prompt_text: str | None,
    choices: dict[str, str],
    answer_mode: str | None,
    ordered: bool,
    repeat_window: timedelta | None,
    no_repeat: bool,
    answer_deadline: timedelta | None,
    fallback: Response | None,
    closed_response: Response | None,
    hold_time: timedelta | None,
    remind_after: tuple[timedelta, ...],
    notify: tuple[str, ...],
) -> None:
    """Generate a URL that an outside system can call.

    The URL is printed only this once. Store it, and treat it as a secret.
    """
    if prompt_title is None and (prompt_text is not None or choices):
        raise click.UsageError("--prompt-text and --choice need a --prompt-title.")
    prompt = None if prompt_title is None else Prompt(prompt_title, prompt_text or "", choices)
    logging.getLogger("callback.client").addHandler(logging.NullHandler())  # the output has the warnings
    value = connection.run(
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
            get_guard=None if get_guard == "off" else GetGuard(get_guard.upper()),
            prompt=prompt,
            answer_mode=None if answer_mode is None else AnswerMode(answer_mode.upper()),
            ordered=ordered,
            repeat_window=repeat_window,
            no_repeat=no_repeat,
            answer_deadline=answer_deadline,
            fallback=fallback,
            closed_response=closed_response,
            hold_time=hold_time,
            remind_after=remind_after,
            notify=[CallReason(each.upper()) for each in notify],
        )
    )
    if connection.as_json:
        connection.print_json(json_view.generated(value))
    else:
        TextView().generated(value)
        for warning in value.warnings:
            click.echo(f"Warning: {warning.text}", err=True)


@click.command(
    "list",
    cls=ServerCommand,
    epilog=examples(
        "callback list --status open --activity order-paid --limit 20",
        "callback list --label order=5 --json",
        "callback list --failed --since 1h",
        "callback list --last-call rejected --format '{callbackCaseId} {owner} {labels.order}'",
        "callback list --owner orders --token-file admin.token",
        "callback list --waiting",
    ),
)
@click.option(
    "--status",
    type=click.Choice(["open", "in_progress", "closed"], case_sensitive=False),
    help="Only callbacks in this status.",
)
@options.activity_filter
@options.label_filter
@options.call_status_filter("--last-call", "Only callbacks whose newest call has this status.")
@options.outcome_options
@options.since_filter("Only callbacks that were generated")
@click.option("--waiting", is_flag=True, help="List the held calls that wait for an answer, instead of callbacks.")
@options.owner_filter("List the callbacks or calls of this owner (role admin, or a worker with answers).")
@options.limit_option(DEFAULT_LIMIT)
@options.show_secrets
@options.format_option
@with_connection
def list_callbacks(
    connection: Connection,
    *,
    status: str | None,
    activity: str,
    labels: dict[str, str],
    last_call: CallStatus | None,
    failed: bool,
    reason: CallFailure | None,
    since: datetime | None,
    waiting: bool,
    owner: str,
    limit: int,
    show_secrets: bool | None,
    template: Template | None,
) -> None:
    """List callbacks with the status of their newest call, newest first.

    An administrator sees those of every owner in the principals file. Labels are shown if the terminal is wide enough;
    on a narrow one, ids are shown by their beginning, which every command takes. With --waiting, it lists the calls to
    answer with `callback answer`.
    """
    if waiting:
        if status or activity or labels or last_call or since or failed or reason:
            raise click.UsageError(
                "--waiting cannot be combined with --status, --activity, --label, --last-call, --since, --failed or "
                "--reason."
            )
        more = show_calls(
            connection,
            lambda client: owner_calls_of(client, owners_of(client, owner), CallFilter.WAITING),
            show_secrets=show_secrets,
            limit=limit,
            template=template,
        )
    else:
        if failed and last_call:
            raise click.UsageError("--failed and --last-call cannot be combined.")
        more = _show_cases(
            connection,
            status=status,
            activity=activity,
            labels=labels,
            owner=owner,
            last_calls=FAILED if failed else (last_call,),
            reason=reason,
            since=since,
            show_secrets=show_secrets,
            limit=limit,
            template=template,
        )
    if more:
        click.echo("There are more. Use a higher --limit to list them.", err=True)


def _show_cases(
    connection: Connection,
    *,
    status: str | None,
    activity: str,
    labels: dict[str, str],
    owner: str,
    last_calls: Sequence[CallStatus | None],
    reason: CallFailure | None,
    since: datetime | None,
    show_secrets: bool | None,
    limit: int,
    template: Template | None,
) -> bool:
    """Print callbacks up to the limit, and return whether there are more."""
    is_text = not connection.as_json and template is None

    def first(client: CallbackClient) -> tuple[list[Callback], dict[str, Call]]:
        found = callbacks_of(
            client,
            owners_of(client, owner),
            status=None if status is None else CallbackStatus(status.upper()),
            activity=activity,
            labels=labels,
            last_calls=last_calls,
            created_after=since,
            page_size=min(limit + 1, MAX_PAGE),
        )
        if reason is not None:
            of_reason = (
                callback for callback, calls in calls_of(client, found) if calls and has_failed_for(calls[0], reason)
            )
            shown = list(islice(of_reason, limit + 1))
        else:
            shown = list(islice(found, limit + 1))
        return shown, newest_calls(client, shown[:limit]) if is_text else {}

    values, newest = connection.run(first)
    if connection.masks_secrets(show_secrets):
        values = [_masked(each) for each in values]
    shown = values[:limit]
    if is_text:
        TextView().callbacks(shown, newest, datetime.now(UTC))
    else:
        connection.print_all([json_view.callback(each) for each in shown], template)
    return len(values) > limit


@click.command(cls=ServerCommand, epilog=examples("callback get CASE --json"))
@click.argument("case_id", metavar="CASE")
@options.show_secrets
@with_connection
def get(connection: Connection, *, case_id: str, show_secrets: bool | None) -> None:
    """Show a callback, with its response."""
    _show(connection, connection.run(lambda client: client.get_callback(case_id)), show_secrets=show_secrets)


@click.command(
    "set-response",
    cls=ServerCommand,
    epilog=examples(
        "callback set-response CASE --code 503 --body 'come back later'",
        "callback set-response CASE --type redirect --redirect-url https://shop.example/sorry",
        "callback set-response CASE --reset code --reset header",
    ),
)
@click.argument("case_id", metavar="CASE")
@response_options(required=False)
@click.option(
    "--reset",
    type=click.Choice(list(_RESETS)),
    multiple=True,
    help="Reset an attribute to its default: no URL, an empty body, code 200, no headers, no heading, no text, no "
    "link. Can be repeated.",
)
@options.show_secrets
@with_connection
def set_response(
    connection: Connection, *, case_id: str, response: Response, reset: tuple[str, ...], show_secrets: bool | None
) -> None:
    """Change the response of a callback.

    Attributes that are not given stay as they are, including the type. Headers are replaced as a whole. A call
    that runs or is held is answered with the new response, if it is accepted.
    """
    if response == Response(type=None) and not reset:
        raise click.UsageError(
            "Nothing to change. Give --type, --redirect-url, --body, --body-file, --code, --header, --heading, --text,"
            " --link-label, --link-url or --reset."
        )
    for name in reset:
        if getattr(response, _RESETS[name]) is not None:
            raise click.UsageError(f"--{name} and --reset {name} cannot be combined.")
    _show(
        connection,
        connection.run(lambda client: client.set_response(case_id, response, reset=[_RESETS[name] for name in reset])),
        show_secrets=show_secrets,
    )


@click.command(
    cls=ServerCommand,
    epilog=examples(
        "callback answer CALL --body 'welcome'",
        "callback answer CALL --reject --body 'we do not know you'",
        "callback list --waiting   # lists the calls to answer",
    ),
)
@click.argument("call_id", metavar="CALL")
@click.option("--reject", is_flag=True, help="Reject the call because its data is incorrect.")
@click.option("--keep-open", is_flag=True, help="Accept the call, and keep the callback open for another one.")
@click.option("--close", is_flag=True, help="Accept the call, and close the callback.")
@click.option("--no-repeat", is_flag=True, help="Give this answer only once: the same request again gets a 410.")
@response_options(required=False)
@options.show_secrets
@with_connection
def answer(
    connection: Connection,
    *,
    call_id: str,
    reject: bool,
    keep_open: bool,
    close: bool,
    no_repeat: bool,
    response: Response,
    show_secrets: bool | None,
) -> None:
    """Answer a held call, as a handler would.

    Given attributes override the response of the callback. With --reject the caller receives only the given attributes,
    by default with the code 422. `callback list --waiting` lists the held calls.
    """
    chosen = [name for name, given in (("--reject", reject), ("--keep-open", keep_open), ("--close", close)) if given]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} cannot be combined.")
    override = None if response == Response(type=None) else response
    if reject:
        decision: Accept | Reject = Reject(override, no_repeat=no_repeat)
    else:
        decision = Accept(override, keep_open=keep_open, close=close, no_repeat=no_repeat)
    show_call(connection, lambda client: client.answer_call(call_id, decision), show_secrets=show_secrets)


@click.command(
    cls=ServerCommand,
    epilog=examples(
        "callback resolve CASE --type redirect --redirect-url https://shop.example/thankyou",
        "callback resolve CASE --reject --body 'the payment failed'",
    ),
)
@click.argument("case_id", metavar="CASE")
@click.option("--reject", is_flag=True, help="Reject the calls because their data is incorrect.")
@click.option("--no-repeat", is_flag=True, help="Give this answer to each call only once: a repeat gets a 410.")
@response_options(required=False)
@options.show_secrets
@with_connection
def resolve(
    connection: Connection,
    *,
    case_id: str,
    reject: bool,
    no_repeat: bool,
    response: Response,
    show_secrets: bool | None,
) -> None:
    """Give a callback that holds calls its answer, once.

    The calls that are held now get the answer, and so does each later call, at once. Given attributes override the
    response of the callback. With --reject the callers receive only the given attributes, by default with the code 422;
    a callback that is retryable then rejects only the calls that are held now.
    """
    given = None if response == Response(type=None) else response
    answer = Reject(given, no_repeat=no_repeat) if reject else Accept(given, no_repeat=no_repeat)
    _show(
        connection,
        connection.run(lambda client: client.resolve_callback(case_id, answer)),
        show_secrets=show_secrets,
    )


@click.command(cls=ServerCommand, epilog=examples("callback extend CASE --ttl 7d"))
@click.argument("case_id", metavar="CASE")
@click.option(
    "--ttl",
    metavar="7d",
    required=True,
    callback=options.duration,
    help="Let the callback expire after this time from now: 90s, 15m, 1h, 7d.",
)
@options.show_secrets
@with_connection
def extend(connection: Connection, *, case_id: str, ttl: timedelta, show_secrets: bool | None) -> None:
    """Set another time at which a callback expires, later or earlier than before.

    A closed callback stays closed. Reminders come at their times all the same.
    """
    expire_time = datetime.now(UTC) + ttl
    _show(
        connection,
        connection.run(lambda client: client.extend_callback(case_id, expire_time)),
        show_secrets=show_secrets,
    )


@click.command(cls=ServerCommand, epilog=examples("callback close CASE"))
@click.argument("case_id", metavar="CASE")
@options.show_secrets
@with_connection
def close(connection: Connection, *, case_id: str, show_secrets: bool | None) -> None:
    """Close a callback immediately: its URL accepts no more calls.

    Running calls continue, and their callers get a response. Closing a closed callback has no effect.
    """
    _show(connection, connection.run(lambda client: client.close_callback(case_id)), show_secrets=show_secrets)


@click.command(cls=ServerCommand, epilog=examples("callback erase CASE", "callback erase CASE --yes --json"))
@click.argument("case_id", metavar="CASE")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation. Required without a terminal.")
@with_connection
def erase(connection: Connection, *, case_id: str, yes: bool) -> None:
    """Erase the recorded content of the calls of a callback permanently.

    Use it for data protection. It deletes the headers, query, body, client address and response of each call. The
    callback with its own response and labels stays, and so do the times and status of the calls. A delivery that waits
    becomes dead; after a fallback of 2xx or 3xx, this ends its call.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("There is no terminal to ask for confirmation. Use --yes to erase.")
        click.confirm(f"Erase the recorded content of the calls of {case_id}?", abort=True, err=True)
    count = connection.run(lambda client: client.erase_calls(case_id))
    if connection.as_json:
        connection.print_json({"erasedCallCount": count})
    else:
        click.echo(f"Erased the recorded content of {count} call{'' if count == 1 else 's'}.")


def _show(connection: Connection, value: Callback, *, show_secrets: bool | None) -> None:
    if connection.masks_secrets(show_secrets):
        value = _masked(value)
    if connection.as_json:
        connection.print_json(json_view.callback(value))
    else:
        TextView().callback(value)


def _masked(value: Callback) -> Callback:
    fallback = None if value.fallback is None else masked_response(value.fallback)
    closed_response = None if value.closed_response is None else masked_response(value.closed_response)
    return replace(value, response=masked_response(value.response), fallback=fallback, closed_response=closed_response)

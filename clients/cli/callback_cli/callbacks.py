"""Commands about callbacks: generate, list, get, set-response, answer, resolve, extend, close, erase."""

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import click

from callback import Accept, Call, Callback, CallbackClient, CallFailure, CallFilter, NotFoundError, Reject, Response
from callback.masking import masked_response
from callback_cli import options
from callback_cli._contract import MESSAGES
from callback_cli.calls import show_call, show_calls
from callback_cli.connection import Connection, server_command, with_connection
from callback_cli.options import FAILED, has_failed_for
from callback_cli.request_options import join, option_names, request_options, resets
from callback_cli.search import (
    MAX_PAGE,
    MAX_SEARCHED,
    callbacks_of,
    calls_of,
    newest_calls,
    owner_calls_of,
    owners_of,
)
from callback_cli.text_view import TextView

DEFAULT_LIMIT = 1_000
"""The number of callbacks that `list` prints without --limit: the size of one page."""


@server_command(
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
)
@request_options("GenerateCallbackUrlRequest")
@with_connection
def generate(connection: Connection, *, values: dict[str, Any]) -> None:
    """Generate a URL that an outside system can call.

    The URL is printed only this once. Store it, and treat it as a secret.
    """
    logging.getLogger("callback.client").addHandler(logging.NullHandler())  # the output has the warnings
    activity, response = values.pop("activity"), values.pop("response")
    value = connection.run(lambda client: client.generate_callback_url(activity, response, **values))
    connection.show(value, TextView().value)
    for warning in () if connection.as_json else value.warnings:
        click.echo(f"Warning: {warning.text}", err=True)


@server_command(
    "callback list --status open --activity order-paid --limit 20",
    "callback list --label order=5 --json",
    "callback list --failed --since 1h",
    "callback list --last-call rejected --jq '.[] | \"\\(.callbackCaseId) \\(.labels.order)\"'",
    "callback list --owner orders --token-file admin.token",
    "callback list --waiting",
    name="list",
)
@request_options("ListCallbacksRequest")
@options.outcome_options
@click.option("--waiting", is_flag=True, help="List the held calls that wait for an answer, instead of callbacks.")
@options.limit_option(DEFAULT_LIMIT)
@options.show_secrets
@with_connection
def list_callbacks(
    connection: Connection,
    *,
    values: dict[str, Any],
    failed: bool,
    reason: CallFailure | None,
    waiting: bool,
    limit: int,
) -> None:
    """List callbacks with the status of their newest call, newest first.

    An administrator sees those of every owner, also of one that has left the principals file. Labels are shown if the
    terminal is wide enough; on a narrow one, ids are shown by their beginning, which every command takes. With
    --waiting, it lists the calls to answer with `callback answer`.
    """
    owner = values.pop("owner", "")
    if waiting:
        if values or failed or reason:
            others = [each for each in option_names("ListCallbacksRequest") if each != "--owner"]
            others += ["--failed", "--reason"]
            raise click.UsageError(f"--waiting cannot be combined with {join(others, 'or')}.")
        more = show_calls(
            connection,
            lambda client: owner_calls_of(client, owners_of(client, owner), CallFilter.WAITING),
            limit=limit,
        )
    else:
        if failed and "last_call_status" in values:
            raise click.UsageError("--failed and --last-call cannot be combined.")
        last_calls = FAILED if failed else (values.pop("last_call_status", None),)

        def found(client: CallbackClient) -> Iterator[Callback]:
            page_size = min(limit + 1, MAX_PAGE)
            cases = callbacks_of(client, owners_of(client, owner), last_calls, page_size=page_size, **values)
            if reason is None:
                return cases
            searched = calls_of(client, islice(cases, MAX_SEARCHED))
            return (each for each, calls in searched if calls and has_failed_for(calls[0], reason))

        more = _show_list(connection, found, limit=limit)
    if more:
        click.echo("There are more. Use a higher --limit to list them.", err=True)


def _show_list(connection: Connection, found: Callable[[CallbackClient], Iterator[Callback]], *, limit: int) -> bool:
    """Print callbacks up to the limit, and return whether there are more."""

    def first(client: CallbackClient) -> tuple[list[Callback], dict[str, Call]]:
        shown = list(islice(found(client), limit + 1))
        return shown, {} if connection.as_json else newest_calls(client, shown[:limit])

    values, newest = connection.run(first)
    shown = [_masked(each) if connection.masks_secrets else each for each in values[:limit]]
    connection.show(shown, lambda found: TextView().callbacks(found, newest, datetime.now(UTC)))
    return len(values) > limit


@server_command("callback get CASE --json")
@click.argument("case_id", metavar="CASE")
@options.show_secrets
@with_connection
def get(connection: Connection, *, case_id: str) -> None:
    """Show a callback, with its response."""
    _show(connection, lambda client: client.get_callback(case_id))


@server_command(
    "callback set-response CASE --code 503 --body 'come back later'",
    "callback set-response CASE --type redirect --redirect-url https://shop.example/sorry",
    "callback set-response CASE --reset code --reset header",
    name="set-response",
)
@click.argument("case_id", metavar="CASE")
@request_options("SetResponseRequest", "response", is_partial=True)
@click.option(
    "--reset",
    type=click.Choice(list(resets())),
    multiple=True,
    help="Reset an attribute to its default, such as code 200 or no headers. Can be repeated.",
)
@options.show_secrets
@with_connection
def set_response(connection: Connection, *, case_id: str, values: dict[str, Any], reset: tuple[str, ...]) -> None:
    """Change the response of a callback.

    Attributes that are not given stay as they are, including the type. Headers are replaced as a whole. A call
    that runs or is held is answered with the new response, if it is accepted.
    """
    if not values and not reset:
        names = [*option_names("SetResponseRequest", "response"), "--reset"]
        raise click.UsageError(f"Nothing to change. Give {join(names, 'or')}.")
    response, attributes = values.get("response", Response(type=None)), [resets()[name] for name in reset]
    for name, attribute in zip(reset, attributes, strict=True):
        if getattr(response, attribute) is not None:
            raise click.UsageError(f"--{name} and --reset {name} cannot be combined.")
    _show(connection, lambda client: client.set_response(case_id, response, reset=attributes))


@server_command(
    "callback answer CALL --body 'welcome'",
    "callback answer CALL --reject --body 'we do not know you'",
    "callback list --waiting   # lists the calls to answer",
)
@click.argument("call_id", metavar="CALL")
@click.option("--reject", is_flag=True, help="Reject the call because its data is incorrect.")
@request_options("AnswerCallRequest", is_partial=True)
@options.show_secrets
@with_connection
def answer(connection: Connection, *, call_id: str, reject: bool, values: dict[str, Any]) -> None:
    """Answer a held call, as a handler would.

    Given attributes override the response of the callback. With --reject the caller receives only the given attributes,
    by default with the code 422. `callback list --waiting` lists the held calls.
    """
    chosen = ["--reject"] if reject else []
    chosen += [option for option, name in (("--keep-open", "keep_open"), ("--close", "close")) if name in values]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} cannot be combined.")
    decision = Reject(**values) if reject else Accept(**values)
    show_call(connection, lambda client: client.answer_call(call_id, decision))


@server_command(
    "callback resolve CASE --type redirect --redirect-url https://shop.example/thankyou",
    "callback resolve CASE --reject --body 'the payment failed'",
)
@click.argument("case_id", metavar="CASE")
@click.option("--reject", is_flag=True, help="Reject the calls because their data is incorrect.")
@request_options("ResolveCallbackRequest", is_partial=True)
@options.show_secrets
@with_connection
def resolve(connection: Connection, *, case_id: str, reject: bool, values: dict[str, Any]) -> None:
    """Give a callback that holds calls its answer, once.

    The calls that are held now get the answer, and so does each later call, at once. Given attributes override the
    response of the callback. With --reject the callers receive only the given attributes, by default with the code 422;
    a callback that is retryable then rejects only the calls that are held now.
    """
    answer = Reject(**values) if reject else Accept(**values)
    _show(connection, lambda client: client.resolve_callback(case_id, answer))


@server_command("callback extend CASE --ttl 7d")
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
def extend(connection: Connection, *, case_id: str, ttl: timedelta) -> None:
    """Set another time at which a callback expires, later or earlier than before.

    A closed callback stays closed. Reminders come at their times all the same.
    """
    expire_time = datetime.now(UTC) + ttl
    _show(connection, lambda client: client.extend_callback(case_id, expire_time))


@server_command("callback close CASE")
@click.argument("case_id", metavar="CASE")
@options.show_secrets
@with_connection
def close(connection: Connection, *, case_id: str) -> None:
    """Close a callback immediately: its URL accepts no more calls.

    Running calls continue, and their callers get a response. Closing a closed callback has no effect.
    """
    _show(connection, lambda client: client.close_callback(case_id))


@server_command(
    "callback erase CASE",
    "callback erase CASE --yes --json",
    "callback erase --label customer=acme --yes --token-file admin.token",
)
@click.argument("case_id", metavar="[CASE]", default="")
@request_options("ListCallbacksRequest", "labels", "owner")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation. Required without a terminal.")
@with_connection
def erase(connection: Connection, *, case_id: str, values: dict[str, Any], yes: bool) -> None:
    """Erase the recorded content of the calls of a callback, or of all callbacks with labels, permanently.

    Use it for data protection. It deletes the headers, query, body, client address and response of each call. The
    callback with its own response and labels stays, and so do the times and status of the calls. A delivery that waits
    becomes dead; after a fallback of 2xx or 3xx, this ends its call.

    With --label, an administrator erases for all owners, also for those that have left the principals file. The command
    can be stopped and run again: it goes on with the others.
    """
    if bool(case_id) == ("labels" in values):
        raise click.UsageError("Give either CASE or --label.")
    if case_id and values:
        raise click.UsageError("--owner requires --label.")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask for confirmation. Use --yes to erase.")
    owner = values.pop("owner", "")

    def labelled(client: CallbackClient) -> list[str]:
        return [each.case_id for each in callbacks_of(client, owners_of(client, owner), **values)]

    cases = [case_id] if case_id else connection.run(labelled)
    if cases and not yes:
        of_what = case_id or f"{len(cases):,} callback{'' if len(cases) == 1 else 's'}"
        click.confirm(f"Erase the recorded content of the calls of {of_what}?", abort=True, err=True)
    count = sum(connection.run(lambda client: [_erase(client, each, is_listed=not case_id) for each in cases]))
    of_callbacks = "" if case_id else f" of {len(cases):,} callback{'' if len(cases) == 1 else 's'}"
    text = f"Erased the recorded content of {count:,} call{'' if count == 1 else 's'}{of_callbacks}."
    shown = {"erasedCallCount": count} | ({} if case_id else {"callbackCount": len(cases)})
    connection.show(shown, lambda _: click.echo(text))


def _erase(client: CallbackClient, case_id: str, *, is_listed: bool) -> int:
    """Erase the content of the calls of a callback, and return of how many. A listed one may be dropped since."""
    try:
        return client.erase_calls(case_id)
    except NotFoundError:
        if not is_listed:
            raise
        return 0


def _show(connection: Connection, operation: Callable[[CallbackClient], Callback]) -> None:
    """Request a callback, and print it."""
    value = connection.run(operation)
    connection.show(_masked(value) if connection.masks_secrets else value, TextView().callback)


def _masked(value: Callback) -> Callback:
    names = [each.short_name for each in MESSAGES["Callback"] if each.of == "Response"]
    responses: dict[str, Any] = {name: masked_response(each) for name in names if (each := getattr(value, name))}
    return replace(value, **responses)

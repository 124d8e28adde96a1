"""The commands about cases: generate, list, get, set-response, close."""

from datetime import UTC, datetime, timedelta

import click

from callback import AsyncCallbackClient, Callback, CallbackStatus, Response
from callback_cli import json_view, options
from callback_cli.options import examples, response_options
from callback_cli.screen import Screen
from callback_cli.session import Session, asks

DEFAULT_LIMIT = 1_000
"""How many cases `list` prints unless it is told otherwise: what one page can hold."""


@click.command(
    epilog=examples(
        "callback generate --activity record --type response --body 'thank you'",
        "callback generate --activity order-paid --type redirect --redirect-url /page/thankyou",
        "callback generate --activity login --type response --param state --ttl 10m",
    )
)
@click.option("--activity", metavar="A", required=True, help="Who decides: `record`, or one that the server declares.")
@response_options(required=True)
@click.option("--param", metavar="P", default="", help="Carry the state in this query or form parameter (OAuth, SAML).")
@click.option("--retryable", is_flag=True, help="Stay open after a rejected or failed call.")
@click.option("--multiple", is_flag=True, help="Stay open whatever becomes of the calls, until it is closed.")
@click.option("--domain", metavar="https://…", default="", help="Use this domain in the URL.")
@click.option("--activity-case", metavar="C", default="", help="Handed to the handler unchanged.")
@click.option("--request-id", metavar="R", default="", help="Makes it safe to ask again: the same URL comes back.")
@click.option("--ttl", metavar="1h", callback=options.duration, help="Close it after this time: 90s, 15m, 1h, 7d.")
@click.option("--label", "labels", metavar="K=V", multiple=True, callback=options.labels, help="A label; repeat.")
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
        )
    )
    if session.as_json:
        click.echo(json_view.dumps(json_view.generated(value)))
    else:
        Screen().generated(value)


@click.command("list", epilog=examples("callback list --status open --activity order-paid --limit 20"))
@click.option(
    "--status",
    type=click.Choice(["open", "in_progress", "closed"], case_sensitive=False),
    help="Only cases in this status.",
)
@click.option("--activity", metavar="A", default="", help="Only cases of this activity.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="The most cases to show.",
)
@asks
def list_callbacks(session: Session, *, status: str | None, activity: str, limit: int) -> None:
    """Show cases, newest first."""

    async def first(client: AsyncCallbackClient) -> list[Callback]:
        """As many as may be shown, and one more if there is one."""
        found: list[Callback] = []
        wanted = None if status is None else CallbackStatus(status.upper())
        async for each in client.list_callbacks(status=wanted, activity=activity, page_size=min(limit + 1, 1_000)):
            found.append(each)
            if len(found) > limit:
                break
        return found

    values = session.ask(first)
    if session.as_json:
        click.echo(json_view.dumps([json_view.callback(each) for each in values[:limit]]))
    else:
        Screen().callbacks(values[:limit], datetime.now(UTC))
    if len(values) > limit:
        click.echo("There are more: see them with a higher --limit.", err=True)


@click.command(epilog=examples("callback get CASE --json"))
@click.argument("case_id", metavar="CASE")
@asks
def get(session: Session, *, case_id: str) -> None:
    """Show a case."""
    _show(session, session.ask(lambda client: client.get_callback(case_id)))


@click.command(
    "set-response",
    epilog=examples(
        "callback set-response CASE --code 503 --body 'come back later'",
        "callback set-response CASE --type redirect --redirect-url /page/sorry",
    ),
)
@click.argument("case_id", metavar="CASE")
@response_options(required=False)
@asks
def set_response(session: Session, *, case_id: str, response: Response) -> None:
    """Change what the calls of a case are answered with.

    What is not given stays as it is, the type too; headers are replaced as a whole. A call that is already running
    keeps the response that it began with.
    """
    if response == Response(type=None):
        raise click.UsageError(
            "Nothing to change: give --type, --redirect-url, --body, --body-file, --code or --header."
        )
    _show(session, session.ask(lambda client: client.set_response(case_id, response)))


@click.command(epilog=examples("callback close CASE"))
@click.argument("case_id", metavar="CASE")
@asks
def close(session: Session, *, case_id: str) -> None:
    """Close a case at once: its URL can not be called any more.

    Calls that run go on and are answered. Closing a closed case changes nothing.
    """
    _show(session, session.ask(lambda client: client.close_callback(case_id)))


def _show(session: Session, value: Callback) -> None:
    if session.as_json:
        click.echo(json_view.dumps(json_view.callback(value)))
    else:
        Screen().callback(value)

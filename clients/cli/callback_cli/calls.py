"""The commands about calls: calls, call."""

import click

from callback import AsyncCallbackClient, Call
from callback_cli import json_view
from callback_cli.masking import masked
from callback_cli.options import examples
from callback_cli.screen import Screen
from callback_cli.session import Session, asks

_show_secrets = click.option(
    "--show-secrets", is_flag=True, help="Do not mask the state, cookies and other credentials that were recorded."
)


@click.command("calls", epilog=examples("callback calls CASE"))
@click.argument("case_id", metavar="CASE")
@_show_secrets
@asks
def list_calls(session: Session, *, case_id: str, show_secrets: bool) -> None:
    """Show the recorded calls of a case, newest first.

    States and credentials in them are masked as ***, in JSON too.
    """

    async def recorded(client: AsyncCallbackClient) -> list[Call]:
        found = [each async for each in client.list_calls(case_id, page_size=100)]
        if show_secrets or not found:
            return found
        callback = await client.get_callback(case_id)
        return [masked(each, callback.state_query_parameter) for each in found]

    values = session.ask(recorded)
    if session.as_json:
        click.echo(json_view.dumps([json_view.listed_call(each) for each in values]))
    else:
        Screen().calls(values)


@click.command("call", epilog=examples("callback call CALL", "callback call CALL --json --show-secrets"))
@click.argument("call_id", metavar="CALL")
@_show_secrets
@asks
def get_call(session: Session, *, call_id: str, show_secrets: bool) -> None:
    """Show a recorded call: what came in, and what was answered.

    States and credentials in it are masked as ***, in JSON too.
    """

    async def recorded(client: AsyncCallbackClient) -> Call:
        call = await client.get_call(call_id)
        if show_secrets:
            return call
        callback = await client.get_callback(call.case_id)
        return masked(call, callback.state_query_parameter)

    value = session.ask(recorded)
    if session.as_json:
        click.echo(json_view.dumps(json_view.call(value)))
    else:
        Screen().call(value)

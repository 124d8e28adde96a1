"""The command `replay`: run the handler of a call again, or those of all dead or waiting calls of an activity."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import click

from callback import Call
from callback_cli import errors, options, search
from callback_cli.calls import show_call
from callback_cli.connection import Connection, server_command, with_connection
from callback_cli.request_options import request_options
from callback_triage.reasons import why_dead
from callback_triage.replays import Deliveries, Replay
from callback_triage.texts import DEFAULT, TEXTS, text_of

_PROGRESS_S = 1.0
"""The time between two lines of progress, in seconds."""


@server_command(
    "callback replay CALL",
    "callback calls --dead   # lists the calls to replay",
    "callback replay --activity order-paid --since 2h --dry-run",
    "callback replay --activity order-paid --since 2h",
    "callback replay --activity order-paid --pending",
)
@click.argument("call_id", metavar="[CALL]", default="")
@request_options("ListOwnerCallsRequest", "owner")
@click.option("--activity", metavar="NAME", default="", help="Replay all dead calls of this activity.")
@click.option(
    "--pending",
    is_flag=True,
    help="With --activity: attempt the deliveries that wait for their next attempt now, instead of the dead ones.",
)
@options.since_filter("With --activity: only calls that came")
@click.option("--dry-run", is_flag=True, help="With --activity: count the calls by their failure, and replay none.")
@options.show_secrets
@with_connection
def replay(
    connection: Connection,
    *,
    call_id: str,
    activity: str,
    pending: bool,
    values: dict[str, Any],
    since: datetime | None,
    dry_run: bool,
) -> None:
    """Run the handler of a recorded call again, or of all dead or waiting calls of an activity.

    As with --answer-mode ack, the server retries until the handler succeeds; `callback call CALL` shows the progress.
    The replay does not change what the caller got, nor the callback, unless the handler closes it. A delivery
    that waits for its next attempt is attempted now.

    With --activity, a call that is replayed is not dead any more, and with --pending it does not wait any more. So the
    command can be stopped and run again: it goes on with the others.
    """
    owner = values.get("owner", "")
    if bool(call_id) == bool(activity):
        raise click.UsageError("Give either CALL or --activity.")
    if call_id:
        if since or owner or pending or dry_run:
            raise click.UsageError("--since, --owner, --pending and --dry-run require --activity.")
        show_call(connection, lambda client: client.replay_call(call_id))
        return
    owners = connection.run(lambda client: search.owners_of(client, owner))
    with connection.reporting():
        groups = [Deliveries(activity, owner=owner, since=since, pending=pending) for owner in owners]
        asyncio.run(_replay_all(connection, groups, dry_run=dry_run))


async def _replay_all(connection: Connection, groups: Sequence[Deliveries], *, dry_run: bool) -> None:
    async with connection.async_client() as client:
        found = [call for group in groups for call in await _calls_of(group.pages(client))]
        if dry_run:
            reasons = Counter(why_dead(call.delivery) for call in found)
            counts = {text_of(TEXTS[DEFAULT], name): count for name, count in reasons.most_common()}
            _show_preview(connection, counts, len(found))
            return
        replayed, refused, problem = 0, 0, ""
        for group in groups:
            running = Replay(group, len(found), client)
            while running.is_running:
                await running.wait(_PROGRESS_S)
                click.echo(f"{replayed + running.replayed:,} of {len(found):,} replayed", err=True)
            replayed, refused, problem = replayed + running.replayed, refused + running.refused, running.error
            if problem:
                break
    text = f"Replayed {replayed:,} calls." + (f" {refused:,} could not be replayed." if refused else "")
    connection.show({"replayedCallCount": replayed, "refusedCallCount": refused}, lambda _: click.echo(text))
    if problem:
        click.echo(f"Error: stopped early: {problem}. Run the command again to go on.", err=True)
        raise click.exceptions.Exit(errors.EXIT_REFUSED)


async def _calls_of(pages: AsyncIterator[Sequence[Call]]) -> list[Call]:
    return [call async for page in pages for call in page]


def _show_preview(connection: Connection, counts: dict[str, int], total: int) -> None:
    if connection.as_json:
        views = [{"reason": reason, "count": count} for reason, count in counts.items()]
        connection.print_json({"callCount": total, "reasons": views})
        return
    click.echo(f"{total:,} calls would be replayed.")
    for reason, count in counts.items():
        click.echo(f"  {count:,}x {reason}")

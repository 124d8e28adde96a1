"""Commands about activities, and what servers do and find: activities, pause, resume, paused, statistics, findings."""

import click

from callback import Activity, CallbackClient, FindingLevel, Findings
from callback_cli import options
from callback_cli.connection import Connection, server_command, with_connection
from callback_cli.errors import EXIT_REFUSED
from callback_cli.reading import read_command
from callback_cli.search import owners_of
from callback_cli.text_view import TextView
from callback_triage.activities import activities_together


@server_command(
    "callback pause order-paid --token-file admin.token",
    "callback pause order-paid --reason 'the shop is down until 14:00' --token-file admin.token",
)
@click.argument("activity", callback=options.not_blank)
@click.option("--reason", metavar="TEXT", default="", help="Why, for other administrators: at most 200 characters.")
@with_connection
def pause(connection: Connection, *, activity: str, reason: str) -> None:
    """Pause the deliveries of an activity until it is resumed (role admin).

    Deliveries are the calls with --answer-mode ack, and replays. They wait, and none is lost; running ones finish.
    Calls with a waiting caller are not affected. `callback paused` lists the paused activities.
    """
    connection.run(lambda client: client.pause_activity(activity, reason=reason))
    _show(connection, activity, "is paused", paused=True)


@server_command("callback resume order-paid --token-file admin.token")
@click.argument("activity")
@with_connection
def resume(connection: Connection, *, activity: str) -> None:
    """Resume the deliveries of an activity after `callback pause` (role admin)."""

    def resumed(client: CallbackClient) -> bool:
        was_paused = activity in [each.activity for each in client.list_paused_activities()]
        client.resume_activity(activity)
        return was_paused

    outcome = "is resumed" if connection.run(resumed) else "was not paused"
    _show(connection, activity, outcome, paused=False)


paused = read_command(
    "paused",
    "ListPausedActivities",
    "List the paused activities, with who paused each, when and why (role admin).",
    "callback paused --token-file admin.token",
)


def _activities(client: CallbackClient, *, owner: str = "") -> list[Activity]:
    """Return the activities of an owner, or of all owners for an administrator."""
    owners = owners_of(client, owner, with_open_only=True)
    return activities_together(list(client.list_activities(owner=each)) for each in owners)


list_activities = read_command(
    "activities",
    "ListActivities",
    """List the activities: how each is served, by how many workers, and what waits for it.

    An activity that nothing serves is listed while callbacks for it are open, or deliveries wait (role admin). An
    administrator sees the open callbacks of all owners.
    """,
    "callback activities",
    "callback activities --owner orders --token-file admin.token",
    show=TextView.activities,
    read=_activities,
)
statistics = read_command(
    "statistics",
    "GetStatistics",
    """Show the calls of the last hour, the time of their stages, and what waits now (role admin).

    The numbers are those of all servers. The console shows them as plots. --json has them by minute.
    """,
    "callback statistics --token-file admin.token",
    show=TextView.statistics,
)


@server_command("callback findings --token-file admin.token", "callback findings --json --jq '.findings[].level'")
@with_connection
def findings(connection: Connection) -> None:
    """Show what the server that responds finds wrong with itself (role admin).

    It makes the checks of `callback doctor server`, from elsewhere: its files, certificates and principals, the store,
    and the targets of its activities. They are at most a minute old. If --target has several addresses, one server
    responds: run the command for each. The exit code is 1 if there is a problem.
    """

    def show(found: Findings) -> None:
        for each in found.findings:
            TextView().finding(check=each.check, level=each.level.value.lower(), seen=each.seen, advice=each.advice)

    found = connection.run(CallbackClient.list_findings)
    connection.show(found, show)
    if any(each.level is FindingLevel.PROBLEM for each in found.findings):
        raise click.exceptions.Exit(EXIT_REFUSED)


def _show(connection: Connection, activity: str, outcome: str, *, paused: bool) -> None:
    connection.show({"callbackActivity": activity, "paused": paused}, lambda _: click.echo(f"{activity} {outcome}."))

"""The commands about activities: pause, resume, paused."""

import click

from callback import CallbackClient
from callback_cli import json_view, options
from callback_cli.options import examples
from callback_cli.screen import Screen
from callback_cli.session import AskingCommand, Session, asks


@click.command(cls=AskingCommand, epilog=examples("callback pause order-paid --token-file admin.token"))
@click.argument("activity", callback=options.filled)
@asks
def pause(session: Session, *, activity: str) -> None:
    """Keep what was acknowledged from being handled, until it is resumed; for an admin.

    That is of calls with --answer-mode ack, and of replays. They wait, and none is lost; those at work end. Calls whose
    caller waits go on. `callback paused` shows what is paused.
    """
    session.ask(lambda client: client.pause_activity(activity))
    _show(session, activity, "is paused", paused=True)


@click.command(cls=AskingCommand, epilog=examples("callback resume order-paid --token-file admin.token"))
@click.argument("activity")
@asks
def resume(session: Session, *, activity: str) -> None:
    """Undo `callback pause`; for an admin."""

    def resumed(client: CallbackClient) -> bool:
        was_paused = activity in client.list_paused_activities()
        client.resume_activity(activity)
        return was_paused

    told = "is resumed" if session.ask(resumed) else "was not paused"
    _show(session, activity, told, paused=False)


@click.command(cls=AskingCommand, epilog=examples("callback paused --token-file admin.token"))
@asks
def paused(session: Session) -> None:
    """Show which activities are paused, one a line; for an admin."""
    names = session.ask(lambda client: client.list_paused_activities())
    if session.as_json:
        click.echo(json_view.dumps([_view(name, paused=True) for name in names]))
    else:
        Screen().lines(names, empty="No activity is paused.")


def _view(activity: str, *, paused: bool) -> json_view.Json:
    return {"callbackActivity": activity, "paused": paused}


def _show(session: Session, activity: str, told: str, *, paused: bool) -> None:
    if session.as_json:
        click.echo(json_view.dumps(_view(activity, paused=paused)))
    else:
        click.echo(f"{activity} {told}.")

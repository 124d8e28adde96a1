"""The command `listen`: a worker that forwards the calls of an activity to an HTTP server."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from callback import Handlers
from callback_cli import errors, options
from callback_cli.connection import Connection, server_command, with_connection

if TYPE_CHECKING:
    from callback_cli.forwarding import Forwarded

_TUNNEL_GRACE_S = 5.0
"""How long a tunnel may take to end, in seconds. Then it is killed."""


def _without_query(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Return the URL of an HTTP server, after checking it. Raise click.BadParameter."""
    if urlsplit(options.http_url(context, parameter, text)).query:
        raise click.BadParameter("the URL must not have a query.", param=parameter)
    return text


@server_command(
    "callback listen order-paid --forward-to http://127.0.0.1:3000/hook",
    "callback listen order-paid --forward-to http://127.0.0.1:3000/hook --tunnel-command 'ngrok http 8080'",
)
@click.argument("activity", callback=options.not_blank)
@click.option(
    "--forward-to",
    metavar="URL",
    required=True,
    callback=_without_query,
    help="The URL of the HTTP server. The query of each call is added to it.",
)
@click.option(
    "--tunnel-command",
    metavar="COMMAND",
    callback=options.not_blank,
    help="A command of the shell that runs meanwhile, such as a tunnel from the Internet to the edge. Its output goes "
    "to standard error. If it ends, so does this command.",
)
@click.option(
    "--max-calls",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="The number of concurrent calls.",
)
@with_connection
def listen(connection: Connection, *, activity: str, forward_to: str, tunnel_command: str, max_calls: int) -> None:
    """Pass the calls of an ACTIVITY to an HTTP server, and answer with its responses, until Ctrl-C.

    It is a worker of the ACTIVITY (role worker). The HTTP server gets method, query, headers and body as they
    arrived. 2xx and a redirect accept the call, any other code rejects it. The caller gets the server's code, headers
    and body. If the server cannot be reached, or does not answer within the deadline of the activity, the call
    fails. Each call is a line with its result, without the query, because it can contain a secret.
    """
    from callback_cli.forwarding import Forwarder, ForwardingError  # it imports what no other command needs

    handlers = Handlers()
    handlers.activity(activity)(Forwarder(forward_to, max_calls, lambda each: _show(connection, each)).handle)
    _log_to_standard_error(ForwardingError)

    async def run() -> None:
        worker = connection.worker(handlers, max_calls=max_calls)
        async with _tunnel(tunnel_command) as tunnel_end, worker.working():
            await worker.connected()
            click.echo(f"Listening for {activity}. Calls go to {forward_to}.", err=True)
            code = await tunnel_end
            click.echo(f"Error: the tunnel command has ended with the exit code {code}", err=True)
            raise click.exceptions.Exit(errors.EXIT_REFUSED)

    with connection.reporting():
        asyncio.run(_until_terminated(run()))


async def _until_terminated(work: Coroutine[None, None, None]) -> None:
    """Run a coroutine, and cancel it at SIGTERM. Ctrl-C cancels it too: asyncio does that."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise


@contextlib.asynccontextmanager
async def _tunnel(command: str) -> AsyncIterator[asyncio.Future[int]]:
    """Run a command of the shell, if there is one. Give a future of its exit code, and end it afterwards."""
    if not command:
        yield asyncio.get_running_loop().create_future()
        return
    process = await asyncio.create_subprocess_shell(
        command, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr.fileno(), start_new_session=True
    )
    ended = asyncio.ensure_future(process.wait())
    try:
        yield ended
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)  # the shell, and what it started
            await asyncio.wait([ended], timeout=_TUNNEL_GRACE_S)


def _show(connection: Connection, forwarded: "Forwarded") -> None:
    if connection.as_json:
        view: dict[str, Any] = {
            "callId": forwarded.call_id,
            "requestMethod": forwarded.method.lower(),
            "durationMs": round(forwarded.duration_s * 1000),
        }
        if forwarded.code is None:
            view["problem"] = forwarded.problem
        else:
            view["responseCode"] = forwarded.code
        if forwarded.left_out:
            view["headersLeftOut"] = list(forwarded.left_out)
        connection.print_json(view, on_one_line=True)
        return
    result = forwarded.problem if forwarded.code is None else str(forwarded.code)
    if forwarded.left_out:
        result += f"; not passed on: {', '.join(forwarded.left_out)}"
    click.echo(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {forwarded.call_id}  {forwarded.method:6}"
        f"  {forwarded.duration_s * 1000:6.0f} ms  {result}"
    )


def _log_to_standard_error(shown: type[Exception]) -> None:
    """Write the warnings of the worker to standard error, without those that have a line of their own."""

    def is_news(record: logging.LogRecord) -> bool:
        has_line = record.exc_info is not None and isinstance(record.exc_info[1], shown)
        return not has_line and not record.msg.startswith(("handler_cancelled", "worker_ended"))

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.setLevel(logging.WARNING)
    handler.addFilter(is_news)
    logging.getLogger("callback").addHandler(handler)

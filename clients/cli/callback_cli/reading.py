"""Commands that read: one for each RPC that returns a resource or a list, from the description of the contract."""

import functools
import re
from collections.abc import Callable
from typing import Any

import click

from callback import CallbackClient
from callback_cli._contract import MESSAGES
from callback_cli.connection import Connection, server_command, with_connection
from callback_cli.request_options import is_argument, request_options
from callback_cli.text_view import TextView


def read_command(
    name: str,
    rpc: str,
    description: str,
    *example_lines: str,
    show: Callable[[TextView, Any], None] | None = None,
    read: Callable[..., Any] | None = None,
) -> click.Command:
    """Return the command of an RPC. The fields of its request are options.

    Args:
        name: The name of the command.
        rpc: The name of the RPC.
        description: The help text.
        example_lines: The examples of the help.
        show: Prints what the RPC returns. Default: all of its fields, a list as a table.
        read: Returns it, given a client and the fields of the request by name. Default: what the RPC returns.
    """

    def read_rpc(client: CallbackClient, **values: Any) -> Any:
        found = getattr(client, re.sub("(?<=[a-z])(?=[A-Z])", "_", rpc).lower())(**values)
        return found if hasattr(found, "to_dict") else list(found)

    arguments = [
        click.Argument([each.short_name], metavar=each.short_name.removesuffix("_id").upper())
        for each in MESSAGES.get(f"{rpc}Request", ())
        if is_argument(each)
    ]

    @server_command(*example_lines, name=name, help=description)
    @request_options(f"{rpc}Request")
    @with_connection
    def command(connection: Connection, *, values: dict[str, Any], **ids: str) -> None:
        found = connection.run(lambda client: (read or read_rpc)(client, **values, **ids))
        view = show or (TextView.values if isinstance(found, list) else TextView.value)
        connection.show(found, functools.partial(view, TextView()))

    command.params[:0] = arguments
    return command

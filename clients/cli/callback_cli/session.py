"""Asking a server for a command: where it is, how to print, and how to end when it refuses."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from callback import AsyncCallbackClient, CallbackError
from callback.asking import DEFAULT_TARGET
from callback_cli import failures, options

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Session:
    """What every command that asks a server is given first."""

    target: str
    """The server."""
    as_json: bool
    """Whether to print JSON."""

    def ask(self, question: Callable[[AsyncCallbackClient], Awaitable[_Result]]) -> _Result:
        """Put a question to the server and return its answer.

        Raises:
            click.exceptions.Exit: It refused or did not answer, which has been printed on standard error.
        """

        async def ask() -> _Result:
            async with AsyncCallbackClient(self.target, retry=False) as client:
                return await question(client)

        try:
            return asyncio.run(ask())
        except CallbackError as error:
            click.echo(failures.as_json(error) if self.as_json else failures.readable(error), err=True)
            raise click.exceptions.Exit(failures.exit_code(error)) from error


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--target` and `--json`, and a `Session` as its first argument."""

    @click.option(
        "--target",
        metavar="HOST:PORT",
        type=options.target,
        envvar="CALLBACK_TARGET",
        default=DEFAULT_TARGET,
        show_default=True,
        show_envvar=True,
        help="The server.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, a refusal too; wrong usage is told as text.")
    @functools.wraps(command)
    def with_session(*, target: str, as_json: bool, **arguments: Any) -> None:
        command(Session(target, as_json), **arguments)

    return with_session

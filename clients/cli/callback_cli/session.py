"""Asking a server for a command: where it is, who asks, how to print, and how to end when it refuses."""

import functools
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from callback import CallbackClient, CallbackError, Tls
from callback.targets import DEFAULT_TARGET, is_local
from callback_cli import failures, options

TOKEN_VARIABLE = "CALLBACK_TOKEN"  # noqa: S105  # the name of the variable, not a token
"""The environment variable that can hold the token itself. No option does: whoever lists processes would read it."""

_Result = TypeVar("_Result")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Session:
    """What every command that asks a server is given first."""

    target: str
    """The server."""
    tls: Tls | None
    """Whom to trust, and which certificate to show. None: plain text."""
    token: str | None = field(repr=False)
    """The token that proves who asks."""
    token_file: Path | None
    """A file with that token, in its place: read with each request, so that a new one holds while a command waits."""
    as_json: bool
    """Whether to print JSON."""

    def ask(self, question: Callable[[CallbackClient], _Result], *, patient: bool = False) -> _Result:
        """Put a question to the server and return its answer.

        Args:
            question: What to do with a client.
            patient: Whether to go on for a while where the server can not be reached: for a command that waits anyway.

        Raises:
            click.exceptions.Exit: It refused or did not answer, or a file that says who asks can not be used. That has
                been printed on standard error.
        """
        try:
            client = CallbackClient(
                self.target, tls=self.tls, token=self.token, token_file=self.token_file, retry=patient
            )
        except (OSError, ValueError) as error:
            click.echo(f"Error: {error}", err=True)
            raise click.exceptions.Exit(click.UsageError.exit_code) from error
        try:
            with client:
                return question(client)
        except CallbackError as error:
            secure = self.tls is not None
            click.echo(failures.as_json(error) if self.as_json else failures.readable(error, secure=secure), err=True)
            raise click.exceptions.Exit(failures.exit_code(error)) from error
        except KeyboardInterrupt:
            # To end by the signal, as a program does that does not know it: a shell then ends its loop as well.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
            raise


class AskingCommand(click.Command):
    """A command that asks a server. Its help has a section of its own for the options that all of them share."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in two sections."""
        for title, shared in (("Options", False), ("Connection", True)):
            rows = [
                row
                for parameter in self.get_params(ctx)
                if isinstance(parameter, click.Option)
                and isinstance(parameter, _ConnectionOption) is shared
                and (row := parameter.get_help_record(ctx))
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


class _ConnectionOption(click.Option):
    """An option that says where the server is or who asks, and that the environment can give as well."""


def _connection(name: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    variable = f"CALLBACK_{name.removeprefix('--').replace('-', '_').upper()}"
    return click.option(name, cls=_ConnectionOption, envvar=variable, show_envvar=True, **settings)


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a connection and `--json`, and a `Session` as its first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON, a refusal too; wrong usage is told as text.")
    @_connection("--target", metavar="HOST:PORT", type=options.target, default=DEFAULT_TARGET, show_default=True,
        help="The server.")  # fmt: skip
    @_connection("--token-file", metavar="FILE", type=_FILE,
        help=f"A file with the token that proves who asks. Default: the token in {TOKEN_VARIABLE}.")  # fmt: skip
    @_connection("--tls", is_flag=True, help="Use TLS. So does each of the options below.")
    @_connection("--ca-file", metavar="FILE", type=_FILE,
        help="Authorities (PEM) to trust, in place of the public ones.")  # fmt: skip
    @_connection("--cert-file", metavar="FILE", type=_FILE, help="A certificate (PEM) that proves who asks.")
    @_connection("--key-file", metavar="FILE", type=_FILE, help="Its private key (PEM).")
    @_connection(
        "--server-name", metavar="NAME", help="The name in the server's certificate, where it is not the host."
    )
    @functools.wraps(command)
    def with_session(
        *,
        as_json: bool,
        target: str,
        token_file: Path | None,
        tls: bool,
        ca_file: Path | None,
        cert_file: Path | None,
        key_file: Path | None,
        server_name: str | None,
        **arguments: Any,
    ) -> None:
        certain = _tls(ca_file, cert_file, key_file, server_name)
        token, token_file = _token(token_file)
        session = Session(target, certain or (Tls() if tls else None), token, token_file, as_json)
        if session.tls is None and (token or token_file) and not is_local(target):
            click.echo(
                failures.warning(f"the token goes to {target} in plain text; use --tls", as_json=as_json), err=True
            )
            logging.getLogger("callback.connection").setLevel(logging.ERROR)  # each client would say it again
        command(session, **arguments)

    return with_session


def _token(file: Path | None) -> tuple[str | None, Path | None]:
    """The token, or the file that it can be read from again and again."""
    if file is not None and file.is_file():
        return None, file
    where = TOKEN_VARIABLE if file is None else f"--token-file {file}"  # a pipe, such as <(…), gives it once
    try:
        text = os.environ.get(TOKEN_VARIABLE) or None if file is None else file.read_text("utf-8", "replace")
    except OSError as error:
        raise click.UsageError(f"{where}: {error.strerror}") from error
    token = None if text is None else text.strip()
    if token is not None and not (token and all("!" <= character <= "~" for character in token)):
        raise click.UsageError(f"{where}: the token is empty or contains characters that a token cannot have")
    return token, None


def _tls(ca_file: Path | None, cert_file: Path | None, key_file: Path | None, server_name: str | None) -> Tls | None:
    """What these options say, if any is given."""
    if not (ca_file or cert_file or key_file or server_name):
        return None
    if (cert_file is None) != (key_file is None):
        raise click.UsageError("--cert-file and --key-file belong together.")
    return Tls(ca_file, cert_file, key_file, server_name)

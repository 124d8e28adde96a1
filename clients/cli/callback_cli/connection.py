"""Connection of a command to a server: its options, its client, and the end of the command after an error."""

import difflib
import functools
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from callback import AsyncCallbackClient, CallbackClient, CallbackError, Handlers, Tls, UnavailableError, Worker
from callback_cli import errors, json_output, options, search
from callback_cli.query import Query
from callback_shared.targets import DEFAULT_TARGET, is_local

TOKEN_VARIABLE = "CALLBACK_TOKEN"  # noqa: S105  # the name of a variable
"""The environment variable for the token itself. There is no such option, because process lists would show it."""

_LONGEST_RETRY_S = 365 * 86_400.0
"""A time that no command runs for, in seconds."""

_ALIKE = 0.85
"""How much a variable is like another one if it is that one with a mistake, of 1. Those of servers are less alike."""

_Result = TypeVar("_Result")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Connection:
    """The connection options of a command, its first argument."""

    target: str
    """The address of the server."""
    tls: Tls | None
    """The authorities to trust, and the client's certificate. None: no TLS."""
    token: str | None = field(repr=False)
    """The bearer token."""
    token_file: Path | None
    """A file with the token, as an alternative. It is read with each request."""
    as_json: bool
    """Whether to print JSON."""
    query: Query | None = None
    """What to print of the JSON. None: all of it."""
    show_secrets: bool | None = None
    """Whether to show secrets. None: the option is not given."""
    ends_at: float = -math.inf
    """Until when a command that waits anyway waits for a server that is away, by `time.monotonic`."""

    @property
    def masks_secrets(self) -> bool:
        """Whether to mask secrets in the output.

        A file or a program gets the recorded bytes as JSON. Text is for people, also in the log of a terminal.
        """
        return (not self.as_json or sys.stdout.isatty()) if self.show_secrets is None else not self.show_secrets

    def show(self, value: Any, in_text: Callable[[Any], None]) -> None:
        """Print a value or values as JSON, or in text. Secrets are already masked."""
        if self.as_json:
            self.print_json(value)
        else:
            in_text(value)

    def run(self, operation: Callable[[CallbackClient], _Result], *, retry_s: float | None = None) -> _Result:
        """Run an operation with a client, and return its result.

        Args:
            operation: The operation.
            retry_s: How long to retry each request while the server is unreachable, in seconds, for a command that
                waits anyway; `math.inf` for as long as the command runs. None: until `ends_at`, which is said first.

        Raises:
            click.exceptions.Exit: The server refused or did not answer, or a token or TLS file is unusable. The error
                has been printed on standard error.
        """
        given = {} if retry_s is None else {"timeout": min(retry_s, _LONGEST_RETRY_S)}
        client = self._made(CallbackClient, retry=retry_s is not None, **given)
        with self.reporting(), client:
            try:
                return operation(client)
            except UnavailableError as error:
                left_s = self.ends_at - time.monotonic()
                if retry_s is not None or left_s <= 0:
                    raise
                message = f"waiting for the server, for up to {left_s:.0f} s: {error}"
                click.echo(errors.warning(message, as_json=self.as_json), err=True)

        def again(client: CallbackClient) -> _Result:
            try:
                return operation(client)
            except UnavailableError as error:
                raise TimeoutError(f"no server answered in time: {error}") from error

        return self.run(again, retry_s=left_s)

    def async_client(self) -> AsyncCallbackClient:
        """Return a client for many concurrent requests, which retries while the server is unreachable.

        Raises:
            click.exceptions.Exit: A token or TLS file is unusable. The error has been printed on standard error.
        """
        return self._made(AsyncCallbackClient)

    def print_json(self, given: Any, *, on_one_line: bool = False) -> None:
        """Print values of the contract or other data as JSON, or what `--jq` makes of it. Secrets are already masked.

        Raises:
            click.exceptions.Exit: The program of `--jq` cannot use it. The error has been printed.
        """
        if self.query is None:
            click.echo(json_output.dumps(given, indent=None if on_one_line else 2))
        else:
            self.query.print(json_output.plain(given))

    def worker(self, handlers: Handlers, *, max_calls: int) -> Worker:
        """Return a worker for the server.

        Raises:
            click.exceptions.Exit: A token or TLS file is unusable. The error has been printed on standard error.
        """
        return self._made(functools.partial(Worker, handlers), max_calls=max_calls)

    def _made(self, kind: Callable[..., _Result], **settings: Any) -> _Result:
        """Return a client or a worker for the server."""
        try:
            return kind(self.target, tls=self.tls, token=self.token, token_file=self.token_file, **settings)
        except (OSError, ValueError) as error:
            click.echo(f"Error: {error}", err=True)
            raise click.exceptions.Exit(click.UsageError.exit_code) from error

    def warn(self) -> None:
        """Print a warning if the token is sent without TLS, and for each misspelt environment variable."""
        for variable, near in misspelt_variables():
            warning = f"the environment variable {variable} has no effect. Is it {near}?"
            click.echo(errors.warning(warning, as_json=self.as_json), err=True)
        if self.tls is None and (self.token or self.token_file) and not is_local(self.target):
            warning = errors.warning(
                f"the token is sent to {self.target} in plain text. Use --tls.", as_json=self.as_json
            )
            click.echo(warning, err=True)
            # otherwise each client logs the same warning
            logging.getLogger("callback.connection").setLevel(logging.ERROR)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Print an error of a client or a worker on standard error, and end the command.

        Raises:
            click.exceptions.Exit: There was one.
        """
        try:
            yield
        except CallbackError as error:
            secure = self.tls is not None
            click.echo(errors.as_json(error) if self.as_json else errors.readable(error, secure=secure), err=True)
            raise click.exceptions.Exit(errors.exit_code(error)) from error
        except TimeoutError as error:
            click.echo(errors.timed_out(str(error), as_json=self.as_json), err=True)
            raise click.exceptions.Exit(errors.EXIT_TIMED_OUT) from error
        except KeyboardInterrupt:
            # End by the signal, as a program without a handler does, so that a loop in a shell ends too.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
            raise


class ServerCommand(click.Command):
    """A command that uses a server. Its help lists the shared connection options in a section of their own."""

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


server_command = functools.partial(options.command, kind=ServerCommand)
"""Makes a command that uses a server of a function."""


class _ConnectionOption(click.Option):
    """An option of the connection, which an environment variable can set too."""


_VARIABLES = [TOKEN_VARIABLE]
"""The environment variables of the connection."""


def _connection(name: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    variable = f"CALLBACK_{name.removeprefix('--').replace('-', '_').upper()}"
    if variable not in _VARIABLES:
        _VARIABLES.append(variable)
    return click.option(name, cls=_ConnectionOption, envvar=variable, show_envvar=True, **settings)


def misspelt_variables() -> Iterator[tuple[str, str]]:
    """Yield each environment variable that has nearly the name of one of the connection, with that one."""
    names = {each.removeprefix("CALLBACK_"): each for each in _VARIABLES}
    for name in sorted(os.environ):
        own = name.removeprefix("CALLBACK_")
        if own != name and own not in names:
            for near in difflib.get_close_matches(own, names, n=1, cutoff=_ALIKE):
                yield name, names[near]


def connection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the connection options to a command, whose first argument is then a `Connection`."""

    @_connection("--target", metavar="HOST:PORT", type=options.target, default=DEFAULT_TARGET, show_default=True,
        help="The address of the server, or several: HOST:PORT,HOST:PORT.")  # fmt: skip
    @_connection("--token-file", metavar="FILE", type=_FILE,
        help=f"A file with the bearer token. Default: the token in {TOKEN_VARIABLE}.")  # fmt: skip
    @_connection("--tls", is_flag=True, help="Use TLS. Each of the options below implies it.")
    @_connection("--ca-file", metavar="FILE", type=_FILE,
        help="The certificate authorities (PEM) to trust, instead of the public ones.")  # fmt: skip
    @_connection("--cert-file", metavar="FILE", type=_FILE, help="The client certificate (PEM).")
    @_connection("--key-file", metavar="FILE", type=_FILE, help="Its private key (PEM).")
    @_connection(
        "--server-name", metavar="NAME", help="The name in the server's certificate, if it differs from the host."
    )
    @functools.wraps(command)
    def with_options(
        *,
        target: str,
        token_file: Path | None,
        tls: bool,
        ca_file: Path | None,
        cert_file: Path | None,
        key_file: Path | None,
        server_name: str | None,
        **arguments: Any,
    ) -> None:
        tls_files = _tls(ca_file, cert_file, key_file, server_name)
        token, token_file = _token(token_file)
        command(Connection(target, tls_files or (Tls() if tls else None), token, token_file, False), **arguments)

    return with_options


def with_connection(command: Callable[..., None]) -> Callable[..., None]:
    """Add the connection options, `--json` and `--jq` to a command, whose first argument is then a `Connection`."""

    @click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, also for errors of the server. Usage errors stay text."
    )
    @click.option("--jq", "query", metavar="PROGRAM", callback=Query.option,
        help="Print what this jq program makes of the JSON, such as .status; text without quotes.")  # fmt: skip
    @connection_options
    @functools.wraps(command)
    def with_session(connection: Connection, *, as_json: bool, query: Query | None, **arguments: Any) -> None:
        as_json = as_json or query is not None
        show_secrets = arguments.pop("show_secrets", None)
        connection = replace(connection, as_json=as_json, query=query, show_secrets=show_secrets)
        if timeout := arguments.get("timeout"):
            connection = replace(connection, ends_at=time.monotonic() + timeout.total_seconds())
        connection.warn()
        for given in (arguments, arguments.get("values", {})):
            for name, full_id in (("case_id", search.full_case_id), ("call_id", search.full_call_id)):
                if search.is_prefix(beginning := given.get(name) or ""):
                    given[name] = connection.run(functools.partial(full_id, given=beginning))
        command(connection, **arguments)

    return with_session


def _token(file: Path | None) -> tuple[str | None, Path | None]:
    """Return the token, or the file from which it can be read repeatedly."""
    if file is not None and file.is_file():
        return None, file
    source = TOKEN_VARIABLE if file is None else f"--token-file {file}"  # a pipe such as <(…) can be read only once
    try:
        text = os.environ.get(TOKEN_VARIABLE) or None if file is None else file.read_text("utf-8", "replace")
    except OSError as error:
        raise click.UsageError(f"{source}: {error.strerror}") from error
    token = None if text is None else text.strip()
    if token is not None and not (token and all("!" <= character <= "~" for character in token)):
        raise click.UsageError(f"{source}: the token is empty or contains characters that a token cannot have")
    return token, None


def _tls(ca_file: Path | None, cert_file: Path | None, key_file: Path | None, server_name: str | None) -> Tls | None:
    """Return the TLS settings of these options, or None if none is given."""
    if not (ca_file or cert_file or key_file or server_name):
        return None
    if (cert_file is None) != (key_file is None):
        raise click.UsageError("--cert-file and --key-file must be given together.")
    return Tls(ca_file, cert_file, key_file, server_name)

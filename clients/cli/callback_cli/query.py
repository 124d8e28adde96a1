"""Programs of `--jq`, which choose and reshape JSON: the language of jq, by its library."""

import json
import sys
from typing import Any, Self

import click

from callback_cli import errors
from callback_cli.processes import needs_extra
from callback_cli.text_view import plain


class Query:
    """A jq program.

    Raises:
        ValueError: It is not a program.
    """

    def __init__(self, program: str) -> None:
        with needs_extra("cli"):
            import jq
        self._program = jq.compile(program)

    @classmethod
    def option(cls, _context: click.Context, parameter: click.Parameter, text: str | None) -> Self | None:
        """Return the program of the option, or None if it is not given.

        Raises:
            click.BadParameter: It is not a program.
        """
        try:
            return None if text is None else cls(text)
        except ValueError as error:
            problem = str(error).splitlines()[0].removeprefix("jq: error: ")
            raise click.BadParameter(f"{text!r} is not a jq program: {problem}", param=parameter) from None

    def print(self, value: Any) -> None:
        """Print each result on a line: text as it is, and anything else as JSON.

        On a terminal, characters that could control it are replaced.

        Raises:
            click.exceptions.Exit: The program cannot use the value. The error has been printed.
        """
        try:
            for each in self._program.input_value(value):
                # `color`: click would take escape sequences out of what a file or a program gets.
                line = each if isinstance(each, str) else json.dumps(each)
                click.echo(plain(line, keep="\t\n") if sys.stdout.isatty() else line, color=True)
        except ValueError as error:
            click.echo(f"Error: --jq: {error}", err=True)
            raise click.exceptions.Exit(errors.EXIT_REFUSED) from None

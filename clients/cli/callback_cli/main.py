"""The entry point `callback` and its help."""

import errno
import os
import sys
from importlib import metadata

import click

from callback_cli import activities, callbacks, calls, completion, failures, operation, processes, tokens
from callback_cli.options import in_utf_8

SECTIONS: tuple[tuple[str, tuple[click.Command, ...]], ...] = (
    ("Run it", (processes.up, processes.server, processes.edge)),
    (
        "Ask a server",
        (
            callbacks.generate,
            callbacks.list_callbacks,
            callbacks.get,
            calls.wait,
            calls.watch,
            calls.list_calls,
            calls.get_call,
            calls.replay,
            callbacks.answer,
            callbacks.set_response,
            callbacks.close,
            callbacks.erase,
        ),
    ),
    (
        "Operate it",
        (
            activities.pause,
            activities.resume,
            activities.paused,
            tokens.token,
            operation.show_config,
            operation.doctor,
            completion.completion,
        ),
    ),
)
"""Every command, in the order in which one meets them."""

COMMANDS = tuple(command for _, commands in SECTIONS for command in commands)
"""The same without the sections."""

FIVE_MINUTES = """\b
Five minutes:
  callback up                      everything, on this machine; leave it running
  callback generate --activity record --type response --body 'thank you'
  curl -d status=paid URL          as the other system would
  callback calls CASE              what came in
  callback call CALL               one of them, whole
"""

EXIT_CODES = "\n".join(["\b", "Exit codes:", *(f"  {code:<3}  {what}" for code, what in failures.EXIT_CODES)])


class InSections(click.Group):
    """A group that lists its commands in sections, in their order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        for title, commands in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(command.name or "", command.get_short_help_str(100)) for command in commands])


def _version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked:
        try:
            click.echo(f"callback {metadata.version('callback')}")
        except metadata.PackageNotFoundError:
            click.echo("callback, from a source tree")
        context.exit()


@click.group(
    cls=InSections,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"{FIVE_MINUTES}\n{EXIT_CODES}",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """URLs that someone outside can call, and the answer they get, decided by you.

    The other system calls the URL, or sends a browser to it. An activity decides what happens then: `record` keeps the
    call and gives the response that was set, `form` has the caller wait for whoever answers (`callback set-response`),
    and any other is decided by a handler of your own.
    """


for _command in COMMANDS:
    cli.add_command(in_utf_8(_command))


_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.stdout is None:  # what is printed would be lost without a word
        click.echo("Error: the output can not be written: standard output is closed", err=True)
        sys.exit(failures.EXIT_REFUSED)
    try:
        cli(prog_name="callback")  # which ends in silence where the reader of its output is gone
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        click.echo(f"Error: the output can not be written: {error.strerror}", err=True)
        # Python writes what is left when it ends: not there once more, which would be one more error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(failures.EXIT_REFUSED)

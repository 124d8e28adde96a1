"""The entry point `callback`, and its help text."""

import errno
import gc
import os
import sys
from importlib import metadata

try:
    import click
except ModuleNotFoundError:  # the package was installed as a library
    sys.exit("Error: the command line requires click: install Callback with its extra [cli], see docs/install.md")

from callback_cli import (
    activities,
    auditing,
    call_trace,
    callbacks,
    calls,
    completion,
    conformance,
    diagnostics,
    errors,
    generating,
    listening,
    own_profiles,
    processes,
    proving,
    replaying,
    senders,
    tokens,
)
from callback_cli.options import in_utf_8

SECTIONS: tuple[tuple[str, tuple[click.Command, ...]], ...] = (
    ("Run", (processes.up, processes.server, processes.edge, processes.console)),
    ("Use a server", (
        callbacks.generate, generating.generate_many, callbacks.list_callbacks, callbacks.get, calls.wait, calls.watch,
        listening.listen, calls.list_calls, calls.get_call, call_trace.trace, replaying.replay, callbacks.answer,
        callbacks.resolve, callbacks.set_response, callbacks.extend, callbacks.close, callbacks.erase,
        own_profiles.profile,
    )),
    ("Operate", (
        activities.list_activities, activities.pause, activities.resume, activities.paused, activities.statistics,
        activities.findings, auditing.audit, tokens.token, diagnostics.show_config, diagnostics.doctor,
        diagnostics.repair, diagnostics.losses, proving.prove, conformance.conform, senders.profiles, senders.verify,
        senders.send, completion.completion,
    )),
)  # fmt: skip
"""All commands by section, in the order of the help text."""

COMMANDS = tuple(command for _, commands in SECTIONS for command in commands)
"""All commands, without the sections."""

FIVE_MINUTES = """\b
Five minutes:
  callback up                      run everything on this machine; keep it running
  callback generate --activity record --type response --body 'thank you'
  curl -d status=paid URL          call it, as the outside system does
  callback calls CASE              list the recorded calls
  callback call CALL               show one of them
"""

EXIT_CODES = "\n".join(["\b", "Exit codes:", *(f"  {code:<3}  {what}" for code, what in errors.EXIT_CODES)])


class SectionedGroup(click.Group):
    """A command group whose help lists the commands by section."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help text."""
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
    cls=SectionedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"{FIVE_MINUTES}\n{EXIT_CODES}",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """Generate URLs that outside systems can call, and decide how each call is answered.

    The outside system calls the URL, or sends a browser to it. The activity of the callback then decides on the call.
    `record` stores it and sends the response that you set. `form` lets the caller wait until you answer with `callback
    answer`. Every other activity is one of your own handlers.
    """


for _command in COMMANDS:
    cli.add_command(in_utf_8(_command))


_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def main() -> None:
    """Run the command line and exit with its code."""
    gc.freeze()  # what is imported stays; the collection of it at the end took a quarter of the time of a command
    if sys.stdout is None:  # otherwise the output would be lost silently
        click.echo("Error: cannot write the output: standard output is closed", err=True)
        sys.exit(errors.EXIT_REFUSED)
    try:
        cli(prog_name="callback")  # ends silently if the reader of its output has gone
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        click.echo(f"Error: cannot write the output: {error.strerror}", err=True)
        # Python flushes the output at its exit. Redirect it, because that would fail a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(errors.EXIT_REFUSED)

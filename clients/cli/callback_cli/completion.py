"""The command that makes a shell complete the others."""

from collections.abc import Mapping

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from callback_cli.options import examples

_SHELLS: Mapping[str, type[ShellComplete]] = {each.name: each for each in (BashComplete, ZshComplete, FishComplete)}


@click.command(
    epilog=examples(
        "source <(callback completion bash)    # in ~/.bashrc; the same with zsh in ~/.zshrc",
        "callback completion fish > ~/.config/fish/completions/callback.fish",
        "callback completion bash > /etc/bash_completion.d/callback    # for everyone",
    )
)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options and their values.

    bash needs version 4.4 or newer. In ~/.zshrc it comes after compinit.
    """
    complete = _SHELLS[shell](context.find_root().command, {}, "callback", "_CALLBACK_COMPLETE")
    click.echo(ShellComplete.source(complete))  # not its own `source`: that of bash starts one, to see its version

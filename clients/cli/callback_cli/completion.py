"""Shell completion."""

from collections.abc import Mapping

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from callback_cli import options

_SHELLS: Mapping[str, type[ShellComplete]] = {each.name: each for each in (BashComplete, ZshComplete, FishComplete)}


@options.command(
    "source <(callback completion bash)    # in ~/.bashrc; for zsh in ~/.zshrc",
    "callback completion fish > ~/.config/fish/completions/callback.fish",
    "callback completion bash > /etc/bash_completion.d/callback    # for all users",
)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the shell script that completes commands, options and their values.

    It requires bash 4.4 or newer. In ~/.zshrc, put it after compinit.
    """
    complete = _SHELLS[shell](context.find_root().command, {}, "callback", "_CALLBACK_COMPLETE")
    click.echo(
        ShellComplete.source(complete)
    )  # not `source` of the class: that of bash starts a bash to check its version

"""Commands for verification profiles. They import the server only when they run."""

import click

from callback_cli import json_view
from callback_cli.options import examples


@click.command(epilog=examples("callback profiles", "callback profiles --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def profiles(as_json: bool) -> None:
    """List the providers that a verification profile can name.

    `kind = "provider:NAME"` in a table [profiles.…] of the configuration verifies the messages of a provider. A
    provider is proven if a message from the provider passes in the tests of Callback.
    """
    from callback_server.verification.providers import PROVIDERS

    if as_json:
        shown: list[json_view.Json] = [
            {"kind": f"provider:{name}", "title": each.title, "source": each.source, "proven": each.is_proven}
            for name, each in PROVIDERS.items()
        ]
        click.echo(json_view.dumps(shown))
        return
    width = max(map(len, PROVIDERS))
    for name, each in PROVIDERS.items():
        click.echo(
            f"provider:{name:{width}}  {'proven  ' if each.is_proven else 'unproven'}  {each.title}  {each.source}"
        )

"""The command audit: who changed what, and whether the record of it is as the servers have stored it."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click

from callback import AuditChain, AuditEntry, AuditHead, AuditProblemKind, CallbackClient
from callback_cli import options
from callback_cli.connection import Connection, server_command, with_connection
from callback_cli.errors import EXIT_REFUSED
from callback_cli.json_output import dumps
from callback_cli.request_options import request_options
from callback_cli.search import MAX_PAGE
from callback_cli.text_view import TextView

DEFAULT_LIMIT = 50
_UNPROVEN = (AuditProblemKind.UNKNOWN_KEY, AuditProblemKind.UNPROTECTED)
"""Problems that say only that nothing is proven. Later changes are found by heads all the same."""


@server_command(
    "callback audit --since 1d --actor alice",
    "callback audit --callback CASE",
    "callback audit --json --limit 1000000 > audit.ndjson",
    "callback audit --verify --head heads.json --token-file admin.token",
    "callback audit --export-head heads.json --token-file admin.token",
)
@request_options("ListAuditEntriesRequest")
@options.limit_option(DEFAULT_LIMIT)
@click.option("--verify", is_flag=True, help="Verify all entries instead (role admin).")
@click.option(
    "--head",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --verify: a file of --export-head, to find newest entries that were removed.",
)
@click.option(
    "--export-head",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Verify, also against this file if it exists, and write the newest entry of each chain to it. Keep it outside "
    "of the store.",
)
@with_connection
def audit(
    connection: Connection,
    *,
    values: dict[str, Any],
    limit: int,
    verify: bool,
    head: Path | None,
    export_head: Path | None,
) -> None:
    """List who changed what, newest first, or verify that this record is complete and unaltered.

    You see the changes of your own callbacks; an administrator sees all. --json prints one entry per line.

    --verify ends with 1 unless all entries are proven: entries that were altered, removed, inserted or moved in the
    store are found. Removed newest entries are found by comparison with --head. A failover or a restored backup can
    lose them, too: see `callback losses`.
    """
    if verify or export_head:
        _verify(connection, head, export_head)
        return
    if head:
        raise click.UsageError("--head requires --verify or --export-head.")

    def entries(client: CallbackClient) -> Iterator[AuditEntry]:
        return islice(client.list_audit_entries(page_size=min(limit + 1, MAX_PAGE), **values), limit + 1)

    if connection.as_json:
        more = connection.run(lambda client: _print_lines(connection, entries(client), limit))
    else:
        found = connection.run(lambda client: list(entries(client)))
        more = len(found) > limit
        TextView().audit_entries(found[:limit])
    if more:
        click.echo("There are more. Use a higher --limit to list them.", err=True)


def _print_lines(connection: Connection, entries: Iterable[AuditEntry], limit: int) -> bool:
    """Print entries as JSON, each on a line as soon as it is there. Return whether there are more than the limit."""
    for count, entry in enumerate(entries):
        if count == limit:
            return True
        connection.print_json(entry, on_one_line=True)
    return False


def _verify(connection: Connection, head: Path | None, export_head: Path | None) -> None:
    """Verify all chains, print what is wrong, and write the heads unless they contradict those that are there."""
    files = dict.fromkeys(each for each in (head, export_head) if each is not None and each.exists())
    kept = [known for each in files for known in _read_heads(each)]
    chains = connection.run(lambda client: client.verify_audit(kept))
    problems = [problem for chain in chains for problem in chain.problems]
    connection.show(chains, TextView().audit_chains)
    if export_head is not None:
        if any(problem.kind not in _UNPROVEN for problem in problems):
            click.echo(f"Error: {export_head} was not written: it would prove what is wrong.", err=True)
        else:
            _write_heads(export_head, chains)
    if problems:
        raise click.exceptions.Exit(EXIT_REFUSED)


def _read_heads(path: Path) -> Sequence[AuditHead]:
    """Return the heads in a file. Raises click.UsageError."""
    try:
        heads = json.loads(path.read_text("utf-8"))["heads"]
        return [AuditHead.from_dict(each) for each in heads]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise click.UsageError(f"{path} is no file of --export-head: {error}") from error


def _write_heads(path: Path, chains: Sequence[AuditChain]) -> None:
    """Write the heads of chains. Raises click.exceptions.Exit if they cannot be written."""
    heads = [each.head for each in chains if each.head is not None]
    exported = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "heads": heads}
    try:
        path.write_text(dumps(exported) + "\n", "utf-8")
    except OSError as error:
        click.echo(f"Error: {path} cannot be written: {error.strerror}", err=True)
        raise click.exceptions.Exit(EXIT_REFUSED) from error

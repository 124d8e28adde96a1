"""The command `prove`."""

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import click

from callback_cli.connection import Connection, connection_options, server_command
from callback_cli.options import not_blank
from callback_cli.processes import needs_extra

PROOFS: Final = (
    "processes",
    "power-loss",
    "failover",
    "sentinel",
    "cluster",
    "network",
    "rolling-restart",
    "own-system",
)
"""The names of the proofs."""


@server_command(
    "callback prove processes --seconds 600",
    "callback prove failover --cycles 50",
    "callback prove own-system --namespace prove-1 --target callback.example:50051 --tls --token-file prove.token",
)
@click.argument("name", metavar="NAME", type=click.Choice(PROOFS))
@click.option(
    "--seconds", type=click.FloatRange(0), help="processes and own-system: the length of the load.  [default: 60]"
)
@click.option(
    "--cycles",
    type=click.IntRange(1),
    help="The other proofs: the number of faults or rounds.  [default: 10; of rolling-restart: 1]",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Requests per second.  [default: of rolling-restart: 100; of own-system: 10]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of the choice of faults.")
@click.option(
    "--durability",
    type=click.Choice(["always", "everysec", "replicated:1"]),
    help="The setting store_durability. power-loss does lose with everysec, failover with always.  [default: always; "
    "of those with replicas: replicated:1]",
)
@click.option(
    "--directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="A new directory for data, logs and history, which is kept.  [default: a temporary one]",
)
@click.option(
    "--namespace",
    metavar="NAME",
    callback=not_blank,
    help="own-system: an activity that nothing else uses. Its callbacks are closed and erased afterwards.",
)
@connection_options
def prove(
    connection: Connection,
    *,
    name: str,
    seconds: float | None,
    cycles: int | None,
    rate: float | None,
    namespace: str | None,
    **options: Any,
) -> None:
    """Prove what is promised: break a system of its own under load, and check the history.

    NAME is one of:

    \b
    processes        servers, edges, handlers and the store are killed, stopped and suspended at random
    power-loss       the machine of the store loses its power; needs Linux and a C compiler
    failover         a replica that is behind takes over from a primary that is killed and comes back
    sentinel         a primary that Sentinels watch is killed or suspended, and comes back
    cluster          primaries of a cluster are killed and suspended, slots move, nodes are added and removed
    network          hosts of a cluster are cut off from each other; needs Linux, root and network namespaces
    rolling-restart  all processes and the nodes of a cluster are restarted one after another: no call fails meanwhile
    own-system       nothing: your own system, at --target, under load

    Nothing but this command uses the system that it starts. It prints what was done and each broken promise. The exit
    code is then 1, and the history of every step is kept.
    """  # noqa: D301  # click keeps the lines of a paragraph that begins with this
    with needs_extra("up"):
        from callback_prove.main import run
        from callback_prove.proof import OwnSystem
    takes: dict[str, Collection[str]] = {
        "--seconds": ("processes", "own-system"),
        "--rate": ("rolling-restart", "own-system"),
        "--namespace": ("own-system",),
        "--cycles": {*PROOFS} - {"processes", "own-system"},
    }
    given = {"--seconds": seconds, "--rate": rate, "--namespace": namespace or None, "--cycles": cycles}
    for option, value in given.items():
        if value is not None and name not in takes[option]:
            raise click.UsageError(f"{option} cannot be combined with {name}.")
    own = None
    if name == "own-system":
        if not namespace:
            raise click.UsageError("own-system needs --namespace.")
        connection.warn()
        own = OwnSystem(
            client=connection.async_client,
            worker=lambda handlers: connection.worker(handlers, max_calls=100),
            namespace=namespace,
        )
    sys.exit(run(name, seconds=seconds, cycles=cycles, rate=rate, own=own, **options))

"""The store that the settings of a server name, for the commands of operators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from callback_process.effective import mask_url
from callback_process.settings import SettingsError
from callback_server.settings import ServerSettings
from callback_server.store.connection.client import connect
from callback_server.store.connection.errors import StoreError
from callback_server.store.epochs.keeper import EpochKeeper
from callback_server.store.epochs.known import ADVICE, Known
from callback_server.store.keys import PARTITIONS
from callback_server.store.queries.node_status import count_older
from callback_server.store.safety import UnsafeStoreError, refusals
from callback_server.store.schema import find_layout_problem
from callback_server.store.scripts import Scripts


class StoreAccessError(Exception):
    """The settings are not valid, or the store cannot be used. The text has no secret."""


def unreachable_store(settings: ServerSettings, error: StoreError) -> tuple[str, str]:
    """Return what is wrong with a store that does not answer, and what to do about it."""
    # The text of the client contains host and port, never the rest of the URL.
    seen = f"{mask_url(settings.store_url)} cannot be reached: {str(error).rstrip('.')}"
    where = f"store_url in [{ServerSettings.table}] or {ServerSettings.variable('store_url')}"
    return seen, f"start it (or `callback up`, which has its own), or set {where} to the store of your servers"


@asynccontextmanager
async def open_store(
    config_file: Path | None, of_up: Mapping[str, str], *, refuses_older: bool = False
) -> AsyncIterator[Scripts]:
    """Connect to the store of a server, inside the `async with` block.

    Args:
        config_file: The file with the settings; None means the file that CALLBACK_CONFIG names, if any.
        of_up: The settings that a running `callback up` gives its server, as `callback_up.running` returns them.
        refuses_older: Whether to refuse an old primary or a backup, by the `store_epochs_file` of the server, if it is
            there.

    Raises:
        StoreAccessError: The settings are not valid, the store cannot be reached or is refused, or it has the data of
            another release. Errors of the store inside the block are raised as this one, too.
    """
    try:
        settings = ServerSettings.load(config_file, **of_up)
        url = settings.read_store_url()
        known = _remembered(settings.store_epochs_file) if refuses_older else {}
    except SettingsError as error:
        raise StoreAccessError("; ".join(error.problems)) from error
    except ValueError as error:
        raise StoreAccessError(str(error)) from error
    client = connect(url)
    try:
        with refusals():
            if problem := await find_layout_problem(client):
                raise StoreAccessError(f"the store: {problem}")
            if older := await count_older(client, known):
                raise StoreAccessError(
                    f"{older} of {PARTITIONS} partitions are older than the server has seen; {ADVICE}"
                )
            yield Scripts(client, replicas=settings.to_durability().replicas)
    except StoreError as error:
        raise StoreAccessError(f"the store {'; '.join(unreachable_store(settings, error))}") from error
    except UnsafeStoreError as error:
        raise StoreAccessError(f"the store: {error}") from error
    finally:
        await client.aclose()


def _remembered(file: Path | None) -> Mapping[str, Known]:
    """Return what a server has written of the epochs.

    Raises:
        ValueError: The file is damaged or cannot be read.
    """
    try:
        return EpochKeeper(file, writes=False).epochs.known if file is not None and file.exists() else {}
    except OSError as error:
        raise ValueError(f"store_epochs_file {file}: {error.strerror}") from error

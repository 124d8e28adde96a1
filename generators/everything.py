"""All generated files of the repository, and which of them are out of date."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from generators import command_line, go_client, python, typescript
from generators.contract import Contract
from generators.descriptors import ROOT, contract_files, reflected_contract
from generators.openapi import openapi

Changes = dict[Path, bytes | None]
"""The new content of each file that is out of date; None for a file that must be deleted."""


def changed_code(can_generate: Callable[[str], bool]) -> Changes:
    """Return what is out of date of the files that are made from the contract.

    Args:
        can_generate: Returns whether the files of a language can be generated on this machine. Those of another one are
            left as they are.
    """
    files = contract_files()
    contract = Contract(files)
    fresh = {
        **python.client_files(files, contract),
        **command_line.client_files(contract),
        ROOT / "server" / "callback_server" / "rpc" / "contract.binpb": reflected_contract(files),
        ROOT / "clients" / "api" / "callback_api" / "openapi.json": _json(openapi(contract)),
    }
    owned = [path for pattern in python.OWNED for path in python.PACKAGE.glob(pattern)]
    for language, generator in (("Go", go_client), ("Node", typescript)):
        if can_generate(language):
            fresh |= generator.client_files(files, contract)
            owned += [path for pattern in generator.OWNED for path in generator.PACKAGE.glob(pattern)]
    return _changes(fresh, owned)


def changed_pages() -> Changes:
    """Return what is out of date of the pages that are made from code, which must be up to date already."""
    from generators.pages import pages

    return _changes(pages(), ())


def _changes(fresh: dict[Path, bytes], owned: Iterable[Path]) -> Changes:
    present = {path: path.read_bytes() for path in sorted({*fresh, *owned}) if path.is_file()}
    return {path: fresh.get(path) for path in sorted({*fresh, *present}) if fresh.get(path) != present.get(path)}


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()

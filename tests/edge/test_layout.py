"""Imports between the folders of the edge go one way, from the exchange down to the limits."""

import ast

import pytest
from support.tree import PACKAGES

EDGE = PACKAGES["callback_edge"]
TOP = {"__main__", "main", "app", "doctor", "edge", "tracing"}
"""Modules of the root that wire the folders. No folder imports them."""
MAY_USE = {
    "limits": set(),
    "pages": set(),
    "upstream": {"limits"},
    "call": {"limits", "pages", "upstream"},
}
"""Folders that the modules of a folder may import, besides their own and the other modules of the root."""


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "callback_edge":
            for alias in node.names:
                yield f"{node.module}.{alias.name}".split(".")[1]


def test_the_list_has_every_folder():
    assert {path.parent.name for path in EDGE.rglob("*.py")} - {EDGE.name} == set(MAY_USE)


@pytest.mark.parametrize("folder", MAY_USE)
def test_a_folder_imports_only_folders_below_it(folder):
    for path in (EDGE / folder).glob("*.py"):
        used = set(imported_modules(path))
        assert not used & TOP, path
        assert used & set(MAY_USE) <= MAY_USE[folder] | {folder}, path


def test_a_module_of_the_root_below_the_folders_imports_none_of_them():
    for path in EDGE.glob("*.py"):
        if path.stem not in TOP:
            assert not set(imported_modules(path)) & (TOP | set(MAY_USE)), path

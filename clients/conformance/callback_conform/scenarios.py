"""The scenarios: data beside this module, in the form that clients/conformance/README.md describes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

Step = Mapping[str, Any]
"""One step: its name, and what it needs."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario."""

    name: str
    rules: Sequence[str]
    """The rules of the contract that it shows: S1, C3, M2 of the worker protocol."""
    steps: Sequence[Step]
    needs: frozenset[str] = frozenset()
    """What differs from the other scenarios: `fresh` (a program of its own) and `tls`."""


def load(kind: str) -> list[Scenario]:
    """Return the scenarios for programs of a kind: `worker` or `client`."""
    content = json.loads(resources.files(__package__).joinpath(f"{kind}.json").read_text())
    return [Scenario(each["name"], each["rules"], each["steps"], frozenset(each.get("needs", ()))) for each in content]

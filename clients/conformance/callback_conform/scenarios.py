"""The scenarios: data beside this module, in the form that clients/conformance/README.md describes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import chain
from typing import Any, Final

Step = Mapping[str, Any]
"""One step: its name, and what it needs."""
MAX_PLAIN: Final = 40
"""How much of a text is shown to people, in characters."""
_GENERATE: Final = {"command": {"do": "generate", "activity": "act", "timeout_s": 10}}
_GENERATED: Final = {"callback_case_id": "case-1", "callback_url": "https://box.example/cb/x"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario."""

    name: str
    rules: Sequence[str]
    """The rules of the contract that it shows: S1, C3, M2 of the worker protocol."""
    steps: Sequence[Step]
    needs: frozenset[str] = frozenset()
    """What differs from the other scenarios: `fresh` (a program of its own), `tls`, and `slots` (100 slots)."""


def load(kind: str) -> list[Scenario]:
    """Return the scenarios for programs of a kind: `worker` or `client`."""
    content = json.loads(resources.files(__package__).joinpath(f"{kind}.json").read_text())
    return [
        Scenario(each["name"], each["rules"], [*chain(*map(_full, each["steps"]))], frozenset(each.get("needs", ())))
        for each in content
    ]


def _full(step: Step) -> list[Step]:
    """Return the steps that a short form stands for. Any other step stands for itself."""
    match step:
        case {"accepted": offers}:
            return [{"send": offers}, *({"expect": {"accept": each["offer"]}} for each in offers)]
        case {"start": call, **more}:
            return [*_full({"accepted": [{"offer": call, "do": "accept", **more}]}), {"send": [{"confirm": call}]}]
        case {"handle": call, **more}:
            wanted = {"result": call, **more.pop("result", {})}
            return [*_full({"start": call, **more}), {"expect": wanted}]
        case {"generate": facts}:
            request = {"request": "GenerateCallbackUrl", **facts, "reply": _GENERATED}
            return [_GENERATE, request, {"result": {"ok": {"case_id": "case-1", "url": "https://box.example/cb/x"}}}]
        case {"refused": refusal}:
            error = {"code": refusal["code"], "reason": refusal.get("reason", ""), "facts": refusal["metadata"]}
            request = {"request": "GenerateCallbackUrl", "refuse": refusal}
            return [_GENERATE, request, {"result": {"error": error}}, {"quiet": True}]
    return [step]


def plain(value: Any) -> str:
    """Return a step, or a value in it, as text for people: names and values without quotes, and no long text."""
    match value:
        case dict():
            return ", ".join(f"{name} {plain(each)}".strip() for name, each in value.items())
        case list():
            return f"[{'; '.join(map(plain, value))}]"
        case None:
            return "nothing"
        case bool():
            return "" if value else "no"
        case str():
            shown = value[:MAX_PLAIN].encode("unicode_escape").decode()[:MAX_PLAIN]
            return shown if len(value) <= len(shown) else f"{shown}… ({len(value)} characters)"
    return str(value)

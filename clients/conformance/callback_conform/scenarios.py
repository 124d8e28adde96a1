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
_REQUEST: Final = {"request": "GenerateCallbackUrl"}
_GENERATED: Final = {"callback_case_id": "case-1", "callback_url": "https://box.example/cb/x"}
_RESULT: Final = {"result": {"ok": {"case_id": "case-1", "url": "https://box.example/cb/x"}}}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario."""

    name: str
    rules: Sequence[str]
    """The rules that it shows: S1, C3, M2 of the worker protocol, H1 of handler servers."""
    steps: Sequence[Step]
    needs: frozenset[str] = frozenset()
    """What differs from the other scenarios, as clients/conformance/README.md lists it: `fresh` (a program of its own),
    `tls`, `slots` …"""


def load(kind: str) -> list[Scenario]:
    """Return the scenarios for programs of a kind: `worker`, `client` or `handlers`."""
    content = json.loads(resources.files(__package__).joinpath(f"{kind}.json").read_text())
    if kind == "client":
        content = content["scenarios"]  # beside the rules, which for other programs stand in the contract and the page
    return [
        Scenario(name, given["rules"], _all_steps(kind, given["steps"]), frozenset(given.get("needs", ())))
        for name, given in content.items()
    ]


def _all_steps(kind: str, given: Sequence[Step]) -> list[Step]:
    """Return the steps, each short form in full. A worker connects first, unless the first step says how."""
    first = [{"connect": "a"}] if kind == "worker" and given[0].keys().isdisjoint({"connect", "refuse"}) else []
    return [*first, *chain(*map(_full, given))]


def _full(step: Step) -> list[Step]:
    """Return the steps that a short form stands for. Any other step stands for itself."""
    match step:
        case {"accepted": offers}:
            accepts = [{"accept": each["offer"], **_count(each)} for each in offers]
            return [{"send": offers}, *({"expect": each} for each in accepts)]
        case {"start": call, **more}:
            is_call = more.get("reason", "CALL") in ("CALL", "UNSPECIFIED")
            line = {"line": f"{'started' if is_call else 'notified'} {call}"}
            return [*_confirmed(call, more), line]
        case {"handle": call, **more}:
            wanted = {"result": call, **more.pop("result", {})}
            return [*_confirmed(call, more), {"expect": wanted}]
        case {"cancel": call}:
            wanted = {"result": call, "outcome": "any"}
            return [{"send": [{"withdraw": call}]}, {"line": f"cancelled {call}"}, {"expect": wanted}]
        case {"generate": facts}:
            return [_GENERATE, {**_REQUEST, **facts, "reply": _GENERATED}, _RESULT]
        case {"retried": refusal, **more}:
            again = {**_REQUEST, "is_sent_again": True, **more, "reply": _GENERATED}
            return [_GENERATE, {**_REQUEST, "refuse": refusal}, again, _RESULT]
        case {"refused": refusal}:
            error = {"code": refusal["code"], "reason": refusal.get("reason", ""), "facts": refusal["metadata"]}
            return [_GENERATE, {**_REQUEST, "refuse": refusal}, {"result": {"error": error}}, {"quiet": True}]
    return [step]


def _count(given: Mapping[str, Any]) -> Step:
    """Return how many messages one stands for, if it stands for several."""
    return {"count": given["count"]} if "count" in given else {}


def _confirmed(call: str, offered: Mapping[str, Any]) -> list[Step]:
    """Return the steps that offer a call, wait for its `accept`, and confirm it."""
    return [*_full({"accepted": [{"offer": call, "do": "accept", **offered}]}), {"send": [{"confirm": call}]}]


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

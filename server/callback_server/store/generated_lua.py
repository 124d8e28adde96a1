"""The parts of the Lua scripts that are generated from Python: key names, field names, and what the domain defines.

Each of these facts has one home in Python, so that a script and its Python side cannot differ. The text is generated
when a script is loaded. It builds no Lua tables where a script runs once per call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from callback_server.domain import life
from callback_server.domain.case import FORM, RECORD, CallMode, CaseEffect, CaseStatus, CloseReason, Settings
from callback_server.domain.features import FEATURES
from callback_server.domain.life import CallEnd
from callback_server.store import keys

_KEY: Final = re.compile(rf"\b({'|'.join(keys.LAYOUT)})_key\(([^()]*)\)")


def with_keys(code: str) -> str:
    """Replace each key of the table, such as `case_key(id)`, by its text: `(KEYS[1] .. ':case:' .. id)`.

    Its parts are written without parentheses. A function for each key would be made in each execution of a script,
    whether it is used or not: thirty of them took an eighth of the time of a claim.
    """
    return _KEY.sub(_key, code)


def _key(found: re.Match[str]) -> str:
    first, *others = keys.LAYOUT[found[1]].split("{}")
    terms = [f"KEYS[1] .. ':{first}'"]
    for value, separator in zip(found[2].split(", ") if found[2] else (), others, strict=True):
        terms.append(value if value.isidentifier() else f"({value})")
        terms += [f"'{separator}'"] if separator else []
    return f"({' .. '.join(terms)})"


def life_functions() -> str:
    """Return the life table as three Lua functions.

    `case_effect(mode, call_end)` returns the new status of the case and its close reason, both nil where the case stays
    as it is. `status_after(call_end)` returns the status of the call. `status_during_call(mode)` returns the status of
    a case while a call runs on it.
    """
    lines = ["local function case_effect(mode, call_end)"]
    for mode in CallMode:
        if rows := [*_rows(life.LIFE[mode])]:
            lines += [f"  if mode == '{mode}' then", *rows, "  end"]
    lines += ["end", "local function status_after(call_end)"]
    lines += [f"  if call_end == '{end}' then return '{CallEnd.SUCCEEDED}' end" for end in life.OF_SUCCESS]
    lines += ["  return call_end", "end", "local function status_during_call(mode)"]
    lines += [f"  if mode == '{mode}' then return '{life.STATUS_DURING_CALL[mode]}' end" for mode in CallMode]
    lines.append("end")
    return "\n".join(lines)


def _rows(rows: Mapping[CallEnd, CaseEffect | None]) -> Iterable[str]:
    for end, effect in rows.items():
        if effect is not None:
            result = ", ".join(f"'{word}'" for word in (effect.status, effect.close_reason) if word)
            yield f"    if call_end == '{end}' then return {result} end"


def status_lists() -> str:
    """Return the statuses of a case as Lua tables: all, and those of a case that is not closed."""
    tables = {"CASE_STATUSES": [*CaseStatus], "NOT_CLOSED": [each for each in CaseStatus if each != CaseStatus.CLOSED]}
    return "\n".join(
        f"local {name} = {{{', '.join(repr(str(each)) for each in statuses)}}}" for name, statuses in tables.items()
    )


def life_constants() -> str:
    """Return the words of the domain that scripts name: a status, close reasons, the activities."""
    words = [CaseStatus.IN_PROGRESS, CloseReason.CONSUMED, *life.CLOSED_WITHOUT_CALL]
    constants = {**{str(word): str(word) for word in words}, "RECORD": RECORD, "FORM": FORM}
    return _constants({name: repr(value) for name, value in constants.items()})


def known_features() -> str:
    """Return the Lua function that finds what a case needs and this server does not know.

    `unknown_feature(case)` returns the name of a feature, or nil if this server knows all.
    """
    is_unknown = " and ".join(f"name ~= '{name}'" for name in FEATURES) or "true"
    return f"""local function unknown_feature(case)
  if not case.needs then return nil end
  for name in string.gmatch(case.needs, '[^,]+') do if {is_unknown} then return name end end
end"""


def setting_positions() -> str:
    """Return the positions of the packed settings of a case, which is an array."""
    return _constants(
        {f"SETTING_{name.upper()}": str(at) for at, name in enumerate(Settings.__struct_fields__, start=1)}
    )


def _constants(values: Mapping[str, str]) -> str:
    return f"local {', '.join(values)} = {', '.join(values.values())}"


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "life_functions": life_functions,
    "life_constants": life_constants,
    "known_features": known_features,
    "setting_positions": setting_positions,
    "status_lists": status_lists,
}
"""The parts that a script can include by name, as it includes a file."""

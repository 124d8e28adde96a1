"""Names of settings of the kind `hmac` in earlier versions, which stay valid."""

from __future__ import annotations

from typing import Any, Final

_NAMES: Final = {
    "header": ("signature", "header"),
    "timestamp_header": ("timestamp", "header"),
    "timestamp_field": ("timestamp", "field"),
    "id_header": ("id", "header"),
    "id_member": ("id", "json"),
}
"""Names of settings in earlier versions, which stay valid, with the setting and the kind of place that they became."""


def _old_names(name: str) -> list[str]:
    return [old for old, (new, _) in _NAMES.items() if new == name]


def _place_of_old_name(key: str, kind: str, value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text")
    if kind != "json":
        return f"{kind}:{value}"
    if "." in value:
        pointer = value.replace(".", "/")
        raise ValueError(f"id_member is one name; for a member within a member write id = 'json:/{pointer}'")
    return "json:/" + value.replace("~", "~0").replace("/", "~1")

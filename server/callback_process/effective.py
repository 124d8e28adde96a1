"""The settings in effect and the origin of each, with secrets masked."""

import enum
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from callback_process.logs import MASK
from callback_process.settings import ProcessSettings

Value = bool | int | float | str | list[Any] | None


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting."""

    table: tuple[str, ...]
    """Table of the file, such as `("activities", "order-paid")`."""
    key: str
    """Key in that table."""
    value: Value
    """Value in effect, as in JSON; None if it is not set. Secrets are masked."""
    origin: str
    """`option`, the name of an environment variable, the path of a file, or `default`."""

    @property
    def is_secret(self) -> bool:
        """Whether a part of the value is masked."""
        return MASK in str(self.value)


def effective_settings(settings: ProcessSettings, origins: Mapping[str, str]) -> list[EffectiveSetting]:
    """Return every setting of a process, including nested tables, in the order of declaration.

    Args:
        settings: The settings.
        origins: Their origins, from `ProcessSettings.load_with_origins`.
    """
    found: list[EffectiveSetting] = []
    for field in type(settings).model_fields:
        table = () if field in settings.shared_tables else (settings.table,)
        found += _within(table, field, getattr(settings, field), origins.get(field, "default"))
    return found


def _within(table: tuple[str, ...], key: str, value: Any, origin: str) -> list[EffectiveSetting]:
    if isinstance(value, BaseModel):
        return [
            each
            for field in type(value).model_fields
            for each in _within(
                (*table, key), field, getattr(value, field), origin if field in value.model_fields_set else "default"
            )
        ]
    if isinstance(value, Mapping) and not value and table:
        return [EffectiveSetting(table, key, None, origin)]
    if isinstance(value, Mapping):
        return [each for name, inner in value.items() for each in _within((*table, key), name, inner, origin)]
    return [EffectiveSetting(table, key, _shown(value), origin)]


def _shown(value: Any) -> Value:
    match value:
        case SecretStr():
            return MASK
        case enum.Enum():
            return _shown(value.value)
        case Path() | ipaddress.IPv4Network() | ipaddress.IPv6Network():
            return _shown(str(value))
        case str():
            return mask_url(value)
        case list() | tuple() | set() | frozenset():
            return [_shown(each) for each in value]
        case float():
            return int(value) if value.is_integer() else value
        case bool() | int() | None:
            return value
    raise TypeError(f"a setting of type {type(value).__name__} cannot be shown")


def mask_url(text: str) -> str:
    """Return a URL without its password and its query's values; return other text unchanged.

    The password may contain an unescaped `/`, `?` or `@`, so this masks too much rather than too little: everything up
    to the last `@`, and the whole URL if that `@` is in the query.
    """
    start = text.find("://") + 3 if "://" in text else 0
    if not start and "@" not in text:
        return text
    scheme, rest = text[:start], text[start:]
    end = min((index for mark in "?#" if (index := rest.find(mark)) >= 0), default=len(rest))
    base, query = rest[:end], rest[end:]
    if "@" in query:
        return f"{scheme}{MASK}"
    secret, at, place = base.rpartition("@")
    if at:
        user, colon, _password = secret.partition(":")
        base = f"{user}:{MASK}@{place}" if colon else f"{MASK}@{place}"
    return f"{scheme}{base}{query[0]}{MASK}" if query else f"{scheme}{base}"

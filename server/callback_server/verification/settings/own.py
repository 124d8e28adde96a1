"""Settings of a profile that an owner makes while servers run: a JSON object, and secrets in place of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
from pydantic import TypeAdapter, ValidationError

from callback_process.settings import in_plain_words
from callback_server.verification.providers import PROVIDERS
from callback_server.verification.settings.profiles import KINDS, PROVIDER_KINDS, ProfileSettings

_ADAPTER: Final[TypeAdapter[Any]] = TypeAdapter(ProfileSettings)
_OF_OPERATORS: Final = (
    "kind", "secret_files", "key_files", "jwks_url", "certificate_url", "certificate_urls", "certificate_names",
    "intermediates", "roots", "certificate_oids",
)  # fmt: skip
"""Settings that name files, or keys that are fetched or come with a message: not for owners."""


def secrets_setting(kind: str) -> str:
    """Return the setting of a kind that names the files with its secrets or keys. Raise ValueError for another kind."""
    provider = PROVIDERS.get(kind.removeprefix("provider:"))
    if provider is not None and (kind.startswith("provider:") or kind in PROVIDER_KINDS):
        return provider.files
    model = KINDS.get(kind)
    for name in ("secret_files", "key_files"):
        if model is not None and name in model.model_fields:
            return name
    known = ", ".join(name for name, each in KINDS.items() if {"secret_files", "key_files"} & each.model_fields.keys())
    raise ValueError(f"must be one of {known}, or provider:NAME of the list of providers")


def own_settings(kind: str, settings: str, secrets: int) -> ProfileSettings:
    """Return the settings of a profile of an owner.

    Args:
        kind: The kind, one for which `secrets_setting` returns a setting.
        settings: The other settings, as a JSON object. Empty: none.
        secrets: The number of secrets or keys.

    Raises:
        ValueError: The settings are not valid. The text says which, without its value.
    """
    try:
        given = msgspec.json.decode(settings, type=dict[str, Any]) if settings else {}
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("must be a JSON object") from None
    if refused := sorted(given.keys() & {*_OF_OPERATORS}):
        raise ValueError(f"{refused[0]} cannot be set: an owner gives secrets or keys, and the server fetches none")
    handshake = given.get("handshake")
    if isinstance(handshake, dict) and "verify_token_files" in handshake:
        raise ValueError("handshake.verify_token_files cannot be set: an owner gives no files")
    names = [Path(f"secrets[{index}]") for index in range(secrets)]
    try:
        found: ProfileSettings = _ADAPTER.validate_python({**given, "kind": kind, secrets_setting(kind): names})
    except ValidationError as error:
        detail = error.errors(include_input=False)[0]
        place = ".".join(str(each) for each in detail["loc"][1:] if each != "[key]")
        raise ValueError(f"{place} {in_plain_words(detail)}".strip()) from None
    except RecursionError:
        raise ValueError("must not be nested so deeply") from None
    return found

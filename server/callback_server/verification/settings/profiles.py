"""Settings of profiles, `[profiles.NAME]`: one model for each `kind`.

Secrets are in files, never in these settings, so the settings can be shown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError, WithJsonSchema, model_validator

from callback_process.settings import in_plain_words
from callback_server.verification.providers import PROVIDERS, Provider
from callback_server.verification.settings.common import CommonSettings, WithSecrets, WithTolerance
from callback_server.verification.settings.credentials import AddressSettings, BasicSettings, SharedSecretSettings
from callback_server.verification.settings.fetched_urls import KeyUrl
from callback_server.verification.settings.message_signature import MessageSignatureSettings
from callback_server.verification.settings.signed import HmacSettings, PublicKeySettings
from callback_server.verification.settings.token import JwtSettings
from callback_server.verification.settings.values import Places

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""Pattern of the whole name of a profile."""


class StandardWebhooksSettings(WithSecrets, WithTolerance):
    """Standard Webhooks: `v1` with a secret (`whsec_…`), `v1a` with a public key (`whpk_…`)."""

    kind: Literal["standard-webhooks"]
    """The kind."""


PROVIDER_KINDS: Final = ("github", "stripe", "slack", "shopify")
"""Providers that are also kinds of their own."""
_KEY_SOURCES: Final = (
    "certificate_url", "certificate_urls", "certificate_names", "intermediates", "jwks_url", "roots",
    "certificate_oids",
)  # fmt: skip
"""Settings of a provider whose certificates or keys are fetched, or come with a message."""


if TYPE_CHECKING:
    ProviderKind = str
else:
    ProviderKind = Literal[(*PROVIDER_KINDS, *(f"provider:{name}" for name in PROVIDERS))]


class ProviderSettings(CommonSettings):
    """Sender of the [list of providers](provider-list.md), as in `provider:stripe`.

    The list has the settings of the sender; give only the files here. The kinds `github`, `stripe`, `slack` and
    `shopify` are short for the providers of these names.
    """

    kind: Annotated[ProviderKind, WithJsonSchema({"type": "string", "const": "provider:NAME"})]
    """The kind."""
    secret_files: list[Path] = []
    """Files, each with one secret, for a provider with secrets. All of them are valid. Changed files are reloaded. A
    line break at the end is ignored."""
    key_files: list[Path] = []
    """Files with public keys, for a provider that signs with a private key. With them, the server fetches none, and
    takes none from a message."""
    jwks_url: KeyUrl | None = None
    """URL of the keys, in place of files with them."""
    receiver_id: str | None = None
    """Id by which the provider knows this receiver, if the notes of the list name it."""
    username: str | None = None
    """User name of the sender, if the notes of the list name it."""
    intermediates: str = ""
    """Certificates of authorities in PEM form, besides those of the list, for a provider whose certificate is
    fetched."""
    tolerance_s: int | None = Field(default=None, ge=1, le=24 * 3600)
    """Allowed difference between the clocks of sender and server, in seconds. None: that of the kind."""

    id: Places | None = None
    """Place of the message id, or a list of places, in place of that of the list. `[]`: messages have no id. None: that
    of the list."""

    @property
    def declared(self) -> DeclaredSettings:
        """The settings of the provider with these files."""
        profile = dict(self.provider.profile)
        own = {name: value for name in self.model_fields_set if (value := getattr(self, name)) is not None}
        if self.key_files or self.jwks_url is not None:
            profile = {name: value for name, value in profile.items() if name not in _KEY_SOURCES}
        elif self.intermediates:
            own["intermediates"] = f"{profile.get('intermediates', '')}\n{self.intermediates}"
        declared: DeclaredSettings = _DECLARED.validate_python({**profile, **own, "kind": profile["kind"]})
        return declared

    @property
    def provider(self) -> Provider:
        """The provider."""
        return PROVIDERS[self.kind.removeprefix("provider:")]

    @model_validator(mode="after")
    def _fits(self) -> ProviderSettings:
        missing = [each for each in self.provider.needs if not getattr(self, each)]
        if missing:
            raise ValueError(f"{missing[0]} must be given")
        for name in {"secret_files", "key_files"} - {self.provider.files}:
            if getattr(self, name):
                raise ValueError(f"{name} must be {self.provider.files}, as in the list of providers")
        try:
            _ = self.declared
        except ValidationError as error:
            detail = error.errors()[0]
            name = ".".join(str(each) for each in detail["loc"][1:])
            raise ValueError(f"{name} {in_plain_words(detail)}".strip()) from None
        return self


DeclaredSettings = Annotated[
    StandardWebhooksSettings
    | HmacSettings
    | PublicKeySettings
    | SharedSecretSettings
    | BasicSettings
    | JwtSettings
    | MessageSignatureSettings
    | AddressSettings,
    Field(discriminator="kind"),
]
"""Settings of one profile of which everything is in the file."""
KINDS: Final[dict[str, type[CommonSettings]]] = {
    get_args(each.model_fields["kind"].annotation)[0]: each for each in get_args(get_args(DeclaredSettings)[0])
}
"""The models of all kinds but providers, by kind."""
_DECLARED: Final[TypeAdapter[Any]] = TypeAdapter(DeclaredSettings)
ProfileSettings = Annotated[
    StandardWebhooksSettings
    | HmacSettings
    | PublicKeySettings
    | ProviderSettings
    | SharedSecretSettings
    | BasicSettings
    | JwtSettings
    | MessageSignatureSettings
    | AddressSettings,
    Field(discriminator="kind"),
]
"""Settings of one profile."""


def declared_settings(settings: ProfileSettings) -> DeclaredSettings:
    """Return settings of which everything is there: for a provider, those of the list with its own."""
    return settings.declared if isinstance(settings, ProviderSettings) else settings

"""Settings of kinds without a signature: secrets that are sent in plain text, and addresses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from callback_process.settings import Network
from callback_server.verification.places import parse_place
from callback_server.verification.settings.common import CommonSettings, WithSecrets
from callback_server.verification.settings.values import FieldName, Username


def _pointer(text: str) -> str:
    parse_place(f"json:{text}")
    return text


class SharedSecretSettings(WithSecrets):
    """Secret that the sender sends in plain text."""

    kind: Literal["shared-secret"]
    """The kind."""
    header: FieldName | None = None
    """Header whose value is the secret."""
    parameter: str | None = Field(default=None, min_length=1, max_length=100)
    """Query parameter whose value is the secret."""

    pointer: Annotated[str, Field(max_length=200), AfterValidator(_pointer)] | None = None
    """JSON pointer (RFC 6901) of the secret in the body, such as `/passcode`."""

    @model_validator(mode="after")
    def _one_place(self) -> SharedSecretSettings:
        if [self.header, self.parameter, self.pointer].count(None) != 2:
            raise ValueError("needs header or parameter or pointer, and only one of them")
        return self


class BasicSettings(WithSecrets):
    """HTTP Basic (RFC 7617). The files contain the passwords."""

    kind: Literal["basic"]
    """The kind."""
    username: Username
    """User name of the sender."""


class AddressSettings(CommonSettings):
    """Client address of the request. It depends on `trusted_proxies` of the edge."""

    kind: Literal["address"]
    """The kind."""
    networks: list[Network] = Field(min_length=1)
    """Allowed networks, such as `192.0.2.0/24` and `2001:db8::/32`."""

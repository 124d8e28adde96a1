"""The types of single values in the settings of profiles."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from callback_process.settings import parsed_by
from callback_server.verification.components import parse_component
from callback_server.verification.places import FIELD_NAME, parse_place, parse_value_place
from callback_server.verification.sender_certificate import load_intermediates
from callback_server.verification.template import Template

_NO_USERNAME: Final = re.compile(r"[:\x00-\x1f\x7f]")


def _field_name(text: str) -> str:
    if not FIELD_NAME.fullmatch(text):
        raise ValueError("must have 1 to 100 characters, each a letter, a digit or one of !#$%&'*+.^_`|~-")
    return text


def _username(text: str) -> str:
    if _NO_USERNAME.search(text):
        raise ValueError("must have no colon (it ends the name in HTTP Basic) and no control characters")
    return text


FieldName = Annotated[str, AfterValidator(_field_name)]
"""Name of a header, in any case (RFC 9110, 5.6.2), or of a field within a header."""
Username = Annotated[str, AfterValidator(_username), Field(min_length=1, max_length=200)]
"""User name of HTTP Basic."""


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _intermediates(text: str) -> str:
    try:
        load_intermediates(text)
    except ValueError:
        raise ValueError("must be certificates in PEM form") from None
    return text


TemplateText = Annotated[str, parsed_by(Template)]
"""Template of what is signed (see `template`)."""
PlaceText = Annotated[str, parsed_by(parse_place)]
"""Place of a value in a request (see `places`)."""
ValuePlace = Annotated[str, parsed_by(parse_value_place)]
"""Place of a value that is in the request itself."""
ValuePlaces = Annotated[list[ValuePlace], BeforeValidator(_as_list)]
"""Such a place, or a list of them."""
Places = Annotated[list[PlaceText], BeforeValidator(_as_list)]
"""A place, or a list of places."""
SignatureFormat = Annotated[str, Field(max_length=100, pattern=r"^[^{}]*\{timestamp\}[^{}]*\{signature\}$")]
"""Form of a list that has the time and the signature of a message."""
ComponentName = Annotated[str, parsed_by(parse_component)]
"""Component of an HTTP message that a signature covers."""
Certificates = Annotated[str, AfterValidator(_intermediates)]
"""Certificates in PEM form."""
PublicKeyAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Algorithm of a JSON Web Token with a public key."""
JwtAlgorithm = Literal[PublicKeyAlgorithm, "HS256", "HS384", "HS512"]


KeyAlgorithm = Literal[
    "rsa-sha1",
    "rsa-sha256",
    "rsa-sha512",
    "rsa-pss-sha256",
    "rsa-pss-sha512",
    "ecdsa-sha256",
    "ecdsa-sha384",
    "ecdsa-raw-sha256",
    "ecdsa-raw-sha384",
    "ecdsa-raw-sha512",
    "ed25519",
]
"""Algorithm of a signature with a private key."""
Encoding = Literal["hex", "hex-upper", "base64", "base64url"]
"""Encoding of a signature."""
SecretEncoding = Literal["text", "hex", "base64", "base64url"]
"""Encoding of a secret in a file."""

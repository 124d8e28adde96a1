"""Settings of the kind `jwt`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from callback_server.verification.message_ids import check_id_places
from callback_server.verification.places import parse_place
from callback_server.verification.settings.common import CommonSettings, check_one_source
from callback_server.verification.settings.fetched_urls import KeyUrl
from callback_server.verification.settings.values import FieldName, JwtAlgorithm, Places


class JwtSettings(CommonSettings):
    """Signed JSON Web Token (RFC 7519), which must have an expiry. It covers the body only by a claim with its hash."""

    kind: Literal["jwt"]
    """The kind."""
    key_files: list[Path] = []
    """Files with keys. All of them are valid, and changed files are reloaded. For algorithms with a public key: a key
    in PEM form, a certificate, or a JSON Web Key Set. For `HS…`: the secret, at least as long as the hash; a line break
    at the end is ignored. Give either these or `jwks_url`."""
    jwks_url: KeyUrl | None = None
    """URL of a JSON Web Key Set, for algorithms with a public key. Each server fetches it regularly, and never because
    a token names an unknown key."""
    algorithms: list[JwtAlgorithm] = Field(min_length=1)
    """Allowed algorithms: either ones with a public key, or `HS…`, not both."""
    audience: str | None = Field(default=None, min_length=1, max_length=500)
    """Required `aud` of the token, or one of its values; `{url}` is the URL of the callback. It can be left out only
    for a sender whose tokens have none, with `body_hash_claim` or with `HS…`, whose secret only the sender has."""
    issuer: str | None = Field(default=None, min_length=1, max_length=500)
    """Required `iss` of the token. It can be left out in the same way."""
    header: FieldName | None = None
    """Header whose value is the token. None: `Authorization: Bearer …`."""
    parameter: str | None = Field(default=None, min_length=1, max_length=100)
    """Parameter whose value is the token, in the query or in a form."""
    whole_body: bool = False
    """Whether the body is the token, as for security events (RFC 8935)."""
    events: Literal["logout", "security"] | None = None
    """Events that the token tells of. It must then have `events`, `iat` and `jti`, and no `typ` of another kind.
    `logout` is OpenID Connect Back-Channel Logout: the event is a logout, there is a `sub` or `sid`, and no `nonce`.
    `security` is any other event (RFC 8417); if the token is the whole body, its content type must be
    `application/secevent+jwt` (RFC 8935). It sets `single_use`. None: the token may be any other."""
    body_hash_claim: str | None = Field(default=None, min_length=1, max_length=100)
    """Claim with the SHA-256 of the body."""
    body_hash_encoding: Literal["hex", "base64", "base64url"] = "hex"
    """Encoding of that claim."""
    url_claim: str | None = Field(default=None, min_length=1, max_length=100)
    """Claim with the URL of the callback, whole, with its query."""
    url_hash_claim: str | None = Field(default=None, min_length=1, max_length=100)
    """Claim with the SHA-256 of that URL, in lower-case hexadecimal."""
    max_age_s: int | None = Field(default=None, ge=1, le=24 * 3600)
    """Time for which a token without `exp` is valid after its `iat`, in seconds. A token with both must fit both.
    None: a token must have an `exp`, unless `allow_no_expiry` is set."""
    allow_no_expiry: bool = False
    """Whether a token without `exp` passes. It needs `body_hash_claim`: the token is then valid for its body without
    end."""
    leeway_s: int = Field(default=60, ge=0, le=3600)
    """Allowed difference between the clocks, in seconds."""
    single_use: bool = False
    """Whether each token belongs to one message. The token must then have a `jti`, which is the message id, and be
    valid for a day at most. Another request with the same token gets the same answer, whatever its body."""

    id: Places = []
    """Place of the message id, or a list of places, as for the kind `hmac`. In the body it needs `body_hash_claim`. A
    message with the id of an earlier one gets the same answer, while the token is valid."""

    @model_validator(mode="after")
    def _one_place(self) -> JwtSettings:
        if self.header is not None and self.parameter is not None:
            raise ValueError("use header or parameter, not both")
        if self.whole_body and (self.header is not None or self.parameter is not None or self.body_hash_claim):
            raise ValueError("whole_body needs no header, parameter or body_hash_claim")
        if self.events is not None:
            object.__setattr__(self, "single_use", True)  # frozen
        return self

    @model_validator(mode="after")
    def _for_this_receiver(self) -> JwtSettings:
        """Refuse a token that the issuer may have made for anyone, unless it was made for this body."""
        for name in ("audience", "issuer"):
            if getattr(self, name) is None and self.body_hash_claim is None and not self.is_symmetric:
                raise ValueError(f"{name} must be given, unless body_hash_claim is, or algorithms are HS…")
        return self

    @model_validator(mode="after")
    def _has_one_id(self) -> JwtSettings:
        if self.id and self.single_use:
            raise ValueError("id and single_use are two ids; use one")
        if self.body_hash_claim is None and any(parse_place(each).in_body or each == "body-hash" for each in self.id):
            raise ValueError("an id in the body needs body_hash_claim, because the token does not cover the body")
        check_id_places(self.id, is_body_signed=True)
        return self

    @model_validator(mode="after")
    def _has_an_end(self) -> JwtSettings:
        if self.allow_no_expiry and (self.body_hash_claim is None or self.max_age_s is not None or self.single_use):
            raise ValueError("allow_no_expiry needs body_hash_claim, and neither max_age_s nor single_use")
        return self

    @model_validator(mode="after")
    def _one_sort(self) -> JwtSettings:
        check_one_source(self, "key_files", "jwks_url")
        if len({name.startswith("HS") for name in self.algorithms}) > 1:
            raise ValueError("algorithms mixes ones with a public key and HS…, whose key is a secret")
        if self.is_symmetric and self.jwks_url is not None:
            raise ValueError("jwks_url is for public keys; the key of HS… is a secret, in key_files")
        return self

    @property
    def is_symmetric(self) -> bool:
        """Whether the keys are shared secrets."""
        return self.algorithms[0].startswith("HS")

"""Settings of profiles, `[profiles.NAME]`: one model for each `kind`.

Secrets are in files, never in these settings, so the settings can be shown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from callback_process.addresses import parse_network
from callback_server.verification.template import Template

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""Pattern of the whole name of a profile."""

_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_NO_USERNAME: Final = re.compile(r"[:\x00-\x1f\x7f]")


def _field_name(text: str) -> str:
    if not _FIELD_NAME.fullmatch(text):
        raise ValueError("must have 1 to 100 characters, each a letter, a digit or one of !#$%&'*+.^_`|~-")
    return text


def _username(text: str) -> str:
    if _NO_USERNAME.search(text):
        raise ValueError("must have no colon (it ends the name in HTTP Basic) and no control characters")
    return text


FieldName = Annotated[str, AfterValidator(_field_name)]
"""Name of a header, in any case (RFC 9110, 5.6.2), or of a field within a header."""
JwtAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"
]


def _template(text: str) -> str:
    Template(text)
    return text


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    kind: str


class SlackHandshake(_Table):
    """Slack's `url_verification`, verified like a call. The kind `slack` always has it."""

    kind: Literal["slack"]
    """The kind."""


class HubHandshake(_Table):
    """`hub.challenge` of Meta and WebSub, to start a subscription."""

    kind: Literal["hub"]
    """The kind."""
    verify_token_files: list[Path] = []
    """Files, each with one valid `hub.verify_token`, as Meta sends it."""
    topics: list[str] = []
    """Valid values of `hub.topic`, as WebSub sends it."""

    @model_validator(mode="after")
    def _proves_something(self) -> HubHandshake:
        if not self.verify_token_files and not self.topics:
            raise ValueError("needs verify_token_files or topics")
        return self


class ValidationTokenHandshake(_Table):
    """Microsoft's `validationToken`, which the answer repeats."""

    kind: Literal["validation-token"]
    """The kind."""


class CloudEventsHandshake(_Table):
    """The OPTIONS request of CloudEvents, as Azure Event Grid sends it."""

    kind: Literal["cloudevents"]
    """The kind."""
    origins: list[str] = Field(min_length=1)
    """Valid values of `WebHook-Request-Origin`, such as `eventgrid.azure.net`; `*` allows any."""
    max_requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests per minute that the answer allows. None: any number."""


HandshakeSettings = Annotated[
    SlackHandshake | HubHandshake | ValidationTokenHandshake | CloudEventsHandshake, Field(discriminator="kind")
]
"""Handshake by which a sender asks whether a URL accepts its calls."""


class _Profile(_Table):
    handshake: HandshakeSettings | None = None
    """Handshake by which the sender asks whether the URL accepts its calls. The answer to it is not a call. None: no
    handshake."""


class _WithSecrets(_Profile):
    secret_files: list[Path] = Field(min_length=1)
    """Files, each with one secret. All of them are valid, so a new secret can be added before the old one is removed.
    Changed files are reloaded. A line break at the end is ignored."""


class _WithTolerance(_WithSecrets):
    tolerance_s: int = Field(default=300, ge=1, le=24 * 3600)
    """Allowed difference between the clocks of sender and server, in seconds. A message that arrives again within twice
    this time after it succeeded gets the same answer, and is not handled again."""


class StandardWebhooksSettings(_WithTolerance):
    """Standard Webhooks: `v1` with a secret (`whsec_…`), `v1a` with a public key (`whpk_…`)."""

    kind: Literal["standard-webhooks"]
    """The kind."""


class PresetSettings(_WithTolerance):
    """Sender with a built-in HMAC format."""

    kind: Literal["github", "stripe", "slack", "shopify"]
    """The kind."""

    @model_validator(mode="before")
    @classmethod
    def _own_handshake(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("kind") == "slack":
            return {"handshake": {"kind": "slack"}, **given}
        return given


class HmacSettings(_WithTolerance):
    """HMAC over parts of the request."""

    kind: Literal["hmac"]
    """The kind."""
    header: FieldName
    """The header with the signature."""
    signature_field: FieldName | None = None
    """Field with a signature, if the header is a list like `t=1,v1=…` (or with `;`). It can occur several times. None:
    the header is the signature."""
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    """Hash function of the HMAC."""
    encoding: Literal["hex", "base64"] = "hex"
    """Encoding of the signature: lower-case hexadecimal, or base64 with padding."""
    prefix: str = Field(default="", max_length=100)
    """Prefix of each signature, such as `sha256=`."""
    signed: Annotated[str, AfterValidator(_template)] = "{body}"
    """Template of the signed bytes, with `{body}`, `{url}`, `{method}`, `{timestamp}` and `{id}`, as in
    `{timestamp}.{body}`. `{url}` is the whole URL with its query, `{method}` is in upper case, `{body}` is the original
    bytes. Each part needs a clear end: `{body}` must be the last placeholder, some text must follow `{id}`, and a
    space, a line break or `{body}` must follow `{url}`. With `{url}{body}`, only the generated URL passes, without
    additions."""
    timestamp_header: FieldName | None = None
    """Header with the time of sending, in whole seconds since 1970."""
    timestamp_field: FieldName | None = None
    """Field with the time of sending, if the signature's header is a list."""
    id_header: FieldName | None = None
    """Header with the message id. It is trustworthy only if `{id}` is signed."""
    id_member: str | None = Field(default=None, min_length=1, max_length=100, pattern=r'^[^"\\\x00-\x1f]+$')
    """Member of the JSON object in the body with the message id, such as `id`."""

    @model_validator(mode="after")
    def _fits(self) -> HmacSettings:
        parts = Template(self.signed).parts
        has_time = self.timestamp_header is not None or self.timestamp_field is not None
        if self.timestamp_header is not None and self.timestamp_field is not None:
            raise ValueError("use timestamp_header or timestamp_field, not both")
        if has_time != ("timestamp" in parts):
            raise ValueError(
                "{timestamp} in signed needs timestamp_header or timestamp_field, and these need {timestamp}"
            )
        if "id" in parts and self.id_header is None:
            raise ValueError("{id} in signed needs id_header")
        if self.id_header is not None and self.id_member is not None:
            raise ValueError("use id_header or id_member, not both")
        has_id = self.id_header is not None or self.id_member is not None
        if "tolerance_s" in self.model_fields_set and not has_time and not has_id:
            raise ValueError("tolerance_s needs {timestamp} in signed, id_header or id_member")
        if self.timestamp_field is not None and self.signature_field is None:
            raise ValueError("timestamp_field needs signature_field")
        return self


class SharedSecretSettings(_WithSecrets):
    """Secret that the sender sends in plain text."""

    kind: Literal["shared-secret"]
    """The kind."""
    header: FieldName | None = None
    """Header whose value is the secret."""
    parameter: str | None = Field(default=None, min_length=1, max_length=100)
    """Query parameter whose value is the secret."""

    @model_validator(mode="after")
    def _one_place(self) -> SharedSecretSettings:
        if (self.header is None) == (self.parameter is None):
            raise ValueError("needs header or parameter, not both")
        return self


class BasicSettings(_WithSecrets):
    """HTTP Basic (RFC 7617). The files contain the passwords."""

    kind: Literal["basic"]
    """The kind."""
    username: Annotated[str, AfterValidator(_username)] = Field(min_length=1, max_length=200)
    """User name of the sender."""


class JwtSettings(_Profile):
    """Signed JSON Web Token (RFC 7519), which must have an expiry. It does not cover the body."""

    kind: Literal["jwt"]
    """The kind."""
    key_files: list[Path] = Field(min_length=1)
    """Files with keys. All of them are valid, and changed files are reloaded. For algorithms with a public key: a key
    in PEM form, a certificate, or a JSON Web Key Set. For `HS…`: the secret, at least as long as the hash; a line break
    at the end is ignored."""
    algorithms: list[JwtAlgorithm] = Field(min_length=1)
    """Allowed algorithms: either ones with a public key, or `HS…`, not both."""
    audience: str = Field(min_length=1, max_length=500)
    """Required `aud` of the token, or one of its values."""
    issuer: str = Field(min_length=1, max_length=500)
    """Required `iss` of the token."""
    header: FieldName | None = None
    """Header whose value is the token. None: `Authorization: Bearer …`."""
    parameter: str | None = Field(default=None, min_length=1, max_length=100)
    """Parameter whose value is the token, in the query or in a form."""
    leeway_s: int = Field(default=60, ge=0, le=3600)
    """Allowed difference between the clocks, in seconds."""
    single_use: bool = False
    """Whether each token belongs to one message. The token must then have a `jti`, which is the message id, and be
    valid for a day at most. Another request with the same token gets the same answer, whatever its body."""

    @model_validator(mode="after")
    def _one_place(self) -> JwtSettings:
        if self.header is not None and self.parameter is not None:
            raise ValueError("use header or parameter, not both")
        return self

    @model_validator(mode="after")
    def _one_sort(self) -> JwtSettings:
        if len({name.startswith("HS") for name in self.algorithms}) > 1:
            raise ValueError("algorithms mixes ones with a public key and HS…, whose key is a secret")
        return self

    @property
    def is_symmetric(self) -> bool:
        """Whether the keys are shared secrets."""
        return self.algorithms[0].startswith("HS")


class AddressSettings(_Profile):
    """Client address of the request. It depends on `trusted_proxies` of the edge."""

    kind: Literal["address"]
    """The kind."""
    networks: list[Annotated[str, AfterValidator(lambda text: str(parse_network(text)))]] = Field(min_length=1)
    """Allowed networks, such as `192.0.2.0/24` and `2001:db8::/32`."""


ProfileSettings = Annotated[
    StandardWebhooksSettings
    | HmacSettings
    | PresetSettings
    | SharedSecretSettings
    | BasicSettings
    | JwtSettings
    | AddressSettings,
    Field(discriminator="kind"),
]
"""Settings of one profile."""

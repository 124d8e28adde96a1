"""What an operator declares under `[profiles.NAME]`: one model for each `kind`.

Secrets are in files, never here; what is here can be shown to people.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from callback_process.addresses import parse_network
from callback_server.verification.template import Template

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""What the whole name of a profile matches."""

_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_NO_USERNAME: Final = re.compile(r"[:\x00-\x1f\x7f]")


def _field_name(text: str) -> str:
    if not _FIELD_NAME.fullmatch(text):
        raise ValueError("must have 1 to 100 characters, each a letter, a digit or one of !#$%&'*+.^_`|~-")
    return text


def _username(text: str) -> str:
    if _NO_USERNAME.search(text):
        raise ValueError("must have no colon, which ends a name in HTTP Basic, and no control characters")
    return text


FieldName = Annotated[str, AfterValidator(_field_name)]
"""The name of a header, in any case (RFC 9110, 5.6.2), or of a field within one."""
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
    """Slack's `url_verification`, which must be verified as a call is. The kind `slack` has it unasked."""

    kind: Literal["slack"]
    """What it is."""


class HubHandshake(_Table):
    """`hub.challenge`, of Meta and of WebSub, for subscriptions to begin."""

    kind: Literal["hub"]
    """What it is."""
    verify_token_files: list[Path] = []
    """Files of which each has one `hub.verify_token` that is right, as Meta sends it."""
    topics: list[str] = []
    """What `hub.topic` may be, as WebSub sends it."""

    @model_validator(mode="after")
    def _proves_something(self) -> HubHandshake:
        if not self.verify_token_files and not self.topics:
            raise ValueError("needs verify_token_files or topics")
        return self


class ValidationTokenHandshake(_Table):
    """Microsoft's `validationToken`, which is given back."""

    kind: Literal["validation-token"]
    """What it is."""


class CloudEventsHandshake(_Table):
    """The OPTIONS of CloudEvents, as Azure Event Grid sends it."""

    kind: Literal["cloudevents"]
    """What it is."""
    origins: list[str] = Field(min_length=1)
    """What `WebHook-Request-Origin` may be, as in `eventgrid.azure.net`; `*` is anything."""
    max_requests_per_minute: int | None = Field(default=None, ge=1)
    """How much the sender is told that it may send. None: any number."""


HandshakeSettings = Annotated[
    SlackHandshake | HubHandshake | ValidationTokenHandshake | CloudEventsHandshake, Field(discriminator="kind")
]
"""How a sender asks, before it calls, whether a URL wants to be called."""


class _Profile(_Table):
    handshake: HandshakeSettings | None = None
    """How the sender asks, before it calls, whether this URL wants to be called; it is answered, and is no call. None:
    it does not ask."""


class _WithSecrets(_Profile):
    secret_files: list[Path] = Field(min_length=1)
    """Files of which each has one secret; all of them work, so that a new one works before the old one goes. Read again
    when they change. A line break at the end does not count."""


class _WithTolerance(_WithSecrets):
    tolerance_s: int = Field(default=300, ge=1, le=24 * 3600)
    """How far the sender's clock may be from ours, in seconds. A message that comes again within twice this time after
    it succeeded gets the answer that was given, and is not handled again."""


class StandardWebhooksSettings(_WithTolerance):
    """Standard Webhooks: `v1` by a secret that begins with `whsec_`, `v1a` by a public key that begins with `whpk_`."""

    kind: Literal["standard-webhooks"]
    """What it is."""


class PresetSettings(_WithTolerance):
    """A sender whose HMAC is known here."""

    kind: Literal["github", "stripe", "slack", "shopify"]
    """What it is."""

    @model_validator(mode="before")
    @classmethod
    def _own_handshake(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("kind") == "slack":
            return {"handshake": {"kind": "slack"}, **given}
        return given


class HmacSettings(_WithTolerance):
    """An HMAC over parts of the request."""

    kind: Literal["hmac"]
    """What it is."""
    header: FieldName
    """The header with the signature."""
    signature_field: FieldName | None = None
    """Where the header is a list like `t=1,v1=…` (or with `;`): the field with a signature, of which there can be
    several. None: the header is the signature."""
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    """The hash of the HMAC."""
    encoding: Literal["hex", "base64"] = "hex"
    """How the signature is written: hexadecimal in lower case, or base64 with its padding."""
    prefix: str = Field(default="", max_length=100)
    """What stands before each signature, such as `sha256=`."""
    signed: Annotated[str, AfterValidator(_template)] = "{body}"
    """What is signed: a text with `{body}`, `{url}`, `{method}`, `{timestamp}` and `{id}`, as in `{timestamp}.{body}`.
    `{url}` is the whole URL with its query, `{method}` is in upper case, `{body}` is the bytes as they came. So that
    nothing can end elsewhere, `{body}` is the last place, behind `{id}` is some text, and behind `{url}` a space, a
    line break or `{body}`; with `{url}{body}` nothing may be added to the URL that was generated."""
    timestamp_header: FieldName | None = None
    """The header with the time of sending, in whole seconds since 1970."""
    timestamp_field: FieldName | None = None
    """The field with that time, where the signature's header is a list."""
    id_header: FieldName | None = None
    """The header with the message's id. It can be trusted only where `{id}` is signed."""
    id_member: str | None = Field(default=None, min_length=1, max_length=100, pattern=r'^[^"\\\x00-\x1f]+$')
    """The member of the JSON object in the body that is the message's id, such as `id`; a body without it has none."""

    @model_validator(mode="after")
    def _fits(self) -> HmacSettings:
        parts = Template(self.signed).parts
        has_time = self.timestamp_header is not None or self.timestamp_field is not None
        if self.timestamp_header is not None and self.timestamp_field is not None:
            raise ValueError("timestamp_header and timestamp_field exclude each other")
        if has_time != ("timestamp" in parts):
            raise ValueError("{timestamp} in signed, and timestamp_header or timestamp_field, belong together")
        if "id" in parts and self.id_header is None:
            raise ValueError("{id} in signed needs id_header")
        if self.id_header is not None and self.id_member is not None:
            raise ValueError("id_header and id_member exclude each other")
        has_id = self.id_header is not None or self.id_member is not None
        if "tolerance_s" in self.model_fields_set and not has_time and not has_id:
            raise ValueError("tolerance_s needs {timestamp} in signed, id_header or id_member")
        if self.timestamp_field is not None and self.signature_field is None:
            raise ValueError("timestamp_field needs signature_field")
        return self


class SharedSecretSettings(_WithSecrets):
    """A secret that the sender sends as it is."""

    kind: Literal["shared-secret"]
    """What it is."""
    header: FieldName | None = None
    """The header that is the secret."""
    parameter: str | None = Field(default=None, min_length=1, max_length=100)
    """The parameter of the query that is the secret."""

    @model_validator(mode="after")
    def _one_place(self) -> SharedSecretSettings:
        if (self.header is None) == (self.parameter is None):
            raise ValueError("needs header or parameter, and not both")
        return self


class BasicSettings(_WithSecrets):
    """HTTP Basic (RFC 7617). The files have the passwords."""

    kind: Literal["basic"]
    """What it is."""
    username: Annotated[str, AfterValidator(_username)] = Field(min_length=1, max_length=200)
    """The name of the sender."""


class JwtSettings(_Profile):
    """A signed JSON Web Token (RFC 7519), which must say when it expires. It does not cover the body."""

    kind: Literal["jwt"]
    """What it is."""
    key_files: list[Path] = Field(min_length=1)
    """Files with keys, of which all work; read again when they change. For algorithms with a public key: one in PEM
    form, a certificate, or a JSON Web Key Set. For `HS…`: the secret, byte for byte but for a line break at the end, as
    long as the hash at least."""
    algorithms: list[JwtAlgorithm] = Field(min_length=1)
    """The algorithms that are taken, whatever a token says: some with a public key, or some of `HS…`, not both."""
    audience: str = Field(min_length=1, max_length=500)
    """What must be, or be among, the token's `aud`."""
    issuer: str = Field(min_length=1, max_length=500)
    """What must be the token's `iss`."""
    header: FieldName | None = None
    """The header that is the token. None: `Authorization: Bearer …`."""
    parameter: str | None = Field(default=None, min_length=1, max_length=100)
    """The parameter that is the token, of the query or of a form that is sent."""
    leeway_s: int = Field(default=60, ge=0, le=3600)
    """How far the clocks may be apart, in seconds."""
    single_use: bool = False
    """Each token is of one message: its `jti`, which it must have then, is the message's id, and what comes with the
    same token again gets the answer that was given, whatever its body. Such a token may be valid for a day at most."""

    @model_validator(mode="after")
    def _one_place(self) -> JwtSettings:
        if self.header is not None and self.parameter is not None:
            raise ValueError("header and parameter exclude each other")
        return self

    @model_validator(mode="after")
    def _one_sort(self) -> JwtSettings:
        if len({name.startswith("HS") for name in self.algorithms}) > 1:
            raise ValueError("algorithms has some with a public key, and some of HS…, whose key is a secret")
        return self

    @property
    def is_symmetric(self) -> bool:
        """Whether the keys are secrets."""
        return self.algorithms[0].startswith("HS")


class AddressSettings(_Profile):
    """The address that the request comes from. It must be the client's own: see `trusted_proxies` of the edge."""

    kind: Literal["address"]
    """What it is."""
    networks: list[Annotated[str, AfterValidator(lambda text: str(parse_network(text)))]] = Field(min_length=1)
    """The ranges that it may come from, as in `192.0.2.0/24` and `2001:db8::/32`."""


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
"""One profile."""

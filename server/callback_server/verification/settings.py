"""Settings of profiles, `[profiles.NAME]`: one model for each `kind`.

Secrets are in files, never in these settings, so the settings can be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from callback_process.addresses import parse_network
from callback_process.settings import in_plain_words
from callback_server.verification.components import parse_component
from callback_server.verification.places import FIELD_NAME, parse_place
from callback_server.verification.providers import PROVIDERS, Provider
from callback_server.verification.request_fields import TimestampFormat
from callback_server.verification.sender_certificate import load_intermediates
from callback_server.verification.template import BODY, URL, Template

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""Pattern of the whole name of a profile."""

_NOT_IN_CHALLENGE: Final = re.compile(rb"[^A-Za-z0-9_-]")
_NO_USERNAME: Final = re.compile(r"[:\x00-\x1f\x7f]")
_KEY_URL: Final = re.compile(
    r"https://([a-z0-9-]{1,63}\.){1,10}[a-z][a-z0-9-]{0,62}(:[0-9]{1,5})?/[!-\"$-\[\]-~]{0,400}"
)
_HOST_PATTERN: Final = re.compile(r"(?:[^/.\\^]|\\[.d])+")


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
JwtAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"
]


def _template(text: str) -> str:
    Template(text)
    return text


def _place(text: str) -> str:
    parse_place(text)
    return text


def _component(text: str) -> str:
    parse_component(text)
    return text


def _key_url(text: str) -> str:
    if not _KEY_URL.fullmatch(text):
        raise ValueError("must be as in https://issuer.example/keys, without user, fragment, or an address as host")
    return text


def _url_pattern(text: str) -> str:
    """Refuse what is no pattern of URLs on certain hosts: a dot that is not escaped matches any character."""
    host, _, path = text.removeprefix("https://").partition("/")
    if not text.startswith("https://") or not _HOST_PATTERN.fullmatch(host) or not path:
        raise ValueError(
            r"must be a regular expression as in https://keys\.example\.com/[0-9a-f]+\.pem, with \. for each dot in the"
            " host"
        )
    try:
        re.compile(host, re.ASCII)
        re.compile(path, re.ASCII)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


def is_allowed_url(url: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the patterns matches a URL: the part up to the path its host, and the rest its path."""
    if not _KEY_URL.fullmatch(url):
        return False
    host, _, path = url.removeprefix("https://").partition("/")
    for pattern in patterns:
        host_pattern, _, path_pattern = pattern.removeprefix("https://").partition("/")
        if re.fullmatch(host_pattern, host, re.ASCII) and re.fullmatch(path_pattern, path, re.ASCII):
            return True
    return False


def _intermediates(text: str) -> str:
    try:
        load_intermediates(text)
    except ValueError:
        raise ValueError("must be certificates in PEM form") from None
    return text


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


KeyUrl = Annotated[str, AfterValidator(_key_url)]
"""URL of keys that the server fetches."""
UrlPattern = Annotated[str, AfterValidator(_url_pattern)]
"""Regular expression for whole URLs."""
CertificateName = Annotated[str, Field(pattern=r"^([a-z0-9-]+\.)+(\{domain\}|[a-z0-9-]+)$", max_length=253)]
"""Name in a certificate."""
KeyAlgorithm = Literal[
    "rsa-sha1",
    "rsa-sha256",
    "rsa-sha512",
    "rsa-pss-sha256",
    "rsa-pss-sha512",
    "ecdsa-sha256",
    "ecdsa-sha384",
    "ed25519",
]
"""Algorithm of a signature with a private key."""
PlaceText = Annotated[str, AfterValidator(_place)]
"""Place of a value in a request (see `places`)."""
Encoding = Literal["hex", "hex-upper", "base64", "base64url"]
"""Encoding of a signature."""
SecretEncoding = Literal["text", "hex", "base64", "base64url"]
"""Encoding of a secret in a file."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: str


class SlackHandshake(_Table):
    """Slack's `url_verification`, verified like a call. The kind `slack` always has it."""

    kind: Literal["slack"]
    """The kind."""


class ChallengeHandshake(_Table):
    """Challenge at a place of the request, which the answer repeats or signs.

    Only a challenge of 1 to 128 letters, digits, `_` and `-` gets an answer.
    """

    kind: Literal["challenge"]
    """The kind."""
    method: Literal["get", "post"]
    """Method of the request."""
    challenge: PlaceText
    """Place of the challenge: `header:NAME`, `query:NAME`, `form:NAME` or `json:POINTER`."""
    when: dict[PlaceText, str] = {}
    """Places that must have these values. Without it, each request with a challenge is a handshake."""
    verified: bool = True
    """Whether the request must pass the profile as a call must. False: any sender that knows the URL gets the
    answer."""
    answer: str = Field(default="{challenge}", min_length=1, max_length=500, pattern=r"^[ !#-%(-;=?-~\"]+$")
    """Body of the answer, with `{challenge}`, or with `{hmac}` or `{hmac:base64}`: the HMAC of the challenge with the
    first secret of the profile, in lower-case hexadecimal or in base64. An answer that begins with the brace
    of an object is JSON."""

    @property
    def signs(self) -> bool:
        """Whether the answer contains an HMAC of the challenge."""
        return "{hmac}" in self.answer or "{hmac:base64}" in self.answer

    @model_validator(mode="after")
    def _places(self) -> ChallengeHandshake:
        for each in (self.challenge, *self.when):
            if parse_place(each).kind in ("field", "body-hash"):
                raise ValueError("a place must be header:NAME, query:NAME, form:NAME or json:POINTER")
        return self


class HubHandshake(_Table):
    """`hub.challenge` of Meta, WebSub and Strava, to start a subscription."""

    kind: Literal["hub"]
    """The kind."""
    verify_token_files: list[Path] = []
    """Files, each with one valid `hub.verify_token`, as Meta sends it."""
    topics: list[str] = []
    """Valid values of `hub.topic`, as WebSub sends it."""
    answer: Literal["text", "json"] = "text"
    """Form of the answer: the challenge alone, or a JSON object with it, as Strava expects."""

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
    SlackHandshake | ChallengeHandshake | HubHandshake | ValidationTokenHandshake | CloudEventsHandshake,
    Field(discriminator="kind"),
]
"""Handshake by which a sender asks whether a URL accepts its calls."""


def _signs_challenges(handshake: HandshakeSettings | None) -> bool:
    return isinstance(handshake, ChallengeHandshake) and handshake.signs


class _Profile(_Table):
    handshake: HandshakeSettings | None = None
    """Handshake by which the sender asks whether the URL accepts its calls. The answer to it is not a call. None: no
    handshake."""
    enforce: bool = True
    """Whether a request that does not pass is refused. False: it is counted and logged, and becomes a call that is not
    verified, to try a profile on real messages."""

    @model_validator(mode="after")
    def _has_secret_for_challenges(self) -> Self:
        if _signs_challenges(self.handshake) and self.kind != "hmac" and not self.kind.startswith("provider:"):
            raise ValueError("only the kind hmac can sign a challenge ({hmac} in the answer of its handshake)")
        return self


class _WithSecrets(_Profile):
    secret_files: list[Path] = Field(min_length=1)
    """Files, each with one secret. All of them are valid, so a new secret can be added before the old one is removed.
    Changed files are reloaded. A line break at the end is ignored."""


class _WithTolerance(_Profile):
    tolerance_s: int = Field(default=300, ge=1, le=24 * 3600)
    """Allowed difference between the clocks of sender and server, in seconds. A message that arrives again within twice
    this time after it succeeded gets the same answer, and is not handled again."""


class StandardWebhooksSettings(_WithSecrets, _WithTolerance):
    """Standard Webhooks: `v1` with a secret (`whsec_…`), `v1a` with a public key (`whpk_…`)."""

    kind: Literal["standard-webhooks"]
    """The kind."""


class SignedSettings(_WithTolerance):
    """Signature over parts of the request.

    A *place* is where a value is in a request: `header:NAME`, `query:NAME`, `form:NAME` (a form in the body),
    `json:POINTER` (RFC 6901, such as `json:/meta/id`), or `field:NAME` (of the list in the signature's header).
    """

    signature: Annotated[list[PlaceText], BeforeValidator(_as_list)] = Field(min_length=1)
    """Place of the signature, or a list of places of which at least one must be there."""
    signature_field: FieldName | None = None
    """Field with a signature, if the value is a list like `t=1,v1=…` (or with `;`). It can occur several times. None:
    the value is the signature."""
    separators: str = Field(default="", max_length=3, pattern=r"^[,; ]*$")
    """Characters that separate several signatures in one value: comma, semicolon, space. Empty: the value is one
    signature, or with `signature_field` a list with commas or semicolons."""
    encoding: Encoding = "hex"
    """Encoding of the signature: lower-case or upper-case hexadecimal, base64 with padding, or base64url."""
    prefix: str = Field(default="", max_length=100)
    """Prefix of each signature, such as `sha256=`. In a list, signatures without it are ignored."""
    signed: Annotated[str, AfterValidator(_template)] = "{body}"
    """Template of the signed bytes, as in `{timestamp}.{body}`, with `{body}` (the original bytes), `{timestamp}` and
    `{id}` (as they were sent), `{method}` (in upper case), `{url}` (whole, with its query), `{host}`, `{path}`,
    `{query}`, `{header:NAME}`, `{json:POINTER}` (a member of the body), `{body-hash}` (by the hash function of
    `algorithm`, lower-case hexadecimal), `{body-hash:base64}`, `{form}` (the names and values of a form, sorted and
    joined), `{receiver-id}`, `{body-crc32}` (decimal; it does not prove the body, so `allow_unsigned_body` is needed),
    and `{members:NAME,NAME,NAME?}` (a line with the name and a line with the text for each of these members of the
    body; one with `?` may be missing). Each part needs a clear end: `{body}` must be the last placeholder, or only
    `{timestamp}`, `{body-hash}` or a last `{url}` follow; some text must follow `{id}`, `{header:NAME}` and
    `{json:POINTER}`; a space, a line break, `{body}` or `{form}` must follow `{url}`. If the body and the URL are next
    to each other, only the generated URL passes, without additions."""
    timestamp: PlaceText | None = None
    """Place of the time of sending. It must be signed: by `{timestamp}`, or as a part of what is signed."""
    timestamp_format: TimestampFormat = "seconds"
    """Format of the time: whole seconds or milliseconds since 1970, or as in `2026-01-31T23:59:59Z`."""
    id: Annotated[list[PlaceText], BeforeValidator(_as_list)] = []
    """Place of the message id, or a list of places of which the first that is there counts. It is trustworthy only if
    it is signed. `body-hash` is the SHA-256 of the body, for senders without ids."""
    receiver_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,100}$")
    """Id by which the sender knows this receiver, for `{receiver-id}` in `signed`."""
    allow_unsigned_body: bool = False
    """Whether a request with a body passes although `signed` does not contain the body. Anyone who has seen a signature
    can then send it with another body."""
    require_json_object: bool = False
    """Whether the request must have a body that begins with `{`, as a JSON object does. A handshake that signs
    challenges needs it if `signed` is `{body}` alone, because a challenge could otherwise be a body."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        places = [parse_place(each) for each in self.signature]
        template = Template(self.signed)
        parts = set(template.parts)
        if self.signature_field is not None and not self.separators:
            object.__setattr__(self, "separators", ",;")  # frozen
        if set(self.prefix) & set(self.separators):
            raise ValueError("prefix contains one of separators, so no signature could have it")
        if any(each.kind in ("field", "body-hash") for each in places):
            raise ValueError("signature must be header:NAME, query:NAME, form:NAME or json:POINTER")
        if any(each.in_body for each in places) and parts & BODY:
            raise ValueError("a signature in the body cannot cover the body; take the body out of signed")
        read = [*places, *template.places(), *([] if self.timestamp is None else [parse_place(self.timestamp)])]
        if any(each.in_body for each in read) and not parts & BODY and not self.allow_unsigned_body:
            raise ValueError("a place in the body needs the body in signed, or allow_unsigned_body = true")
        if any(each.kind == "query" for each in places) and parts & URL:
            raise ValueError("a signature in the query cannot cover the query; take {url} and {query} out of signed")
        if not parts & {*BODY, "url"} and not self.allow_unsigned_body:
            raise ValueError("signed must contain {body} or {url}; without them, set allow_unsigned_body = true")
        if parts & BODY and self.allow_unsigned_body:
            raise ValueError("allow_unsigned_body needs signed without the body")
        if ("receiver-id" in parts) != (self.receiver_id is not None):
            raise ValueError("{receiver-id} in signed and receiver_id need each other")
        self._check_time(parts)
        self._check_id(parts)
        if "tolerance_s" in self.model_fields_set and self.timestamp is None and not self.id:
            raise ValueError("tolerance_s needs timestamp or id")
        return self

    def _check_time(self, parts: set[str]) -> None:
        if self.timestamp is None:
            if "timestamp" in parts:
                raise ValueError("{timestamp} in signed needs timestamp, such as header:x-timestamp")
            if "timestamp_format" in self.model_fields_set:
                raise ValueError("timestamp_format needs timestamp")
            return
        place = parse_place(self.timestamp)
        if place.kind == "body-hash":
            raise ValueError("timestamp must not be body-hash")
        if place.kind == "field" and self.signature_field is None:
            raise ValueError(f"{self.timestamp} needs signature_field, because it is a field of the same list")
        # The end of a field is not marked in {form}: another time could be read from the same signed bytes.
        is_covered = (
            (place.in_body and parts & BODY - {"form"})
            or (place.kind == "query" and parts & URL)
            or place in Template(self.signed).places()
        )
        if "timestamp" not in parts and not is_covered:
            raise ValueError("timestamp needs {timestamp} in signed, because a time that is not signed proves nothing")

    def _check_id(self, parts: set[str]) -> None:
        places = [parse_place(each) for each in self.id]
        if "id" in parts and not places:
            raise ValueError("{id} in signed needs id, such as header:x-id")
        if any(each.kind == "field" for each in places):
            raise ValueError("id must not be field:NAME")
        if any(each.kind == "body-hash" for each in places[:-1]):
            raise ValueError("body-hash must be the last place of the id, because every request has it")
        if any(each.kind == "body-hash" for each in places) and (not parts & BODY or "id" in parts):
            raise ValueError("the id body-hash needs the body in signed, and no {id}")
        if Template(self.signed).id_ends_at_time and self.timestamp_format != "rfc3339":
            raise ValueError("some text must follow {id}, to mark its end; only a rfc3339 time can follow it directly")


class HmacSettings(SignedSettings, _WithSecrets):
    """HMAC over parts of the request.

    A *place* is where a value is in a request: `header:NAME`, `query:NAME`, `form:NAME` (a form in the body),
    `json:POINTER` (RFC 6901, such as `json:/meta/id`), or `field:NAME` (of the list in the signature's header).
    """

    kind: Literal["hmac"]
    """The kind."""
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    """Hash function of the HMAC. SHA-1 is for old senders only."""
    secret_encoding: SecretEncoding = "text"  # noqa: S105  # not a password
    """Encoding of the secrets in the files."""
    secret_prefix: str = Field(default="", max_length=100)
    """Prefix of the secrets that is not a part of them, such as `whsec_`. A secret can lack it."""

    @model_validator(mode="before")
    @classmethod
    def _from_old_names(cls, given: Any) -> Any:
        """Read the names of earlier versions."""
        if not isinstance(given, dict):
            return given
        found: dict[str, Any] = {}
        for key, value in given.items():
            name, kind = _OLD_NAMES.get(key, (key, ""))
            if name in found:
                raise ValueError(f"use one of {', '.join(each for each in (name, *_old_names(name)) if each in given)}")
            found[name] = value if not kind or value is None else _place_of_old_name(key, kind, value)
        return found

    @model_validator(mode="after")
    def _check_challenge(self) -> Self:
        """Refuse a profile of which a signed text could be a challenge: anyone can have a challenge signed."""
        if not _signs_challenges(self.handshake):
            return self
        template = Template(self.signed)
        differs = (
            _NOT_IN_CHALLENGE.search(template.texts())
            or {"url", "path"} & set(template.parts)
            or ("body" in template.parts and self.require_json_object)
            or ("timestamp" in template.parts and self.timestamp_format == "rfc3339")
        )
        if not differs:
            raise ValueError(
                "a challenge could be a signed message, and anyone can have a challenge signed; signed must contain a"
                " character that is no letter, digit, _ or -, or set require_json_object = true with {body} in signed"
            )
        return self


class PublicKeySettings(SignedSettings):
    """Signature with a private key of the sender, over parts of the request, which the public key verifies.

    A *place* is where a value is in a request: `header:NAME`, `query:NAME`, `form:NAME` (a form in the body),
    `json:POINTER` (RFC 6901, such as `json:/meta/id`), or `field:NAME` (of the list in the signature's header).
    """

    kind: Literal["public-key"]
    """The kind."""
    key_files: list[Path] = []
    """Files with public keys. All of them are valid, and changed files are reloaded. A file is a key or a certificate
    in PEM form, a JSON Web Key Set, or base64 of a key in DER form or of an Ed25519 key, which can also be
    hexadecimal. Give either these, or `jwks_url`, or `certificate_url`."""
    jwks_url: KeyUrl | None = None
    """URL of the keys, in one of the forms of a file. Each server fetches it regularly."""
    certificate_url: PlaceText | None = None
    """Place of the URL of the certificate that signs, for a sender that names it in each message."""
    certificate_urls: list[UrlPattern] = []
    """Regular expressions for the whole URLs of certificates. A server fetches no other URL."""
    certificate_names: list[CertificateName] = []
    """Names of which a fetched certificate must have one. `{domain}` at the end is the host of its URL without the
    first label. Its chain must lead to a root that Mozilla trusts."""
    intermediates: Annotated[str, AfterValidator(_intermediates)] = ""
    """Certificates of authorities, in PEM form, that lie between a fetched certificate and a root, and that the sender
    does not send with it."""
    algorithm: KeyAlgorithm | None = None
    """Algorithm, if it is always the same. `rsa-sha…` is PKCS #1 version 1.5. A signature by ECDSA is in DER form.
    SHA-1 is for old senders only."""
    algorithm_place: PlaceText | None = None
    """Place of the name of the algorithm, for a sender that uses several."""
    algorithms: dict[str, KeyAlgorithm] = {}
    """Algorithms by the names at that place."""

    @property
    def allowed_algorithms(self) -> list[KeyAlgorithm]:
        """Every algorithm that a signature can have."""
        return [*self.algorithms.values()] if self.algorithm is None else [self.algorithm]

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        _check_one_source(self, "key_files", "jwks_url", "certificate_url")
        if self.certificate_url is None:
            if self.certificate_urls or self.certificate_names or self.intermediates:
                raise ValueError("certificate_urls, certificate_names and intermediates need certificate_url")
        elif not self.certificate_urls or not self.certificate_names:
            raise ValueError("certificate_url needs certificate_urls and certificate_names")
        elif parse_place(self.certificate_url).kind in ("field", "body-hash"):
            raise ValueError("certificate_url must be header:NAME, query:NAME, form:NAME or json:POINTER")
        return self

    @model_validator(mode="after")
    def _one_algorithm(self) -> Self:
        if (self.algorithm is None) == (self.algorithm_place is None):
            raise ValueError("needs algorithm or algorithm_place, not both")
        if (self.algorithm_place is None) != (not self.algorithms):
            raise ValueError("algorithm_place and algorithms need each other")
        if self.algorithm_place is not None:
            if parse_place(self.algorithm_place).kind in ("field", "body-hash"):
                raise ValueError("algorithm_place must be header:NAME, query:NAME, form:NAME or json:POINTER")
            if {"body-hash", "body-hash:base64"} & set(Template(self.signed).parts):
                raise ValueError("{body-hash} in signed needs algorithm, because its hash function is that")
        return self


def _check_one_source(settings: BaseModel, *names: str) -> None:
    """Raise ValueError if not exactly one of these settings is given: with two, it is unclear which keys count."""
    if sum(bool(getattr(settings, name)) for name in names) != 1:
        raise ValueError(f"needs one of {', '.join(names)}")


_OLD_NAMES: Final = {
    "header": ("signature", "header"),
    "timestamp_header": ("timestamp", "header"),
    "timestamp_field": ("timestamp", "field"),
    "id_header": ("id", "header"),
    "id_member": ("id", "json"),
}
"""Names of settings in earlier versions, which stay valid, with the setting and the kind of place that they became."""


def _old_names(name: str) -> list[str]:
    return [old for old, (new, _) in _OLD_NAMES.items() if new == name]


def _place_of_old_name(key: str, kind: str, value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text")
    if kind != "json":
        return f"{kind}:{value}"
    if "." in value:
        pointer = value.replace(".", "/")
        raise ValueError(f"id_member is one name; for a member within a member write id = 'json:/{pointer}'")
    return "json:/" + value.replace("~", "~0").replace("/", "~1")


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
    """Required `aud` of the token, or one of its values. It can be left out only with `body_hash_claim`, for a sender
    whose tokens have none."""
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
    """Claim with the SHA-256 of the body. The hash is also the message id, unless `single_use` is set."""
    body_hash_encoding: Literal["hex", "base64", "base64url"] = "hex"
    """Encoding of that claim."""
    max_age_s: int | None = Field(default=None, ge=1, le=24 * 3600)
    """Time for which a token without `exp` is valid after its `iat`, in seconds. A token with both must fit both.
    None: a token must have an `exp`."""
    leeway_s: int = Field(default=60, ge=0, le=3600)
    """Allowed difference between the clocks, in seconds."""
    single_use: bool = False
    """Whether each token belongs to one message. The token must then have a `jti`, which is the message id, and be
    valid for a day at most. Another request with the same token gets the same answer, whatever its body."""

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
            if getattr(self, name) is None and self.body_hash_claim is None:
                raise ValueError(f"{name} must be given, unless body_hash_claim is")
        return self

    @model_validator(mode="after")
    def _one_sort(self) -> JwtSettings:
        _check_one_source(self, "key_files", "jwks_url")
        if len({name.startswith("HS") for name in self.algorithms}) > 1:
            raise ValueError("algorithms mixes ones with a public key and HS…, whose key is a secret")
        if self.is_symmetric and self.jwks_url is not None:
            raise ValueError("jwks_url is for public keys; the key of HS… is a secret, in key_files")
        return self

    @property
    def is_symmetric(self) -> bool:
        """Whether the keys are shared secrets."""
        return self.algorithms[0].startswith("HS")


class MessageSignatureSettings(_WithTolerance):
    """HTTP Message Signature (RFC 9421), which covers the body by its digest in `content-digest` (RFC 9530).

    The signature must have a `created` that differs from the time of the server by at most `tolerance_s`, and must not
    have expired. The message id is its `nonce`; without one, the hash of what is signed.
    """

    kind: Literal["http-message-signatures"]
    """The kind."""
    key_files: list[Path] = Field(min_length=1)
    """Files with public keys, as for `public-key`, or for `hmac-sha256` with one secret each. All of them are valid,
    and changed files are reloaded. A key with an id in a JSON Web Key Set verifies only signatures that name it."""
    key_ids: list[Annotated[str, Field(min_length=1, max_length=200)]] = []
    """Ids (`keyid`) of the keys, one for each file in order, in place of the ids in the files. Empty: a key without an
    id verifies a signature with any."""
    algorithm: Literal[
        "hmac-sha256", "rsa-pss-sha512", "rsa-v1_5-sha256", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "ed25519"
    ]
    """Algorithm. A signature with another `alg` is refused."""
    secret_encoding: SecretEncoding = "text"  # noqa: S105  # not a password
    """Encoding of the secrets in the files, for `hmac-sha256`."""
    components: list[Annotated[str, AfterValidator(_component)]] = ["@method", "@target-uri", "content-digest"]
    """Components that a signature must cover: `@method`, `@target-uri`, `@authority`, `@scheme`, `@request-target`,
    `@path`, `@query`, `"@query-param";name="id"`, and names of headers. It can cover more. The URL is the one that the
    sender knows. `content-digest` can be left out of the signature of a request without a body."""
    label: str | None = Field(default=None, pattern=r"^[a-z*][a-z0-9_.*-]{0,99}$")
    """Label of the signature, if a message has several. Labels are not signed. None: any."""
    tag: str | None = Field(default=None, min_length=1, max_length=200)
    """Required `tag` of the signature. None: any. Of several signatures with this label and tag and with a known key,
    at least one must pass."""
    allow_unsigned_body: bool = False
    """Whether a request with a body passes although the signature does not cover its digest. Anyone who has seen a
    signature can then send it with another body."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.key_ids and len(self.key_ids) != len(self.key_files):
            raise ValueError("key_ids needs one id for each of key_files")
        if ('"content-digest"' in map(parse_component, self.components)) == self.allow_unsigned_body:
            raise ValueError("components must contain content-digest, or set allow_unsigned_body = true without it")
        if "secret_encoding" in self.model_fields_set and self.algorithm != "hmac-sha256":
            raise ValueError("secret_encoding is for hmac-sha256")
        return self


class AddressSettings(_Profile):
    """Client address of the request. It depends on `trusted_proxies` of the edge."""

    kind: Literal["address"]
    """The kind."""
    networks: list[Annotated[str, AfterValidator(lambda text: str(parse_network(text)))]] = Field(min_length=1)
    """Allowed networks, such as `192.0.2.0/24` and `2001:db8::/32`."""


_NAMED: Final = ("github", "stripe", "slack", "shopify")
"""Providers that are also kinds of their own."""
_FETCHES: Final = ("certificate_url", "certificate_urls", "certificate_names", "intermediates", "jwks_url")
"""Settings of a provider whose certificates or keys are fetched."""
if TYPE_CHECKING:
    ProviderKind = str
else:
    ProviderKind = Literal[(*_NAMED, *(f"provider:{name}" for name in PROVIDERS))]


class ProviderSettings(_Profile):
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
    """Files with public keys, for a provider that signs with a private key. With them, the server fetches none."""
    jwks_url: KeyUrl | None = None
    """URL of the keys, in place of files with them."""
    receiver_id: str | None = None
    """Id by which the provider knows this receiver, if the notes of the list name it."""
    intermediates: str = ""
    """Certificates of authorities in PEM form, besides those of the list, for a provider whose certificate is
    fetched."""
    tolerance_s: int | None = Field(default=None, ge=1, le=24 * 3600)
    """Allowed difference between the clocks of sender and server, in seconds. None: that of the kind."""

    @property
    def declared(self) -> DeclaredSettings:
        """The settings of the provider with these files."""
        profile = dict(self.provider.profile)
        own = {name: value for name in self.model_fields_set if (value := getattr(self, name)) is not None}
        if self.key_files or self.jwks_url is not None:
            profile = {name: value for name, value in profile.items() if name not in _FETCHES}
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

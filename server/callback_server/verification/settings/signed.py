"""Settings of signatures over parts of the request, and of the kinds `hmac` and `public-key`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from callback_server.verification.jws import ALGORITHMS
from callback_server.verification.message_ids import check_id_places
from callback_server.verification.places import parse_place
from callback_server.verification.request_fields import TimestampFormat
from callback_server.verification.settings.common import WithSecrets, WithTolerance, check_one_source
from callback_server.verification.settings.fetched_urls import CertificateName, KeyUrl, UrlPattern
from callback_server.verification.settings.handshakes import ChallengeHandshake
from callback_server.verification.settings.values import (
    Certificates,
    Encoding,
    FieldName,
    KeyAlgorithm,
    Places,
    PlaceText,
    SecretEncoding,
    SignatureFormat,
    TemplateText,
    ValuePlace,
    ValuePlaces,
)
from callback_server.verification.template import BODY, COVERS_BODY, HEADERS, URL, Template

_NOT_IN_CHALLENGE: Final = re.compile(rb"[^A-Za-z0-9_=-]")


class SignedSettings(WithTolerance):
    """Signature over parts of the request.

    A *place* is where a value is in a request: `header:NAME`, `query:NAME`, `form:NAME` (a form in the body),
    `json:POINTER` (RFC 6901, such as `json:/meta/id`), `form-json:NAME/POINTER` (in the JSON in a field of a form), or
    `field:NAME` (of the list in the signature's header).
    """

    signature: ValuePlaces = Field(min_length=1)
    """Place of the signature, or a list of places of which at least one must be there."""
    signature_field: FieldName | None = None
    """Field with a signature, if the value is a list like `t=1,v1=…` (or with `;`). It can occur several times. None:
    the value is the signature."""
    signature_format: SignatureFormat | None = None
    """The whole value of such a list, as in `t={timestamp}, v1={signature}`, for a sender that writes no other. None:
    its fields can be in any order, also others, and several signatures."""
    separators: str = Field(default="", max_length=4, pattern=r"^[,; &]*$")
    """Characters that separate several signatures in one value: comma, semicolon, space, `&`. Empty: the value is one
    signature, or with `signature_field` a list with commas or semicolons."""
    encoding: Encoding = "hex"
    """Encoding of the signature: lower-case or upper-case hexadecimal, base64 with padding, or base64url."""
    prefix: str = Field(default="", max_length=100)
    """Prefix of each signature, such as `sha256=`, or with `{receiver-id}` in it. In a list, signatures without it are
    ignored."""
    signed: TemplateText = "{body}"
    """Template of the signed bytes, as in `{timestamp}.{body}`, with `{body}` (the original bytes), `{timestamp}` and
    `{id}` (as they were sent), `{method}` (in upper case), `{url}` (whole, with its query), `{host}`, `{path}`,
    `{query}`, `{target}` (the path, and the question mark and the query if there is one), `{query-pairs}` (the
    parameters of the query but for the signature, as Shopify sorts and joins them), `{header-lines}` and
    `{header-list}` (the headers that `signed_headers` names, as a line `Name: value` for each, or as `name:value;…`),
    `{header:NAME}`, `{form:NAME}`, `{json:POINTER}` (a member of the body), `{form-json:NAME/POINTER}`, `{open:PLACE}`
    (such a place whose value may contain the text that follows it), `{body-hash}` (by the hash function of `algorithm`,
    lower-case hexadecimal), `{body-hash:base64}`, `{form}` (the names and values of a form, sorted and joined; next to
    `{url}`, a body that is no form must have its SHA-256 in the parameter `bodySHA256`, as Twilio sends it),
    `{form-pairs}` (the fields of a form but for the signature and the name of its algorithm, sorted and joined as
    `a=1&b=2`, as Alipay signs them),
    `{receiver-id}`, `{body-crc32}` (decimal; it does not prove the body, so `allow_unsigned_body` is needed), and
    `{members:NAME,NAME,NAME?}` (a line with the name and a line with the text for each of these members of the body;
    one with `?` may be missing). Each part needs a clear end: `{body}` must be the last placeholder, or only
    `{timestamp}`, `{body-hash}` or a last `{url}` follow; some text must follow `{id}` (or a time that ends `signed`)
    and each place; only places with text before them can follow `{form}` and `{open:PLACE}`; a space, a line break,
    `{body}`, `{form}` or, for a URL without a query, a question mark must follow `{url}`. If the body and the URL are
    next to each other, only the generated URL passes, without additions."""
    signed_headers: PlaceText | None = None
    """Place of the names of the headers in `{header-lines}` or `{header-list}`, with commas between them:
    `header:NAME`, which must then be one of them, or `field:NAME`, a member of the header of a `jws`."""
    timestamp: Places = []
    """Place of the time of sending, or a list of places of which the first that is there counts. It must be signed: by
    `{timestamp}`, or as a part of what is signed."""
    timestamp_format: TimestampFormat = "seconds"
    """Format of the time: whole seconds or milliseconds since 1970, or as in `2026-01-31T23:59:59Z`."""
    id: Places = []
    """Place of the message id, or a list of places of which the first that is there counts. It is trustworthy only if
    it is signed. `body-hash` is the SHA-256 of the body, for a sender whose bodies are never the same. An id in a
    header or in the query must be there, unless the last place is `none`."""
    receiver_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,100}$")
    """Id by which the sender knows this receiver, for `{receiver-id}` in `signed`, `prefix` or the answer of a
    handshake, or for `receiver`."""
    receiver: ValuePlaces = []
    """Place in the signed body, or a list of places of which the first that is there counts, that must have the
    `receiver_id`, because the sender signs for others with the same key."""
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
        if self.signature_format is not None and not self._has_format():
            named = "signature_field and the field of the time, as in t={timestamp},v1={signature}"
            raise ValueError(f"signature_format must name {named}, and needs an empty prefix")
        if set(self.prefix) & set(self.separators):
            raise ValueError("prefix contains one of separators, so no signature could have it")
        if any(each.in_body for each in places) and parts & BODY and not self.signs_own_payload:
            raise ValueError("a signature in the body cannot cover the body; take the body out of signed")
        if self.signs_own_payload and not all(each.in_body for each in places):
            raise ValueError("a compact jws must be in the body, which would not be signed otherwise")
        read = [*places, *template.places(), *map(parse_place, self.timestamp)]
        if any(each.in_body for each in read) and not parts & COVERS_BODY and not self.allow_unsigned_body:
            raise ValueError("a place in the body needs the body in signed, or allow_unsigned_body = true")
        if any(each.kind == "query" for each in places) and parts & URL:
            raise ValueError("a signature in the query cannot cover the query; take {url} and {query} out of signed")
        if not parts & {*COVERS_BODY, "url", "query-pairs"} and not self.allow_unsigned_body:
            raise ValueError("signed must contain {body} or {url}; without them, set allow_unsigned_body = true")
        if parts & COVERS_BODY and self.allow_unsigned_body:
            raise ValueError("allow_unsigned_body needs signed without the body")
        is_named = bool(self.receiver) or any("{receiver-id}" in each for each in (self.signed, self.prefix))
        if is_named != (self.receiver_id is not None):
            raise ValueError("{receiver-id} in signed or prefix, or receiver, and receiver_id need each other")
        if self.receiver and not (parts & COVERS_BODY and all(parse_place(each).in_body for each in self.receiver)):
            raise ValueError("receiver must be in the body, and the body in signed")
        self._check_headers(parts)
        self._check_time(parts)
        self._check_id(parts)
        if "tolerance_s" in self.model_fields_set and not self.timestamp and not self.id:
            raise ValueError("tolerance_s needs timestamp or id")
        return self

    def _has_format(self) -> bool:
        """Return whether a message can have the form of the list."""
        times = [parse_place(each) for each in self.timestamp]
        names = [*(each.name for each in times if each.kind == "field"), self.signature_field or ""]
        found = re.findall(r"([^=,; ]*)=\{(?:timestamp|signature)\}", self.signature_format or "")
        return len(times) == 1 and found == names and not self.prefix

    @property
    def signs_own_payload(self) -> bool:
        """Whether the signature contains what it signs, and the body of `signed` is that."""
        return False

    @property
    def header_fields(self) -> bool:
        """Whether the signature has a header with members, of which `signed_headers` can be one."""
        return False

    def _check_headers(self, parts: set[str]) -> None:
        if (self.signed_headers is not None) != bool(parts & HEADERS):
            raise ValueError("{header-lines} or {header-list} in signed and signed_headers need each other")
        kind = "" if self.signed_headers is None else parse_place(self.signed_headers).kind
        if kind not in ("", "header") and not (kind == "field" and self.header_fields):
            raise ValueError('signed_headers must be header:NAME, or field:NAME with jws = "detached"')

    @property
    def whole_prefix(self) -> str:
        """The prefix of each signature, with the id of the receiver."""
        return self.prefix.replace("{receiver-id}", self.receiver_id or "")

    def _check_time(self, parts: set[str]) -> None:
        if not self.timestamp:
            if "timestamp" in parts:
                raise ValueError("{timestamp} in signed needs timestamp, such as header:x-timestamp")
            if "timestamp_format" in self.model_fields_set:
                raise ValueError("timestamp_format needs timestamp")
            return
        for place in map(parse_place, self.timestamp):
            if place.kind in ("body-hash", "none"):
                raise ValueError(f"timestamp must not be {place}")
            if place.kind == "field" and (self.signature_field is None or len(self.timestamp) > 1):
                raise ValueError(
                    f"{place} needs signature_field, because it is a field of the same list, and no other place"
                )
            # The end of a field is not marked in {form}: another time could be read from the same signed bytes.
            is_covered = (
                (place.in_body and parts & COVERS_BODY - {"form"})
                or (place.kind == "query" and parts & {*URL, "query-pairs"})
                or (place.kind == "header" and parts & HEADERS)
                or place in Template(self.signed).places()
            )
            if "timestamp" not in parts and not is_covered:
                raise ValueError(
                    "timestamp needs {timestamp} in signed, because a time that is not signed proves nothing"
                )

    def _check_id(self, parts: set[str]) -> None:
        if "id" in parts and not self.id:
            raise ValueError("{id} in signed needs id, such as header:x-id")
        check_id_places(self.id, is_body_signed=bool(parts & COVERS_BODY) and "id" not in parts)
        template = Template(self.signed)
        is_end = template.parts[-1:] == ("timestamp",) and not template.after("timestamp")
        if template.id_ends_at_time and self.timestamp_format != "rfc3339" and not is_end:
            raise ValueError(
                "some text must follow {id}, to mark its end; only a rfc3339 time, or a time at the end of signed, can"
                " follow it directly"
            )


class HmacSettings(SignedSettings, WithSecrets):
    """HMAC over parts of the request.

    A *place* is where a value is in a request: `header:NAME`, `query:NAME`, `form:NAME` (a form in the body),
    `json:POINTER` (RFC 6901, such as `json:/meta/id`), `form-json:NAME/POINTER` (in the JSON in a field of a form), or
    `field:NAME` (of the list in the signature's header).
    """

    kind: Literal["hmac"]
    """The kind."""
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    """Hash function of the HMAC. SHA-1 is for old senders only."""
    secret_encoding: SecretEncoding = "text"  # noqa: S105  # not a password
    """Encoding of the secrets in the files."""
    secret_prefix: str = Field(default="", max_length=100)
    """Prefix of the secrets that is not a part of them, such as `whsec_`. A secret can lack it."""
    secret_hash: Literal["sha1"] | None = None
    """Hash function whose value of the secret is the key of the HMAC. None: the secret is the key."""

    @model_validator(mode="after")
    def _check_challenge(self) -> Self:
        """Refuse a profile of which a signed text could be a challenge: anyone can have a challenge signed."""
        handshake = self.handshake
        if not isinstance(handshake, ChallengeHandshake) or not handshake.signs or handshake.hexadecimal:
            return self  # the verifier itself refuses a signed text that is hexadecimal
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
                " character that is no letter, digit, _, = or -, or set require_json_object = true with {body} in it"
            )
        return self


class PublicKeySettings(SignedSettings):
    """Signature with a private key of the sender, over parts of the request, which the public key verifies.

    A *place* is where a value is in a request: `header:NAME`, `query:NAME`, `form:NAME` (a form in the body),
    `json:POINTER` (RFC 6901, such as `json:/meta/id`), `form-json:NAME/POINTER` (in the JSON in a field of a form), or
    `field:NAME` (of the list in the signature's header).
    """

    kind: Literal["public-key"]
    """The kind."""
    key_files: list[Path] = []
    """Files with public keys. All of them are valid, and changed files are reloaded. A file is a key or a certificate
    in PEM form, a JSON Web Key Set, or base64 of a key in DER form or of an Ed25519 key, which can also be
    hexadecimal. Give either these, or `jwks_url`, or `certificate_url`, or `roots`."""
    jwks_url: KeyUrl | None = None
    """URL of the keys, in one of the forms of a file. Each server fetches it regularly."""
    certificate_url: ValuePlace | None = None
    """Place of the URL of the certificate that signs, for a sender that names it in each message."""
    certificate_urls: list[UrlPattern] = []
    """Regular expressions for the whole URLs of certificates. A server fetches no other URL."""
    certificate_names: list[CertificateName] = []
    """Names of which a fetched certificate must have one. `{domain}` at the end is the host of its URL without the
    first label. Its chain must lead to a root that Mozilla trusts."""
    intermediates: Certificates = ""
    """Certificates of authorities, in PEM form, that lie between a fetched certificate and a root, and that the sender
    does not send with it."""
    roots: Certificates = ""
    """Certificates in PEM form of which one must be at the end of the chain that each signature brings (`x5c` of a
    `jws`)."""
    certificate_oids: list[Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)+$", max_length=100)]] = []
    """Object identifiers of extensions that the certificates of such a chain must have: the first that of the
    certificate that signs, and so on to the last before the root. Empty: any, and a chain of any length."""
    jws: Literal["compact", "detached"] | None = None
    """Whether the signature is a JSON Web Signature (RFC 7515). `compact`: it contains its payload, and `signed`, and
    the places of the time, the id and the receiver, are about that as the body. `detached`: `signed` is its payload
    (appendix F)."""
    jws_header: dict[str, str] = {}
    """Members that the header of the JWS must have."""
    algorithm: KeyAlgorithm | None = None
    """Algorithm, if it is always the same. `rsa-sha…` is PKCS #1 version 1.5. A signature by ECDSA is in DER form,
    or with `ecdsa-raw-sha…` the two numbers r and s, each as long as the key. SHA-1 is for old senders only."""
    algorithm_place: ValuePlace | None = None
    """Place of the name of the algorithm, for a sender that uses several."""
    algorithms: dict[str, KeyAlgorithm] = {}
    """Algorithms by the names at that place."""

    @property
    def signs_own_payload(self) -> bool:
        """Whether the signature is a JWS with its payload."""
        return self.jws == "compact"

    @property
    def header_fields(self) -> bool:
        """Whether the signature is a JWS without its payload."""
        return self.jws == "detached"

    @property
    def allowed_algorithms(self) -> list[KeyAlgorithm]:
        """Every algorithm that a signature can have."""
        return [*self.algorithms.values()] if self.algorithm is None else [self.algorithm]

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        check_one_source(self, "key_files", "jwks_url", "certificate_url", "roots")
        if self.certificate_oids and not self.roots:
            raise ValueError("certificate_oids needs roots")
        if self.certificate_url is None:
            if self.certificate_urls or self.certificate_names or self.intermediates:
                raise ValueError("certificate_urls, certificate_names and intermediates need certificate_url")
        elif not self.certificate_urls or not self.certificate_names:
            raise ValueError("certificate_url needs certificate_urls and certificate_names")
        return self

    @model_validator(mode="after")
    def _one_jws(self) -> Self:
        if self.jws is None:
            if self.jws_header or self.roots:
                raise ValueError("jws_header and roots need jws")
            return self
        if self.algorithm not in ALGORITHMS or self.encoding != "base64url":
            raise ValueError('jws needs encoding = "base64url" and algorithm, one of ' + ", ".join(ALGORITHMS))
        if len(self.signature) > 1 or self.prefix or self.separators or self.allow_unsigned_body:
            raise ValueError("jws needs one place of the signature, and no prefix, separators or allow_unsigned_body")
        return self

    @model_validator(mode="after")
    def _one_algorithm(self) -> Self:
        if (self.algorithm is None) == (self.algorithm_place is None):
            raise ValueError("needs algorithm or algorithm_place, not both")
        if (self.algorithm_place is None) != (not self.algorithms):
            raise ValueError("algorithm_place and algorithms need each other")
        if self.algorithm_place is not None and {"body-hash", "body-hash:base64"} & set(Template(self.signed).parts):
            raise ValueError("{body-hash} in signed needs algorithm, because its hash function is that")
        return self

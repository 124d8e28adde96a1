"""Settings of the kind `http-message-signatures`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from callback_server.verification.components import parse_component
from callback_server.verification.settings.common import WithTolerance
from callback_server.verification.settings.values import ComponentName, SecretEncoding


class MessageSignatureSettings(WithTolerance):
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
    components: list[ComponentName] = ["@method", "@target-uri", "content-digest"]
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

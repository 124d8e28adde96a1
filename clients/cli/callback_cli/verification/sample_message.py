"""Sample message of a provider: one that it could send, signed with a secret of the operator, for `callback send`.

The message is the example or the sample of the provider's file with a new time and a new id, or a body of the operator.
The profile of the provider says where these are and what is signed, so the message is one that the profile verifies.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from callback_cli.verification.browser_returns import RETURNS, ReturnKind
from callback_cli.verification.private_key import PrivateKey, read_private_key
from callback_process.credentials import CredentialsError
from callback_server.domain.call import Request
from callback_server.verification.credential import Credential
from callback_server.verification.jws import parse_jws
from callback_server.verification.places import Place, parse_place
from callback_server.verification.profile import VerificationError
from callback_server.verification.providers import PROVIDERS, Provider, Sample
from callback_server.verification.request_fields import TimestampFormat
from callback_server.verification.settings.credentials import BasicSettings, SharedSecretSettings
from callback_server.verification.settings.profiles import ProviderSettings, StandardWebhooksSettings
from callback_server.verification.settings.signed import HmacSettings, PublicKeySettings, SignedSettings
from callback_server.verification.settings.token import JwtSettings
from callback_server.verification.settings.values import KeyAlgorithm
from callback_server.verification.signature import (
    ENCODERS,
    HASHES,
    Signature,
    hmac_key,
    make_hmac_signature,
    make_key_signature,
)
from callback_server.verification.standard_webhooks import V1
from callback_server.verification.template import Template

SENDERS: Final = (*PROVIDERS, *RETURNS)
"""Names of the senders with a sample message."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""A character that no value of a header has (RFC 9110, 5.5)."""
_TOKEN_LIFE_S: Final = 300
_FILE: Final = Path("secret")
"""File in the settings, which is not read: its content is given."""


class SampleError(Exception):
    """A message cannot be made of what is given. The text says why."""


@dataclass(slots=True)
class Message:
    """A request that is being made."""

    url: str
    method: str
    """In lower case."""
    time: float
    """The time of the message, in seconds since 1970."""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    has_own_body: bool = False
    """Whether the body is the operator's. It then keeps its id."""

    def request(self) -> Request:
        """Return the request as a server gets it."""
        query = self.url.partition("?")[2]
        pairs = tuple(parse_qsl(query, keep_blank_values=True))
        return Request(self.method, tuple(self.headers), pairs, query, "", self.body)

    def find(self, place: Place) -> str | None:
        """Return the value at a place, or None."""
        try:
            return place.find(self.request())
        except VerificationError:
            return None

    def put(self, place: Place, value: str) -> None:
        """Write a value to a place. Raise SampleError if the message has no such place."""
        match place.kind:
            case "header":
                others = [each for each in self.headers if each[0].lower() != place.name.lower()]
                self.headers = [*others, (place.name, value)]
            case "query":
                plain, _, query = self.url.partition("?")
                kept = [part for part in query.split("&") if part and part.partition("=")[0] != place.name]
                self.url = f"{plain}?{'&'.join([*kept, f'{quote(place.name)}={quote(value)}'])}"
            case "form":
                pairs = [
                    pair for pair in parse_qsl(self.body.decode(), keep_blank_values=True) if pair[0] != place.name
                ]
                self.body = urlencode([*pairs, (place.name, value)]).encode()
            case "json":
                self.body = _with_member(self.body, place.name, value)
            case "form-json":
                field, _, pointer = place.name.partition("/")
                document = place.document(self.request())
                made = _with_member(document, f"/{pointer}", value)
                if document in self.body:  # in a multipart form, nothing is encoded
                    self.body = self.body.replace(document, made)
                else:
                    self.put(Place("form", field), made.decode())
            case _:
                raise SampleError(f"a message cannot be given the value at {place}")


def sample_message(
    name: str, url: str, secret: bytes, now: float, *, body: bytes | None = None, values: Mapping[str, str]
) -> Message:
    """Return a message of a sender.

    Args:
        name: One of `SENDERS`.
        url: URL of the callback.
        secret: Content of the secret file: the secret itself, or the private key in PEM form of a sender that signs
            with one. Empty: none is given.
        now: Time of the message, in seconds since 1970.
        body: Body of the operator. None: that of the example.
        values: Values by name. `known_values` has the names.

    Raises:
        SampleError: The secret is not usable, or a value or a part of the body is missing.
    """
    if unknown := [each for each in values if each not in known_values(name)]:
        known = ", ".join(known_values(name)) or "none"
        raise SampleError(f"{name} has no value {unknown[0]!r}; known: {known}")
    try:
        if name in RETURNS:
            return _returned(RETURNS[name], url, secret, now, body, values)
        return _provided(name, PROVIDERS[name], url, secret, now, body, values)
    except (CredentialsError, VerificationError, ValueError) as error:
        raise SampleError(str(error)) from None


def known_values(name: str) -> tuple[str, ...]:
    """Return the names of the values that a sender takes."""
    if name in RETURNS:
        return RETURNS[name].values
    return tuple(each for each in PROVIDERS[name].needs if each in ("receiver_id", "username"))


def _returned(
    kind: ReturnKind, url: str, secret: bytes, now: float, body: bytes | None, values: Mapping[str, str]
) -> Message:
    if body is not None:
        raise SampleError("a browser that returns has no body of yours")
    if missing := [each for each in kind.required if each not in values]:
        raise SampleError(f"the value {missing[0]} must be given")
    if kind.needs_secret and not secret:
        raise SampleError("the private key must be given")
    made = kind.make(url, secret, now, values)
    if made.form is None:
        return Message(made.url, "get", now, list(made.headers))
    return Message(made.url, "post", now, list(made.headers), made.form.encode())


def _provided(
    name: str, provider: Provider, url: str, secret: bytes, now: float, body: bytes | None, values: Mapping[str, str]
) -> Message:
    if not secret:
        raise SampleError(f"the secret must be given: {provider.secret}")
    example = provider.example
    message = Message(
        url,
        provider.sample.method,
        now,
        [(each, value) for each, value in (*provider.sample.headers, *example.get("headers", ()))],
        example.get("body", provider.sample.body).encode() if body is None else body,
        body is not None,
    )
    _give_content_type(message)
    settings = _settings(name, provider, values)
    match settings:
        case StandardWebhooksSettings():
            _sign_hmac(message, V1, secret)
        case HmacSettings():
            _sign_hmac(message, settings, secret)
        case PublicKeySettings():
            _sign_with_key(message, settings, read_private_key(secret), provider)
        case SharedSecretSettings():
            place = Place("header", settings.header) if settings.header else Place("query", settings.parameter or "")
            place = parse_place(f"json:{settings.pointer}") if settings.pointer else place
            text = secret.decode("latin-1").rstrip("\r\n")
            if place.kind == "header" and _CONTROL.search(text):
                raise SampleError(f"the secret has a line break or a control character, which no {place} can have")
            message.put(place, text)
        case BasicSettings():
            login = f"{settings.username}:".encode() + secret.rstrip(b"\r\n")
            message.put(Place("header", "authorization"), f"Basic {base64.b64encode(login).decode()}")
        case JwtSettings():
            _add_token(message, settings, secret)
        case _:
            raise SampleError(f"the kind {settings.kind} has no sample message")
    return message


def _settings(name: str, provider: Provider, values: Mapping[str, str]) -> Any:
    """Return the settings of the provider's profile, as for its verification with a file."""
    given: dict[str, Any] = {provider.files: [_FILE], **values}
    if "handshake" in provider.needs:
        given["handshake"] = {"kind": "hub", "verify_token_files": [_FILE]}
    if missing := [each for each in provider.needs if each not in given]:
        raise SampleError(f"the value {missing[0]} must be given")
    return ProviderSettings(kind=f"provider:{name}", **given).declared


def _give_content_type(message: Message) -> None:
    if message.body and all(name.lower() != "content-type" for name, _ in message.headers):
        is_json = message.body.lstrip()[:1] in (b"{", b"[")
        message.headers.append(("content-type", "application/json" if is_json else "text/plain"))


def _sign_hmac(message: Message, settings: HmacSettings, content: bytes) -> None:
    credential = Credential("the secret file", content)
    secret = hmac_key(settings, credential)
    verifier = make_hmac_signature(settings, [credential])

    def sign(text: bytes) -> bytes:
        return hmac.digest(secret, text, settings.algorithm)

    _sign(message, settings, verifier, sign)


def _sign_with_key(message: Message, settings: PublicKeySettings, key: PrivateKey, provider: Provider) -> None:
    algorithm = settings.algorithm
    if settings.algorithm_place is not None:
        name, algorithm = list(settings.algorithms.items())[-1]  # the newest one
        message.put(parse_place(settings.algorithm_place), name)
    if algorithm is None:
        raise SampleError("the profile names no algorithm")
    sign = _signer(algorithm, key)
    verifier = make_key_signature(settings, lambda _request, _url: [])
    if settings.jws is None:
        _sign(message, settings, verifier, sign)
    else:
        _sign_jws(message, settings, verifier, sign, provider.sample)


def _sign(message: Message, settings: SignedSettings, verifier: Signature, sign: Callable[[bytes], bytes]) -> None:
    """Write time, id and signature to a message.

    Args:
        message: The message.
        settings: The format.
        verifier: The verifier of the format. It tells the bytes to sign once the message has a signature, whatever it
            is.
        sign: Returns the signature of bytes.
    """
    place = parse_place(settings.signature[0])
    in_field = _renew_time(message, settings)
    _renew_id(message, settings.id, is_signed="id" in Template(settings.signed).parts)
    name = "" if settings.signature_field is None else f"{settings.signature_field}="
    message.put(place, f"{in_field}{name}{settings.whole_prefix}")
    signed = verifier.explain(message.request(), message.url).signed or b""
    made = ENCODERS[settings.encoding](sign(signed))[-1].decode()
    message.put(place, f"{in_field}{name}{settings.whole_prefix}{made}")


def _sign_jws(
    message: Message, settings: PublicKeySettings, verifier: Signature, sign: Callable[[bytes], bytes], sample: Sample
) -> None:
    """Write time, id and JWS to a message. The JWS has the header of the sample, which names no key of the operator.

    The arguments are as for `_sign`. A body of the operator is the payload of a JWS that has one of its own.
    """
    place, has_payload = parse_place(settings.signature[0]), settings.signs_own_payload
    example = Message(message.url, message.method, message.time, list(message.headers), sample.body.encode())
    jws = parse_jws(example.find(place) or "")
    signed = replace(message, body=jws.payload if has_payload and not message.has_own_body else message.body)
    _renew_time(signed, settings)
    _renew_id(signed, settings.id, is_signed=False)
    receivers = [parse_place(each) for each in settings.receiver]
    for at in [each for each in receivers if signed.find(each) is not None][:1]:
        signed.put(at, settings.receiver_id or "")
    message.headers, message.body = signed.headers, example.body if has_payload else signed.body
    head = jws.signed(signed.body).decode() if has_payload else f"{jws.head}."
    message.put(place, f"{head}.AA")
    to_sign = verifier.explain(message.request(), message.url).signed or b""
    message.put(place, f"{head}.{ENCODERS[settings.encoding](sign(to_sign))[-1].decode()}")


def _renew_time(message: Message, settings: SignedSettings) -> str:
    """Give a message its time. Return what stands before the signature in a list that has the time, too."""
    time = _time(message.time, settings.timestamp_format)
    if settings.timestamp:
        if (at := parse_place(settings.timestamp[0])).kind == "field":
            if settings.signature_format is not None:
                before = settings.signature_format.removesuffix(f"{settings.signature_field}={{signature}}")
                return before.replace("{timestamp}", time)
            return f"{at.name}={time}{settings.separators[0]}"
        message.put(at, time)
    return ""


def _renew_id(message: Message, places: Sequence[str], *, is_signed: bool) -> None:
    """Give a message a new id, in place of that of the example. Without one, it gets an id only if that is signed."""
    for index, at in enumerate(map(parse_place, places)):
        if at.kind in ("body-hash", "none"):
            continue
        found = message.find(at)
        is_made = is_signed and index == 0 if found is None else not (at.in_body and message.has_own_body)
        if is_made:
            message.put(at, _new_id(found or ""))


def _signer(algorithm: KeyAlgorithm, key: PrivateKey) -> Callable[[bytes], bytes]:
    """Return the function that signs. Raise SampleError if the key is not for the algorithm."""
    kind, _, rest = algorithm.partition("-")
    match key:
        case ed25519.Ed25519PrivateKey() if kind == "ed25519":
            return key.sign
        case ec.EllipticCurvePrivateKey() if kind == "ecdsa":
            scheme = ec.ECDSA(HASHES[rest.removeprefix("raw-")])
            if not rest.startswith("raw-"):
                return lambda text: key.sign(text, scheme)
            length = (key.curve.key_size + 7) // 8
            return lambda text: b"".join(n.to_bytes(length) for n in decode_dss_signature(key.sign(text, scheme)))
        case rsa.RSAPrivateKey() if kind == "rsa":
            digest = HASHES[rest.removeprefix("pss-")]
            pss = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
            fill = pss if rest.startswith("pss-") else padding.PKCS1v15()
            return lambda text: key.sign(text, fill, digest)
    raise SampleError(f"the private key is not one for {algorithm}")


def _add_token(message: Message, settings: JwtSettings, content: bytes) -> None:
    """Give a message a token with the claims of that of the example, at its time and for its URL and body."""
    key = content.rstrip(b"\r\n") if settings.is_symmetric else read_private_key(content)
    _renew_id(message, settings.id, is_signed=False)
    place, now, claims = Place("header", settings.header or "authorization"), int(message.time), dict[str, Any]()
    with contextlib.suppress(jwt.PyJWTError):
        claims = jwt.decode((message.find(place) or "").removeprefix("Bearer "), options={"verify_signature": False})
    renewed = {"nbf": now, "jti": str(uuid.uuid4())}
    claims |= {"iat": now, "exp": now + _TOKEN_LIFE_S, **{name: renewed[name] for name in renewed if name in claims}}
    if settings.issuer is not None:
        claims["iss"] = settings.issuer
    if settings.audience is not None:
        claims["aud"] = settings.audience.replace("{url}", message.url)
    if settings.body_hash_claim is not None:
        digest = hashlib.sha256(message.body).digest()
        claims[settings.body_hash_claim] = ENCODERS[settings.body_hash_encoding](digest)[0].decode()
    if settings.url_claim is not None:
        claims[settings.url_claim] = message.url
    if settings.url_hash_claim is not None:
        claims[settings.url_hash_claim] = hashlib.sha256(message.url.encode()).hexdigest()
    try:
        token = jwt.encode(claims, key, settings.algorithms[0])
    except (jwt.PyJWTError, TypeError, ValueError):
        raise SampleError(f"the private key is not one for {settings.algorithms[0]}") from None
    message.put(place, token if settings.header else f"Bearer {token}")


def _time(now: float, form: TimestampFormat) -> str:
    match form:
        case "seconds":
            return str(int(now))
        case "milliseconds":
            return str(int(now * 1000))
        case "rfc3339":
            # With milliseconds, as AWS writes it, whose library requires them.
            return f"{datetime.fromtimestamp(now, UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def _new_id(found: str) -> str:
    """Return a new id in the form of another one, as far as it has a known form: `evt_…`, or a UUID."""
    prefix, mark, _ = found.rpartition("_")
    return f"{prefix}_{uuid.uuid4().hex}" if mark else str(uuid.uuid4())


def _with_member(body: bytes, pointer: str, value: str) -> bytes:
    """Return JSON with a text, or a number in place of a number, at a pointer. Raise SampleError."""
    *above, last = (token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])
    try:
        content = json.loads(body)
        member = content
        for token in above:
            member = member[int(token)] if isinstance(member, list) else member.setdefault(token, {})
        member[last] = int(value) if isinstance(member.get(last), int) else value
    except (ValueError, LookupError, AttributeError, TypeError):
        raise SampleError(f"the body must be JSON with a place for json:{pointer}") from None
    return json.dumps(content).encode()

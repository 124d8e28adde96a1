"""What a browser brings back from a login or a payment, for `callback send`: OpenID Connect, SAML and iDEAL.

Each function takes the URL of the callback, the content of the secret file, the time, and the values of the operator.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from callback_cli.verification.private_key import read_private_key

_LIFETIME: Final = timedelta(minutes=5)
"""Lifetime of a token and of an assertion."""
_FORM: Final = ("content-type", "application/x-www-form-urlencoded")

_ASSERTION: Final = """\
<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="{id}" IssueInstant="{began}" Version="2.0">\
<saml:Issuer>{issuer}</saml:Issuer>{signature}\
<saml:Subject>\
<saml:NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified">{name_id}</saml:NameID>\
<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">\
<saml:SubjectConfirmationData{asked} NotOnOrAfter="{until}" Recipient="{url}"></saml:SubjectConfirmationData>\
</saml:SubjectConfirmation></saml:Subject>\
<saml:Conditions NotBefore="{began}" NotOnOrAfter="{until}">\
<saml:AudienceRestriction><saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>\
<saml:AuthnStatement AuthnInstant="{began}" SessionIndex="{session}"><saml:AuthnContext>\
<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef>\
</saml:AuthnContext></saml:AuthnStatement></saml:Assertion>"""
"""An assertion in its canonical form (Exclusive XML Canonicalization 1.0): it is signed as it is."""
_RESPONSE: Final = """\
<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" Destination="{url}" ID="{response_id}"{asked} \
IssueInstant="{began}" Version="2.0">\
<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">{issuer}</saml:Issuer>\
<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"></samlp:StatusCode></samlp:Status>\
{assertion}</samlp:Response>"""
_SIGNED_INFO: Final = """\
<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">\
<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:CanonicalizationMethod>\
<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"></ds:SignatureMethod>\
<ds:Reference URI="#{id}"><ds:Transforms>\
<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"></ds:Transform>\
<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:Transform></ds:Transforms>\
<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></ds:DigestMethod>\
<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>"""
_SIGNATURE: Final = """\
<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#">{info}\
<ds:SignatureValue>{value}</ds:SignatureValue></ds:Signature>"""
_IN_TEXT: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_IN_ATTRIBUTE: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}
)
"""Escapes of the canonical form."""


@dataclass(frozen=True, slots=True)
class BrowserReturn:
    """A request of a browser that returns."""

    url: str
    """URL with the query."""
    headers: Sequence[tuple[str, str]] = ()
    form: str | None = None
    """Form in the body of a POST. None: the request is a GET."""


@dataclass(frozen=True, slots=True)
class ReturnKind:
    """A kind of returns."""

    title: str
    make: Callable[[str, bytes, float, Mapping[str, str]], BrowserReturn]
    values: tuple[str, ...]
    """Names of the values that an operator can give."""
    required: tuple[str, ...] = ()
    """Names of those that must be given."""
    needs_secret: bool = False


def _openid_query(url: str, _secret: bytes, _now: float, values: Mapping[str, str]) -> BrowserReturn:
    """Return the answer of an OpenID provider in the query (OpenID Connect Core 1.0, 3.1.2.5 and 3.1.2.6)."""
    return BrowserReturn(_with_query(url, _openid_answer(values)))


def _openid_form(url: str, secret: bytes, now: float, values: Mapping[str, str]) -> BrowserReturn:
    """Return the same in a form (OAuth 2.0 Form Post Response Mode), with an ID token if there is a key to sign it."""
    plain, _, query = url.partition("?")
    parameters = _openid_answer({name: value for name, value in values.items() if name not in ("aud", "sub", "nonce")})
    if secret and "error" not in values:
        key = read_private_key(secret)
        algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        claims: dict[str, object] = {
            "iss": values.get("iss", "https://login.example"),
            "sub": values.get("sub", "user-1"),
            "aud": values.get("aud", "client-1"),
            "iat": int(now),
            "exp": int(now + _LIFETIME.total_seconds()),
        }
        if "nonce" in values:
            claims["nonce"] = values["nonce"]
        parameters["id_token"] = jwt.encode(claims, key, algorithm)
    form = "&".join(filter(None, (query, urlencode(parameters))))
    return BrowserReturn(plain, [_FORM], form)


def _openid_answer(values: Mapping[str, str]) -> dict[str, str]:
    return {**({} if "error" in values else {"code": secrets.token_urlsafe(32)}), **values}


def _ideal(url: str, _secret: bytes, _now: float, values: Mapping[str, str]) -> BrowserReturn:
    """Return the visitor of a payment to the shop: https://currencenl.atlassian.net/wiki/spaces/IPD/pages/149488197."""
    numbers = {"trxid": f"{secrets.randbelow(10**16):016}", "ec": secrets.token_hex(16)}
    return BrowserReturn(_with_query(url, {**numbers, **values}))


def _saml(url: str, secret: bytes, now: float, values: Mapping[str, str]) -> BrowserReturn:
    """Return a response with a signed assertion, by the POST binding (saml-bindings-2.0-os, 3.5)."""
    key = read_private_key(secret)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("SAML needs an RSA key")
    began, asked = datetime.fromtimestamp(now, UTC), values.get("in_response_to")
    plain, _, query = url.partition("?")
    facts = {
        "id": f"_{secrets.token_hex(16)}",
        "response_id": f"_{secrets.token_hex(16)}",
        "session": secrets.token_hex(16),
        "began": _xml_time(began),
        "until": _xml_time(began + _LIFETIME),
        "url": plain.translate(_IN_ATTRIBUTE),
        "asked": "" if asked is None else f' InResponseTo="{asked.translate(_IN_ATTRIBUTE)}"',
        "issuer": values.get("issuer", "https://login.example/saml").translate(_IN_TEXT),
        "audience": values["audience"].translate(_IN_TEXT),
        "name_id": values.get("name_id", "user-1").translate(_IN_TEXT),
    }
    signature = _xml_signature(key, facts["id"], _ASSERTION.format_map({**facts, "signature": ""}))
    assertion = _ASSERTION.format_map({**facts, "signature": signature})
    response = _RESPONSE.format_map({**facts, "assertion": assertion})
    fields = urlencode({"SAMLResponse": base64.b64encode(response.encode()).decode()})
    return BrowserReturn(plain, [_FORM], "&".join(filter(None, (fields, query))))


def _xml_signature(key: rsa.RSAPrivateKey, reference: str, signed: str) -> str:
    """Return an enveloped signature (XML Signature) of an element in its canonical form."""
    digest = base64.b64encode(hashlib.sha256(signed.encode()).digest()).decode()
    info = _SIGNED_INFO.format(id=reference, digest=digest)
    value = base64.b64encode(key.sign(info.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
    return _SIGNATURE.format(info=info, value=value)


def _xml_time(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def _with_query(url: str, parameters: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(parameters)}"


RETURNS: Final[Mapping[str, ReturnKind]] = {
    "oidc-return": ReturnKind("OpenID Connect and OAuth: a code in the query", _openid_query, ("code", "iss", "error")),
    "oidc-form-post": ReturnKind(
        "OpenID Connect: a code in a form, and an ID token if there is a key to sign it",
        _openid_form,
        ("code", "iss", "error", "aud", "sub", "nonce"),
    ),
    "saml": ReturnKind(
        "SAML: a response with a signed assertion",
        _saml,
        ("issuer", "audience", "in_response_to", "name_id"),
        required=("audience",),
        needs_secret=True,
    ),
    "ideal": ReturnKind("iDEAL: the visitor who returns from the bank", _ideal, ("trxid", "ec")),
}
"""The kinds, by name."""

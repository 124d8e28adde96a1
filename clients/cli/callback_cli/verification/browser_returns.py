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

_ASSERTION: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
_PROTOCOL: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
_SIGNATURE: Final = "http://www.w3.org/2000/09/xmldsig#"
_SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"


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
    """Return a response with a signed assertion, by the POST binding (saml-bindings-2.0-os, 3.5).

    The assertion is written in its canonical form (Exclusive XML Canonicalization 1.0), so it is signed as it is.
    """
    key = read_private_key(secret)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("SAML needs an RSA key")
    began = datetime.fromtimestamp(now, UTC)
    plain, _, query = url.partition("?")
    issuer = _text(values.get("issuer", "https://login.example/saml"))
    asked = {"InResponseTo": values["in_response_to"]} if "in_response_to" in values else {}
    until = {"NotOnOrAfter": _xml_time(began + _LIFETIME)}
    assertion_id = f"_{secrets.token_hex(16)}"
    confirmed = _element("saml:SubjectConfirmationData", {**asked, **until, "Recipient": plain})
    audience = _element("saml:AudienceRestriction", {}, _element("saml:Audience", {}, _text(values["audience"])))
    name_format = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
    context = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
    parts = (
        _element(
            "saml:Subject",
            {},
            _element("saml:NameID", {"Format": name_format}, _text(values.get("name_id", "user-1"))),
            _element("saml:SubjectConfirmation", {"Method": "urn:oasis:names:tc:SAML:2.0:cm:bearer"}, confirmed),
        ),
        _element("saml:Conditions", {"NotBefore": _xml_time(began), **until}, audience),
        _element(
            "saml:AuthnStatement",
            {"AuthnInstant": _xml_time(began), "SessionIndex": secrets.token_hex(16)},
            _element("saml:AuthnContext", {}, _element("saml:AuthnContextClassRef", {}, context)),
        ),
    )

    def assertion(*after_issuer: str) -> str:
        attributes = {"ID": assertion_id, "IssueInstant": _xml_time(began), "Version": "2.0"}
        inner = (_element("saml:Issuer", {}, issuer), *after_issuer, *parts)
        return _element("saml:Assertion", attributes, *inner, namespaces={"saml": _ASSERTION})

    response = _element(
        "samlp:Response",
        {"Destination": plain, "ID": f"_{secrets.token_hex(16)}", **asked, "IssueInstant": _xml_time(began),
         "Version": "2.0"},
        _element("saml:Issuer", {}, issuer, namespaces={"saml": _ASSERTION}),
        _element("samlp:Status", {}, _element("samlp:StatusCode", {"Value": _SUCCESS})),
        assertion(_xml_signature(key, assertion_id, assertion())),
        namespaces={"samlp": _PROTOCOL},
    )  # fmt: skip
    fields = urlencode({"SAMLResponse": base64.b64encode(response.encode()).decode()})
    return BrowserReturn(plain, [_FORM], "&".join(filter(None, (fields, query))))


def _xml_signature(key: rsa.RSAPrivateKey, reference: str, signed: str) -> str:
    """Return an enveloped signature (XML Signature) of an element in its canonical form."""
    transforms = "".join(
        _element("ds:Transform", {"Algorithm": each}) for each in (f"{_SIGNATURE}enveloped-signature", _EXCLUSIVE)
    )
    digest = base64.b64encode(hashlib.sha256(signed.encode()).digest()).decode()
    info = _element(
        "ds:SignedInfo",
        {},
        _element("ds:CanonicalizationMethod", {"Algorithm": _EXCLUSIVE}),
        _element("ds:SignatureMethod", {"Algorithm": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"}),
        _element(
            "ds:Reference",
            {"URI": f"#{reference}"},
            _element("ds:Transforms", {}, transforms),
            _element("ds:DigestMethod", {"Algorithm": "http://www.w3.org/2001/04/xmlenc#sha256"}),
            _element("ds:DigestValue", {}, digest),
        ),
        namespaces={"ds": _SIGNATURE},
    )
    value = base64.b64encode(key.sign(info.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
    return _element("ds:Signature", {}, info, _element("ds:SignatureValue", {}, value), namespaces={"ds": _SIGNATURE})


def _element(
    name: str, attributes: Mapping[str, str], *content: str, namespaces: Mapping[str, str] | None = None
) -> str:
    """Return an element in its canonical form: namespaces first, sorted attributes, and an end tag."""
    own = [f' xmlns:{prefix}="{address}"' for prefix, address in (namespaces or {}).items()]
    own += [f' {each}="{_attribute(value)}"' for each, value in sorted(attributes.items())]
    return f"<{name}{''.join(own)}>{''.join(content)}</{name}>"


def _text(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")


def _attribute(value: str) -> str:
    escapes = {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}
    return "".join(escapes.get(character, character) for character in value)


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

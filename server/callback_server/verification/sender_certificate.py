"""Certificates with which senders sign: their chain to a root, and their names or extensions."""

from __future__ import annotations

import base64
import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import certifi
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import verification
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store

from callback_server.verification.credential import Credential
from callback_server.verification.profile import FailureReason, VerificationError

MAX_CHAIN: Final = 8
"""Number of certificates that come with a message, at most."""

Roots = Callable[[], Store]
"""Returns the trusted roots."""


@dataclass(frozen=True, slots=True)
class SenderCertificate:
    """A certificate whose chain and name are right."""

    key: Any
    """Its public key."""
    valid_until: float
    """Time until which the whole chain is valid, in seconds since 1970."""


@functools.cache
def public_roots() -> Store:
    """Return the roots that Mozilla trusts, from the package certifi."""
    with warnings.catch_warnings():
        # A root of 2008 has the serial number 0, which the library will refuse one day.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return Store(x509.load_pem_x509_certificates(certifi.contents().encode()))


def check_certificate(
    url: str,
    content: bytes,
    *,
    names: Sequence[str],
    intermediates: Sequence[x509.Certificate],
    now: float,
    roots: Roots = public_roots,
) -> SenderCertificate:
    """Check the certificate that was fetched from a URL.

    Args:
        url: The URL.
        content: The certificate in PEM form, and then certificates of its chain, if it comes with any.
        names: Names of which the certificate must have one. `{domain}` is the host of the URL without its first label.
        intermediates: Further certificates between it and a root.
        now: The time, in seconds since 1970.
        roots: Returns the roots.

    Raises:
        CredentialsError: It is no certificate, has none of the names, is not valid now, or leads to no root.
    """
    credential = Credential(url, content)
    try:
        leaf, *chain = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise credential.error("is not a certificate in PEM form") from None
    domain = (urlsplit(url).hostname or "").partition(".")[2]
    valid_names = [name.replace("{domain}", domain) for name in names]
    policy = PolicyBuilder().store(roots()).time(datetime.fromtimestamp(now, UTC))
    for name in valid_names:
        verifier = policy.build_server_verifier(x509.DNSName(name))
        try:
            found = verifier.verify(leaf, [*chain, *intermediates])
        except verification.VerificationError:
            continue
        return SenderCertificate(leaf.public_key(), min(each.not_valid_after_utc.timestamp() for each in found))
    raise credential.error(_why(leaf, valid_names, [*chain, *intermediates], now))


def chain_key(chain: object, *, roots: Store, oids: Sequence[str], now: float) -> Any:
    """Return the public key of the first certificate of a chain that came with a message.

    Args:
        chain: What the message has as its chain: certificates in base64 of their DER form (RFC 7515, 4.1.6).
        roots: The roots, of which one must have signed the last certificate, or be it.
        oids: Object identifiers of an extension of each certificate before the root. Empty: any.
        now: The time, in seconds since 1970.

    Raises:
        VerificationError: It is no chain, leads to none of the roots, is not valid now, or lacks an extension.
    """
    if not isinstance(chain, list) or not 1 <= len(chain) <= MAX_CHAIN:
        raise VerificationError(f"the message has no chain of 1 to {MAX_CHAIN} certificates", FailureReason.MISSING)
    try:
        leaf, *others = [x509.load_der_x509_certificate(base64.b64decode(each, validate=True)) for each in chain]
    except (ValueError, TypeError):
        raise VerificationError("a certificate of the chain cannot be read") from None
    # The certificate that signs has no name of a host and no use of the web: its extensions tell what it is for.
    policy = PolicyBuilder().store(roots).time(datetime.fromtimestamp(now, UTC))
    policy = policy.extension_policies(
        ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
    )
    try:
        found = policy.build_client_verifier().verify(leaf, others).chain[:-1]
        extensions = [{each.oid.dotted_string for each in certificate.extensions} for certificate in found]
    except (verification.VerificationError, ValueError):
        raise VerificationError("the chain leads to none of the roots now", FailureReason.SIGNATURE) from None
    if oids and not (len(found) == len(oids) and all(oid in own for oid, own in zip(oids, extensions, strict=True))):
        raise VerificationError("the certificates of the chain are for another use", FailureReason.SIGNATURE)
    return leaf.public_key()


def load_intermediates(text: str) -> list[x509.Certificate]:
    """Return the certificates of a text in PEM form. Raise ValueError if there is another content than those."""
    return x509.load_pem_x509_certificates(text.encode()) if text.strip() else []


def _why(leaf: x509.Certificate, names: Sequence[str], others: Sequence[x509.Certificate], now: float) -> str:
    """Return why a certificate does not pass, in words that lead to a remedy: the library gives few."""
    if not leaf.not_valid_before_utc.timestamp() <= now <= leaf.not_valid_after_utc.timestamp():
        return "is a certificate that is not valid now"
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        own = found.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        own = []
    if not set(names) & set(own):
        return f"is a certificate with none of the names {', '.join(names)}"
    if leaf.issuer not in [each.subject for each in others]:
        issuer = leaf.issuer.rfc4514_string()
        return f"is a certificate by {issuer}; if that is no public root, add its certificate to intermediates"
    return "is a certificate without a valid chain to a public root"

"""Certificates with which senders sign: their chain to a public root, and their names."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import certifi
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from callback_server.verification.credential import Credential

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
        except VerificationError:
            continue
        return SenderCertificate(leaf.public_key(), min(each.not_valid_after_utc.timestamp() for each in found))
    raise credential.error(_why(leaf, valid_names, [*chain, *intermediates], now))


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

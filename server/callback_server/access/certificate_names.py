r"""The names in a client certificate that can prove a principal.

They are read from the certificate itself: gRPC hands its names on as C strings, cut at a NUL, so that
`spiffe://shop/admin\0.evil` would be somebody else's name.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from cryptography import x509

_PLAIN: Final = re.compile(r"[!-~]+")
_UNREADABLE: Final = (
    x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion
)  # fmt: skip


@functools.lru_cache(maxsize=1024)
def names_of(certificate: bytes) -> frozenset[str]:
    """The URIs and DNS names of a certificate's subject alternative names (RFC 5280, 4.2.1.6).

    A name that is not printable ASCII without spaces is none, nor is a DNS name that reads like a URI. A common name is
    none (RFC 9525, 6.3). Who shows a certificate keeps its connection, so most are looked at once.

    Args:
        certificate: one certificate, PEM.
    """
    try:
        extensions = x509.load_pem_x509_certificate(certificate).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, *_UNREADABLE):
        return frozenset()
    uris = {name for name in names.get_values_for_type(x509.UniformResourceIdentifier) if "://" in name}
    hosts = {name for name in names.get_values_for_type(x509.DNSName) if "://" not in name}
    return frozenset(name for name in uris | hosts if _PLAIN.fullmatch(name))

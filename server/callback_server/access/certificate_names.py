r"""The names in a client certificate that can authenticate a principal.

They are read from the certificate itself. gRPC passes names on as C strings, cut at a NUL, so that
`spiffe://shop/admin\0.evil` would read as the name of another principal.
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
    """Return the URIs and DNS names among a certificate's subject alternative names (RFC 5280, 4.2.1.6).

    Names with spaces, or with characters that are not printable ASCII, are ignored, and so are DNS names that look like
    URIs, and common names (RFC 9525, 6.3). A client keeps its connection, so most certificates are read once.

    Args:
        certificate: One certificate, PEM.
    """
    try:
        extensions = x509.load_pem_x509_certificate(certificate).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, *_UNREADABLE):
        return frozenset()
    uris = {name for name in names.get_values_for_type(x509.UniformResourceIdentifier) if "://" in name}
    hosts = {name for name in names.get_values_for_type(x509.DNSName) if "://" not in name}
    return frozenset(name for name in uris | hosts if _PLAIN.fullmatch(name))

r"""The names in a certificate that identify its holder.

They are read from the certificate itself, because gRPC passes names as C strings that end at a NUL: the name
`spiffe://shop/admin\0.evil` would become that of another principal. gRPC has already verified the certificate.
"""

import functools
import re
from typing import Final

try:
    from cryptography import x509
except ImportError as error:  # it is in an extra, because most clients do not need it
    raise ImportError(
        "they require cryptography: install Callback with its extra [client-names], see docs/install.md"
    ) from error

_PLAIN: Final = re.compile(r"[!-~]+")
_UNREADABLE: Final = (
    x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion
)  # fmt: skip


@functools.lru_cache(maxsize=1024)
def names_of(certificate: bytes) -> frozenset[str]:
    """Return the URIs and DNS names in the subject alternative names of a certificate (RFC 5280, 4.2.1.6).

    Names that are not printable ASCII without spaces are ignored, and so are DNS names that look like URIs, and the
    common name (RFC 9525, 6.3). A malformed certificate has no names. Results are cached, because a peer presents the
    same certificate with every request.

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


@functools.lru_cache(maxsize=1024)
def expiry_of(certificate: bytes) -> float:
    """Return when a certificate expires, in seconds since 1970.

    Args:
        certificate: One certificate, PEM, which has names.
    """
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()

r"""The names in a certificate that identify its holder.

They are read from the certificate itself, because gRPC passes names as C strings that end at a NUL: the name
`spiffe://shop/admin\0.evil` would become another client's name. gRPC has already verified the certificate. This module
parses only one extension (X.690, RFC 5280), and strictly: a malformed certificate has no names.
"""

import functools
import re
import ssl

_BOOLEAN, _INTEGER, _OCTETS, _OID, _SEQUENCE = 0x01, 0x02, 0x04, 0x06, 0x30
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_AFTER_THE_KEY = {0x81, 0x82, _EXTENSIONS}
_DNS, _URI = 0x82, 0x86
_VERSION_3 = b"\x02\x01\x02"
_SUBJECT_ALTERNATIVE_NAMES = b"\x55\x1d\x11"

_PLAIN = re.compile(rb"[!-~]+")


@functools.lru_cache(maxsize=256)
def names_of(certificate: bytes) -> frozenset[str]:
    """Return the URIs and DNS names in the subject alternative names of a certificate (RFC 5280, 4.2.1.6).

    Names that are not printable ASCII without spaces are ignored, and so are DNS names that look like URIs, and the
    common name (RFC 9525, 6.3). Results are cached, because a client presents the same certificate with every call.

    Args:
        certificate: One certificate, PEM.
    """
    try:
        names = _alternative_names(ssl.PEM_cert_to_DER_cert(certificate.decode("ascii")))
    except ValueError:
        return frozenset()
    return frozenset(
        name.decode("ascii")
        for kind, name in names
        if (kind == _URI and b"://" in name) or (kind == _DNS and b"://" not in name)
        if _PLAIN.fullmatch(name)
    )


def _alternative_names(der: bytes) -> list[tuple[int, bytes]]:
    """Return the tag and the content of each name. Raises ValueError."""
    [(_, signed)] = _elements(der, _SEQUENCE)
    [(_, content), _algorithm, _signature] = _elements(signed)
    fields = _elements(content)
    tags = [tag for tag, _ in fields]
    # Version, serial number, algorithm, issuer, validity, subject and key, then the optional fields in this order.
    if tags[:7] != [_VERSION, _INTEGER, *[_SEQUENCE] * 5] or tags[7:] != sorted(_AFTER_THE_KEY & {*tags[7:]}):
        raise ValueError("not a certificate")
    if fields[0][1] != _VERSION_3:
        raise ValueError("a certificate of a version without extensions")
    [wrapped] = [content for tag, content in fields if tag == _EXTENSIONS]
    [(_, extensions)] = _elements(wrapped, _SEQUENCE)
    found = [_extension(each) for _, each in _elements(extensions, _SEQUENCE)]
    [value] = [value for oid, value in found if oid == _SUBJECT_ALTERNATIVE_NAMES]
    [(_, names)] = _elements(value, _SEQUENCE)
    return _elements(names)


def _extension(der: bytes) -> tuple[bytes, bytes]:
    """Return the object id and the value of an extension. The flag `critical` between them is ignored."""
    fields = _elements(der)
    if [tag for tag, _ in fields] not in ([_OID, _OCTETS], [_OID, _BOOLEAN, _OCTETS]):
        raise ValueError("not an extension")
    return fields[0][1], fields[-1][1]


def _elements(der: bytes, expected: int | None = None) -> list[tuple[int, bytes]]:
    """Return the tag and the content of each element, in order. Raises ValueError.

    Args:
        der: The elements, without any other bytes.
        expected: The required tag of each element.
    """
    found = []
    at = 0
    while at < len(der):
        tag, length, at = der[at], int.from_bytes(der[at + 1 : at + 2]), at + 2
        if length >= 0x80:  # long form: the length of the length; DER forbids a form that is longer than needed
            size = length - 0x80
            length, at = int.from_bytes(der[at : at + size]), at + size
            if length < 0x80 or length.bit_length() <= 8 * (size - 1):
                raise ValueError("the length is not DER")
        if tag & 0x1F == 0x1F or at + length > len(der) or (expected is not None and tag != expected):
            raise ValueError("unexpected element")
        found.append((tag, der[at : at + length]))
        at += length
    return found

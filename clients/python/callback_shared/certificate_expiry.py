"""When a certificate in PEM files expires, without a library that reads certificates.

OpenSSL reads the files: it does a handshake with itself, in memory, and returns the certificate that it received,
exactly as a peer would get it.
"""

import contextlib
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from os import PathLike
from typing import Any

_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, unnamed in `ssl`. The times are for the callers of this module to judge."""


class EncryptedKeyError(Exception):
    """A key needs a passphrase."""


def expiry_of(
    cert_file: str | PathLike[str], key_file: str | PathLike[str], *, with_chain: bool = True
) -> datetime | None:
    """Return when a certificate expires, or the first of its chain. None: neither servers nor clients can use it.

    Args:
        cert_file: The certificate, followed by the intermediate certificates, PEM.
        key_file: Its key, PEM.
        with_chain: Whether the intermediate ones count. Peers accept a chain with an expired one that they do not need.
    """
    for of_server in (True, False):
        with contextlib.suppress(ssl.SSLError):
            shown, chain = handshake(cert_file, key_file, of_server=of_server)
            return min(map(end_of, (shown, *chain) if with_chain else (shown,)))
    return None


def end_of(certificate: Mapping[str, Any]) -> datetime:
    """Return when a certificate of `handshake` expires."""
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def handshake(
    cert_file: str | PathLike[str], key_file: str | PathLike[str], *, of_server: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Do a handshake with a peer that trusts only this certificate.

    Args:
        cert_file: The certificate, followed by the intermediate certificates, PEM.
        key_file: Its key, PEM.
        of_server: Whether it is a server's certificate; otherwise it is a client's.

    Returns:
        The certificate, and the authorities' certificates in its file, in the form of `ssl.SSLSocket.getpeercert`.

    Raises:
        ssl.SSLError: The certificate cannot be read or used, or does not match the key.
        EncryptedKeyError: The key needs a passphrase.
    """

    def refuse_passphrase() -> str:
        raise EncryptedKeyError

    def context(protocol: int, *, verifies: bool) -> ssl.SSLContext:
        made = ssl.SSLContext(protocol)
        made.check_hostname = False
        made.load_cert_chain(cert_file, key_file, refuse_passphrase)
        made.load_verify_locations(cert_file)
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
        made.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
        return made

    client = context(ssl.PROTOCOL_TLS_CLIENT, verifies=of_server)
    server = context(ssl.PROTOCOL_TLS_SERVER, verifies=not of_server)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    unfinished: list[Callable[[], None]] = [side.do_handshake for side in sides]
    while unfinished:
        for shake in list(unfinished):
            try:
                shake()
                unfinished.remove(shake)
            except ssl.SSLWantReadError:
                pass
    judge, judging = (sides[0], client) if of_server else (sides[1], server)
    return judge.getpeercert() or {}, judging.get_ca_certs()

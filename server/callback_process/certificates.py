"""Checks of TLS files before the first connection.

OpenSSL reads the files (`callback_shared.certificate_expiry`). So the check sees a certificate exactly as a peer would,
and this module parses none. `cryptography` reads certificates too, but judges them by the rules of the web: it refuses
each one without an authority key identifier, for example.
"""

import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from prometheus_client import Gauge

from callback_process.findings import Finding, check_readable, check_secret_file
from callback_process.logs import get_logger
from callback_process.settings import TlsSettings
from callback_shared.certificate_expiry import EncryptedKeyError, end_of, expiry_of, handshake

log = get_logger()

EXPIRES_SOON: Final = timedelta(days=30)
"""A certificate that expires within this time causes a warning."""

_EXPIRES: Final = Gauge(
    "callback_certificate_expires_time_seconds",
    "When a certificate in use expires, or the first of its chain, in seconds since 1970, by the setting of its file",
    ["file"],
)


def show_expiry(files: Mapping[str, Path | None]) -> None:
    """Set the metric of the expiry of usable TLS files, and log a certificate that has expired.

    The files are the authorities, the certificate and its key, in this order.

    Of authorities it is the last one that expires: an old one can stay in the file beside its successor. A certificate
    that `check_certificate` refuses has no expiry.
    """
    (ca_setting, ca_file), (cert_setting, cert_file), (_, key_file) = files.items()
    if ca_file is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(ca_file)
        if authorities := context.get_ca_certs():
            _EXPIRES.labels(ca_setting).set(max(map(end_of, authorities)).timestamp())
    if cert_file is not None and key_file is not None:
        end = expiry_of(cert_file, key_file)
        if end is not None:
            _EXPIRES.labels(cert_setting).set(end.timestamp())
            if end <= datetime.now(UTC):
                log.error("certificate_expired", setting=cert_setting, file=str(cert_file), expired=f"{end:%Y-%m-%d}")


def check_tls(check: str, tls: TlsSettings, now: datetime) -> Iterator[Finding]:
    """Check the TLS files of a client connection."""
    if tls.ca_file is not None:
        yield check_authorities(f"{check}.ca_file", tls.ca_file, now)
    if tls.cert_file is not None and tls.key_file is not None:
        yield check_secret_file(f"{check}.key_file", tls.key_file)
        yield check_certificate(f"{check}.cert_file", tls.cert_file, tls.key_file, now, of_server=False)


def check_certificate(check: str, cert_file: Path, key_file: Path, now: datetime, *, of_server: bool) -> Finding:
    """Check a certificate and its key.

    Args:
        check: Name of the finding.
        cert_file: The certificate, followed by the intermediate certificates, PEM.
        key_file: Its key, PEM.
        now: The current time.
        of_server: Whether it is a server's certificate; otherwise it is a client's.
    """
    for file in (cert_file, key_file):
        if not_readable := check_readable(check, file):
            return not_readable
    try:
        shown, chain = handshake(cert_file, key_file, of_server=of_server)
    except EncryptedKeyError:
        return Finding.problem(check, f"{key_file} is encrypted", "use a key without a passphrase")
    except ssl.SSLCertVerificationError as error:
        return Finding.problem(check, f"{cert_file}: {error.verify_message}", "have it issued again")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return Finding.problem(
                check, f"{key_file} is not the key of {cert_file}", "use a certificate and a key that belong together"
            )
        seen = f"{cert_file} and {key_file} are not a certificate and a key ({error.reason or 'unknown format'})"
        return Finding.problem(check, seen, "use PEM files")
    names = [name for kind, name in shown.get("subjectAltName", ()) if kind in ("DNS", "URI", "IP Address")]
    if of_server and not names:
        seen = f"{cert_file} names no host (subjectAltName), so clients do not accept it"
        return Finding.problem(check, seen, "have it issued with host names")
    if not names:
        seen = f"{cert_file} has no URI and no DNS name, so it identifies no principal"
        return Finding.warning(check, seen, "have it issued with a name")
    return _check_validity(check, f"{cert_file} of {', '.join(names)}", [shown, *chain], now)


def check_authorities(check: str, ca_file: Path, now: datetime) -> Finding:
    """Check a file of certificate authorities."""
    if not_readable := check_readable(check, ca_file):
        return not_readable
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError as error:
        seen = f"{ca_file} has no certificates ({error.reason or 'unknown format'})"
        return Finding.problem(check, seen, "use the authorities' certificates in PEM")
    authorities = context.get_ca_certs()
    if not authorities:
        return Finding.problem(
            check,
            f"{ca_file} has no certificate of an authority",
            "use the certificate of the authority that issued it",
        )
    return _check_validity(check, f"{ca_file}", authorities, now)


def _check_validity(check: str, what: str, certificates: list[dict[str, Any]], now: datetime) -> Finding:
    """Check the validity period of a chain: one expired certificate makes the whole chain unusable."""
    begin = max(_time(each["notBefore"]) for each in certificates)
    end = min(map(end_of, certificates))
    if end <= now:
        return Finding.problem(check, f"{what} expired on {end:%Y-%m-%d}", "renew it")
    if begin > now:
        return Finding.problem(
            check, f"{what} is not valid before {begin:%Y-%m-%d %H:%M} UTC", "wait, or correct this machine's clock"
        )
    if end - now < EXPIRES_SOON:
        return Finding.warning(check, f"{what} expires on {end:%Y-%m-%d}", "renew it")
    return Finding.ok(check, f"{what}, valid until {end:%Y-%m-%d}")


def _time(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)

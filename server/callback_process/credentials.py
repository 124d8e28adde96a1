"""Credentials from files that are reloaded when they change: tokens and TLS files.

1. At startup an unusable file is an error. Its text names the file and the reason.
2. Later an unusable file changes nothing: the last valid content stays in effect, and each problem is reported once.
   That the process has no file descriptor left to open it is no problem of the file, and not reported.
3. OpenSSL checks TLS files. gRPC accepts any content, and then refuses every connection without an error message. The
   client has a check of its own (`callback.connection`): it depends on no package of the server, and this package on
   none that uses gRPC. Both ask `callback_shared.certificate_expiry` when a certificate expires.
"""

import errno
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Generic, TypeVar

from prometheus_client import Counter

from callback_process.certificates import show_expiry
from callback_process.logs import get_logger
from callback_process.settings import TlsSettings

T = TypeVar("T")

NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
"""The errors of a process, or a system, that has no file descriptor left."""

Files = Mapping[str, Path | None]
"""Files by the settings that name them; None if a setting names no file."""
Contents = Mapping[str, bytes | None]
"""Contents of the files, by setting."""
OnReload = Callable[[str | None], None]
"""Callback for logs and metrics: receives a problem, or None after a successful reload."""

log = get_logger()


def reload_logger(failed: Counter, read: str, not_read: str, **facts: str) -> OnReload:
    """Return a callback that logs these events, with some facts, and counts each problem."""

    def report(problem: str | None) -> None:
        if problem is None:
            log.info(read, **facts)
        else:
            failed.inc()
            log.error(not_read, **facts, problem=problem)

    return report


class CredentialsError(Exception):
    """A file cannot be used. The text names the file and the reason, and contains nothing of its content."""


class NoDescriptorError(CredentialsError):
    """A file cannot be opened now, because the process or the system has no file descriptor left."""


def opening_error(text: str, error: OSError) -> CredentialsError:
    """Return the error for a file that cannot be opened; `text` names it."""
    kind = NoDescriptorError if error.errno in NO_DESCRIPTOR else CredentialsError
    return kind(f"{text}: {error.strerror}")


class FileReloader(Generic[T]):
    """A value made from files, reloaded when the files change.

    Args:
        files: Paths of the files.
        make: Makes the value from the contents; raises CredentialsError.
        on_reload: Receives each problem with new contents, once while it stays the same, and None after new contents
            took effect.

    Raises:
        CredentialsError: A file cannot be read or used.
    """

    def __init__(self, files: Files, make: Callable[[Contents], T], on_reload: OnReload) -> None:
        self._files = files
        self._make = make
        self._on_reload = on_reload
        self._problem = ""
        self._contents, self.value = self._made(_read(files))
        """The last valid value."""

    def reload(self) -> bool:
        """Read the files again, and return whether the value changed. Call it on one thread at a time."""
        try:
            contents, value = _read(self._files), self.value
            if contents != self._contents:
                contents, value = self._made(contents)
        except NoDescriptorError:
            return False
        except CredentialsError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._on_reload(self._problem)
            return False
        self._problem = ""
        if contents == self._contents:
            return False
        self._contents, self.value = contents, value
        self._on_reload(None)
        return True

    def _made(self, contents: Contents) -> tuple[Contents, T]:
        """Return the value made from contents that the files have before and after it: OpenSSL reads them itself."""
        while True:
            value = self._make(contents)
            again = _read(self._files)
            if again == contents:
                return contents, value
            contents = again


def tls_reloader(
    files: Files, make: Callable[[bytes | None, bytes | None, bytes | None], T], on_reload: OnReload
) -> FileReloader[T]:
    """Return a reloader of PEM files for TLS.

    Args:
        files: The trusted certificate authorities, the own certificate and its key, in this order.
        make: Receives the contents in gRPC's order: authorities, key, certificate.
        on_reload: See `FileReloader`.

    Raises:
        CredentialsError: A file cannot be read or contains nothing usable, or the key has a passphrase or belongs to
            another certificate.
    """

    def checked(contents: Contents) -> T:
        _check(*files.items())
        show_expiry(files)
        authorities, certificate, key = contents.values()
        return make(authorities, key, certificate)

    return FileReloader(files, checked, on_reload)


def tls_files(name: str, tls: TlsSettings) -> Files:
    """Return the files of a client's TLS settings, for `tls_reloader`.

    Args:
        name: The setting, such as `server_tls`.
        tls: Its value.
    """
    return {f"{name}.ca_file": tls.ca_file, f"{name}.cert_file": tls.cert_file, f"{name}.key_file": tls.key_file}


def _read(files: Files) -> Contents:
    contents = {}
    for setting, file in files.items():
        try:
            contents[setting] = None if file is None else file.read_bytes()
        except OSError as error:
            raise opening_error(f"{setting} {file}", error) from None
    return contents


def _check(
    authorities: tuple[str, Path | None], certificate: tuple[str, Path | None], key: tuple[str, Path | None]
) -> None:
    (ca_setting, ca_file), (cert_setting, cert_file), (key_setting, key_file) = authorities, certificate, key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # either side works: no connection is made
    what = f"{ca_setting} {ca_file}"
    try:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
        what = f"{cert_setting} {cert_file} with {key_setting} {key_file}"
        if cert_file is not None:
            context.load_cert_chain(
                cert_file, key_file, password=""
            )  # an empty password, or OpenSSL prompts on the terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CredentialsError(f"{what}: the key does not belong to the certificate") from None
        reason = f" ({error.reason})" if error.reason else ""
        raise CredentialsError(f"{what}: no usable PEM content{reason}") from None
    except OSError as error:
        raise opening_error(what, error) from None

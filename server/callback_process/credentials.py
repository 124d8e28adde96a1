"""Credentials in files that are read again: a token, or what TLS needs.

1. What can not be used is refused at the start. The error's text says which file, and why.
2. Later it changes nothing: what was taken over last still holds, and each problem is told once.
3. TLS files are judged by OpenSSL. gRPC takes anything, and then refuses every connection without a word.
"""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from callback_process.settings import TlsSettings

T = TypeVar("T")

Files = Mapping[str, Path | None]
"""Files by the settings that name them; None where a setting names none."""
Contents = Mapping[str, bytes | None]
"""What is in them."""
Tell = Callable[[str | None], None]
"""For logs and figures: takes a problem, or None when there was none."""


class CredentialsError(Exception):
    """A file can not be used. The text says which and why, has nothing of what is in it, and can be shown to people."""


class FileReloader(Generic[T]):
    """What files say, and whether they say something else by now.

    Args:
        files: where they are.
        make: makes of their contents what they stand for; raises CredentialsError.
        tell: told of each problem with new contents, once for as long as it stays the same; and None when new ones were
            taken over.

    Raises:
        CredentialsError: a file can not be read, or not be used.
    """

    def __init__(self, files: Files, make: Callable[[Contents], T], tell: Tell) -> None:
        self._files = files
        self._make = make
        self._tell = tell
        self._problem = ""
        self._contents = _read(files)
        self.value = make(self._contents)
        """As it was taken over last."""

    def reload(self) -> bool:
        """Read again, and return whether there is another value. Not on several threads at the same time."""
        try:
            contents = _read(self._files)
            value = self.value if contents == self._contents else self._make(contents)
        except CredentialsError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._tell(self._problem)
            return False
        self._problem = ""
        if contents == self._contents:
            return False
        self._contents, self.value = contents, value
        self._tell(None)
        return True


def tls_reloader(
    files: Files, make: Callable[[bytes | None, bytes | None, bytes | None], T], tell: Tell
) -> FileReloader[T]:
    """Follow PEM files of TLS that are fit to be used.

    Args:
        files: the certificate authorities to trust, our certificate and its key, in this order.
        make: is given, in gRPC's order, the contents of authorities, key and certificate.
        tell: see `FileReloader`.

    Raises:
        CredentialsError: a file can not be read or has nothing to use in it, the key has a passphrase, or is that of
            another certificate.
    """

    def checked(contents: Contents) -> T:
        while True:
            _check(*files.items())
            again = _read(files)
            if again == contents:
                authorities, certificate, key = contents.values()
                return make(authorities, key, certificate)
            contents = again  # OpenSSL may have seen either

    return FileReloader(files, checked, tell)


def tls_files(name: str, tls: TlsSettings) -> Files:
    """Return the files that settings of TLS to somebody name, for `tls_reloader`.

    Args:
        name: the setting, such as `server_tls`.
        tls: its value.
    """
    return {f"{name}.ca_file": tls.ca_file, f"{name}.cert_file": tls.cert_file, f"{name}.key_file": tls.key_file}


def _read(files: Files) -> Contents:
    contents = {}
    for setting, file in files.items():
        try:
            contents[setting] = None if file is None else file.read_bytes()
        except OSError as error:
            raise CredentialsError(f"{setting} {file}: {error.strerror}") from None
    return contents


def _check(
    authorities: tuple[str, Path | None], certificate: tuple[str, Path | None], key: tuple[str, Path | None]
) -> None:
    (ca_setting, ca_file), (cert_setting, cert_file), (key_setting, key_file) = authorities, certificate, key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # of either side: nobody connects
    what = f"{ca_setting} {ca_file}"
    try:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
        what = f"{cert_setting} {cert_file} with {key_setting} {key_file}"
        if cert_file is not None:
            context.load_cert_chain(cert_file, key_file, password="")  # or it asks the terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CredentialsError(f"{what}: the key is not that of the certificate") from None
        reason = f" ({error.reason})" if error.reason else ""
        raise CredentialsError(f"{what}: there is nothing in PEM form that can be used{reason}") from None
    except OSError as error:
        raise CredentialsError(f"{what}: {error.strerror}") from None

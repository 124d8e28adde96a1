"""Files with a keyring."""

import base64
import hashlib


def key_of(name):
    """Return the key of a keyring with this id: the same in each test."""
    return hashlib.sha256(name.encode()).digest()


def write_keyring(path, *names):
    """Write a keyring with these keys, of which the first is current, and return its path."""
    lines = [f'current = "{names[0]}"', "[keys]"]
    lines += [f'{name} = "{base64.b64encode(key_of(name)).decode()}"' for name in names]
    new = path.with_suffix(".new")
    new.write_text("\n".join(lines))
    new.chmod(0o600)
    return new.replace(path)

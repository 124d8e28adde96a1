"""Looks for a state wherever it must not be, in any spelling that would give it away."""

import base64
import uuid
from pathlib import Path
from urllib.parse import quote

import redis


def spellings(state):
    """Every way to write a state that is looked for: as it is, and what a library or a log may make of it."""
    plain, raw = state.encode(), uuid.UUID(state).bytes
    found = {plain, plain.upper(), plain.replace(b"-", b""), plain.replace(b"-", b"").upper(), raw}
    found |= {plain.replace(b"-", b"%2D"), plain.replace(b"-", b"%2d")}
    found |= {plain.hex().encode(), plain.hex().upper().encode()}
    found.add("".join(f"%{byte:02X}" for byte in plain).encode())
    found.add(quote(raw).encode())
    for secret in (plain, raw):
        for shift in range(3):  # base64 looks different at each of three places; its ends depend on what is around
            text = base64.b64encode(bytes(shift) + secret + bytes(2))
            inner = text[(shift * 4 + 2) // 3 : ((shift + len(secret)) * 8) // 6]
            found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def text_spellings(secret):
    """Every way to write a token or password that is looked for."""
    plain = secret.encode()
    found = {plain, plain.hex().encode(), plain.hex().upper().encode(), quote(secret).encode()}
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + plain + bytes(2))
        inner = text[(shift * 4 + 2) // 3 : ((shift + len(plain)) * 8) // 6]
        found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


class Haystack:
    """Named pieces of bytes, to be searched."""

    def __init__(self, pieces=()):
        self.pieces = dict(pieces)

    def add(self, name, content):
        """Adds a piece: bytes or text."""
        self.pieces[name] = content.encode() if isinstance(content, str) else content

    def add_files(self, directory: Path, pattern):
        """Adds files by what they hold, and by their names."""
        for file in directory.rglob(pattern):
            if file.is_file():
                self.add(str(file), str(file).encode() + file.read_bytes())

    def add_store(self, store, *, but=lambda key, field: False):
        """Adds every key and value of a store, without the fields of hashes that `but` says."""
        with redis.Redis(port=store.port) as client:
            for key in client.scan_iter():
                kind = client.type(key)
                values = {
                    b"string": lambda key: [client.get(key)],
                    b"hash": lambda key: [
                        part
                        for field, value in client.hgetall(key).items()
                        if not but(key, field)
                        for part in (field, value)
                    ],
                    b"zset": lambda key: client.zrange(key, 0, -1),
                    b"set": client.smembers,
                    b"list": lambda key: client.lrange(key, 0, -1),
                    b"stream": lambda key: [
                        part for _, fields in client.xrange(key) for pair in fields.items() for part in pair
                    ],
                }[kind](key)
                self.add(f"key {key.decode(errors='replace')}", b"\n".join([key, *values]))

    def names_with(self, states):
        """Where any of these states is, in any spelling."""
        return self._names_with([spelling for state in states for spelling in spellings(state)])

    def names_with_texts(self, secrets):
        """Where any of these tokens or passwords is, in any spelling."""
        return self._names_with([spelling for secret in secrets for spelling in text_spellings(secret)])

    def _names_with(self, wanted):
        return {name for name, content in self.pieces.items() if any(spelling in content for spelling in wanted)}

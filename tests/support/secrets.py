"""Searches for a state in any spelling, in places that must not have it."""

import base64
import uuid
from pathlib import Path
from urllib.parse import quote

import redis


def _inner_base64(secret):
    """Yield the base64 of a secret inside a text: it differs at three offsets, and its ends depend on the text."""
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + secret + bytes(2))
        inner = text[(shift * 4 + 2) // 3 : ((shift + len(secret)) * 8) // 6]
        yield from (inner, inner.translate(bytes.maketrans(b"+/", b"-_")))


def spellings(state):
    """Return every spelling of a state: as it is, and as a library or a log may write it."""
    plain, raw = state.encode(), uuid.UUID(state).bytes
    found = {plain, plain.upper(), plain.replace(b"-", b""), plain.replace(b"-", b"").upper(), raw}
    found |= {plain.replace(b"-", b"%2D"), plain.replace(b"-", b"%2d")}
    found |= {plain.hex().encode(), plain.hex().upper().encode()}
    found |= {"".join(f"%{byte:02X}" for byte in plain).encode(), quote(raw).encode()}
    return found.union(_inner_base64(plain), _inner_base64(raw))


def text_spellings(secret):
    """Return every spelling of a token or password."""
    plain = secret.encode()
    found = {plain, plain.hex().encode(), plain.hex().upper().encode(), quote(secret).encode()}
    return found.union(_inner_base64(plain))


class Haystack:
    """Named pieces of bytes to search."""

    def __init__(self, pieces=()):
        self.pieces = dict(pieces)

    def add(self, name, content):
        """Add a piece: bytes or text."""
        self.pieces[name] = content.encode() if isinstance(content, str) else content

    def add_files(self, directory: Path, pattern):
        """Add files: their content and their names."""
        for file in directory.rglob(pattern):
            if file.is_file():
                self.add(str(file), str(file).encode() + file.read_bytes())

    def add_store(self, store, *, but=lambda key, field: False):
        """Add every key and value of a store, except the fields of hashes that `but` selects."""
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
        """Return the names of the pieces with any of these states."""
        return self._names_with([spelling for state in states for spelling in spellings(state)])

    def names_with_texts(self, secrets):
        """Return the names of the pieces with any of these tokens or passwords."""
        return self._names_with([spelling for secret in secrets for spelling in text_spellings(secret)])

    def _names_with(self, wanted):
        return {name for name, content in self.pieces.items() if any(spelling in content for spelling in wanted)}

"""Garbage in reference cycles: what lives on until the garbage collector runs, and holds a body."""

import contextlib
import gc
import os
import weakref

from google.protobuf.message import Message
from werkzeug.local import LocalProxy

BODY = os.urandom(1024) * 1024
"""A body that no other test sends: garbage of theirs is not counted."""
_LARGE_BYTES = 32 * 1024
"""Less than a process takes from a socket at once."""


class Garbage:
    """Objects in reference cycles that held a large part of `BODY`. `holders` has a description of each."""

    def __init__(self):
        self.holders = []


@contextlib.contextmanager
def large_garbage():
    """Run the block without the garbage collector.

    Yield `Garbage`. At the end of the block it has each object in a reference cycle that holds a large part of `BODY`.
    """
    gc.collect()
    gc.disable()
    found = Garbage()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.holders = [
            f"{type(each).__name__} {each!r:.200}"
            for each in gc.garbage
            if any(_has_body(held) for held in gc.get_referents(each))
        ]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _has_body(held):
    """Return whether these bytes, or this object with bytes, have a large part of `BODY`."""
    if type(held) in (*weakref.ProxyTypes, LocalProxy):  # it may lead to nothing
        return False
    if isinstance(held, Message):
        held = held.SerializePartialToString()
    elif not isinstance(held, bytes | bytearray):
        held = getattr(held, "body", None)
    return isinstance(held, bytes | bytearray) and len(held) >= _LARGE_BYTES and BODY[:1024] in held

"""Garbage in reference cycles: what lives on until the garbage collector runs, and how large it is."""

import contextlib
import gc

from google.protobuf.message import Message


class Garbage:
    """Objects in reference cycles that held large data. `holders` has a description of each."""

    def __init__(self):
        self.holders = []


@contextlib.contextmanager
def large_garbage(size):
    """Run the block without the garbage collector.

    Yield `Garbage`. At the end of the block it has each object in a reference cycle that holds `size` bytes or more.
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
            if any(_size(held) >= size for held in gc.get_referents(each))
        ]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _size(held):
    """Return the number of bytes of a body, or of an object with a body."""
    if isinstance(held, bytes | bytearray):
        return len(held)
    if isinstance(held, Message):
        return held.ByteSize()
    body = getattr(held, "body", None)
    return len(body) if isinstance(body, bytes) else 0

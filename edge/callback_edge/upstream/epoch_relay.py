"""Passes on what servers know of their store: the last message of any server goes to all the others, unread."""

from collections.abc import Callable


class EpochRelay:
    """The last message, and the streams that it goes to."""

    def __init__(self) -> None:
        self.message = b""
        self._streams: set[Callable[[], None]] = set()

    def add(self, pass_on: Callable[[], None]) -> None:
        """Call `pass_on` when there is another message, except the one that its stream has received."""
        self._streams.add(pass_on)

    def discard(self, pass_on: Callable[[], None]) -> None:
        """Do not call `pass_on` any more."""
        self._streams.discard(pass_on)

    def receive(self, message: bytes, receiver: Callable[[], None]) -> None:
        """Keep a message that a stream has received, and pass it on to the others."""
        if message == self.message:
            return
        self.message = message
        for pass_on in [*self._streams]:
            if pass_on != receiver:
                pass_on()

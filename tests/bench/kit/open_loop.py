"""Open-loop load generator: it calls at random moments at a given average rate, as independent callers do.

No answer delays a later request. Latency is counted from the moment at which a request was due, so it includes a wait
for the load generator or for a free connection. It prints its results as JSON.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import random
import selectors
import time
from pathlib import Path

from bench.kit.connection import Connection, get

WARM_UP_S = 3
"""Duration of the warm-up at the same rate, in seconds: until queues have reached their stable length."""
PATIENCE_S = 10
"""Maximum wait for the last answers, in seconds."""
SOURCES = 10
"""Number of loopback addresses of the callers, so that limits of one caller do not affect the results."""


class OpenLoop:
    """The requests of a run, on connections that are open before it begins and are reopened when they end.

    Args:
        port: Port to call.
        paths: Paths to request, one after another.
    """

    def __init__(self, port, paths):
        self._port = port
        self._requests = [get(path) for path in paths]
        self._idle = collections.deque()
        self._opening = set()
        self._due = collections.deque()
        self._sent = 0
        self._on_their_way = 0
        self._all_answered = asyncio.Event()
        self._answers = []

    async def open(self, count):
        """Open this many connections. Their number limits the concurrent requests; a further request waits."""
        for number in range(count):
            await self._open(f"127.0.0.{2 + number % SOURCES}")

    async def run(self, per_second, seconds):
        """Send requests for this time after the warm-up, wait for the last answers, and return the results."""
        loop = asyncio.get_running_loop()
        chance = random.Random(per_second)
        due = loop.time()
        began = due + WARM_UP_S
        ended = began + seconds
        used = time.process_time()
        while due < ended:
            await asyncio.sleep(due - loop.time())  # let answers be processed even when the loop is late
            while due <= loop.time():
                self._due.append(due)
                due += chance.expovariate(per_second)
            self._send()
        used = time.process_time() - used
        never_sent = len(self._due)
        self._due.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._all_answered.wait()
        answered = collections.Counter(status for _, at, status in self._answers if began <= at <= ended)
        took = sorted(at - due for due, at, status in self._answers if due >= began and status == 200) or [0]
        return {
            "per_second": answered[200] / seconds,
            "requests": sum(status == 200 for *_, status in self._answers),
            "sent_per_second": self._sent / (seconds + WARM_UP_S),
            "answered": answered,
            "never_sent": never_sent,
            "never_answered": self._on_their_way,
            **{f"p{part}_us": round(took[int(len(took) * part / 100)] * 1e6) for part in (50, 90, 99)},
            "max_us": round(took[-1] * 1e6),
            "driver_share": round(used / (seconds + WARM_UP_S), 2),
        }

    def _send(self):
        while self._due and self._idle:
            address, connection = self._idle.popleft()
            if connection.is_open:
                self._ask(address, connection)
            else:
                opening = asyncio.ensure_future(self._open(address))
                self._opening.add(opening)
                opening.add_done_callback(self._opening.discard)

    async def _open(self, address):
        self._idle.append((address, await Connection.to(self._port, address)))
        self._send()

    def _ask(self, address, connection):
        due = self._due.popleft()

        def answered():
            self._answers.append((due, asyncio.get_running_loop().time(), connection.status))
            self._on_their_way -= 1
            if not self._on_their_way:
                self._all_answered.set()
            self._idle.append((address, connection))
            self._send()

        self._sent += 1
        self._on_their_way += 1
        self._all_answered.clear()
        connection.send(self._requests[self._sent % len(self._requests)], answered)


async def main(options):
    """Send the requests, and return the results."""
    calls = OpenLoop(options.port, options.paths.read_text().split())
    await calls.open(options.connections)
    return await calls.run(options.per_second, options.seconds)


def arguments():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("paths", type=Path)
    parser.add_argument("--per-second", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    return parser.parse_args()


def new_loop():
    """Return an event loop with microsecond timers: the one for over a thousand connections has millisecond timers."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner:
        print(json.dumps(runner.run(main(arguments()))))

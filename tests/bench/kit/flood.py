"""Load generator of large bodies: it keeps a number of connections busy, and prints how often it got each answer.

Usage: `flood.py PORT REQUEST_FILES CONNECTIONS SECONDS`. Each file has the bytes of one request; commas separate them.
A connection sends one of them again and again, and each file has as many connections. A connection that is closed, or
reset before its answer, is opened again.
"""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

import uvloop
from bench.kit.connection import Connection

answers = Counter()


async def keep_sending(port, request):
    """Send a request again and again until cancelled."""
    connection = None
    try:
        while True:
            if connection is None or not connection.is_open:
                connection = await Connection.to(port)
            answers[await connection.ask(request)] += 1
    finally:
        if connection:
            connection.close()


async def main(port, requests, connections, seconds):
    """Keep the connections busy for some seconds."""
    sending = [asyncio.create_task(keep_sending(port, requests[n % len(requests)])) for n in range(connections)]
    await asyncio.wait(sending, timeout=seconds)
    for each in sending:
        each.cancel()
    await asyncio.gather(*sending, return_exceptions=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        files = [Path(name).read_bytes() for name in sys.argv[2].split(",")]
        runner.run(main(int(sys.argv[1]), files, int(sys.argv[3]), float(sys.argv[4])))
    print(json.dumps({str(status): count for status, count in sorted(answers.items())}))

"""A worker with 200 slots, whose handler takes as many seconds as the body says: `slow.py SERVER TOKEN_FILE`."""

import asyncio
import sys

from callback import Handlers, Worker

handlers = Handlers()


@handlers.activity("slow")
async def accept(call):
    """Accept after the time in the body."""
    await asyncio.sleep(float(call.body))


if __name__ == "__main__":
    Worker(handlers, sys.argv[1], token_file=sys.argv[2], max_calls=200).run()

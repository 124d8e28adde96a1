"""A handler that accepts every call, as a push handler or a worker.

Usage: `accepting.py push PORT` listens for calls, `accepting.py pull SERVER TOKEN_FILE` pulls them.
"""

import sys

from callback import Handlers, Worker

handlers = Handlers()
how = sys.argv[1]


@handlers.activity(how)
async def accept(_call):
    """Accept with the response that was set for the case."""


if __name__ == "__main__":
    if how == "push":
        handlers.run(f"127.0.0.1:{sys.argv[2]}")
    else:
        Worker(handlers, sys.argv[2], token_file=sys.argv[3]).run()

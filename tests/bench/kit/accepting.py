"""A handler that accepts: `accepting.py push PORT` listens for calls, `accepting.py pull SERVER TOKEN_FILE` works."""

import sys

from callback import Handlers, Worker

handlers = Handlers()
how = sys.argv[1]


@handlers.activity(how)
async def accept(_call):
    """Gives the answer that was set."""


if __name__ == "__main__":
    if how == "push":
        handlers.run(f"127.0.0.1:{sys.argv[2]}")
    else:
        Worker(handlers, sys.argv[2], token_file=sys.argv[3]).run()

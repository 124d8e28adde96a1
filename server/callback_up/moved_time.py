"""The clock of a system for tests: a test moves it forward, and what is due by then happens at once.

A line `advance MILLISECONDS` on standard input moves it, and a line `advanced` on standard output says that what was
due has happened: leases have ended, cases have expired, and reminders are handed out. It cannot be moved back.

It is the time of the store alone, which every time of a case comes from, and a store whose clock has stepped back has
such a time as well (see `partition.lua`). Its keys expire by its real clock, as in such a store: the window of a repeat
is over although its key is still there, and an answer that is kept for a caller that waits stays. Times of the
processes are real ones as well: of signatures and tokens, and of calls that run.
"""

import contextlib
import signal
import time
from pathlib import Path
from typing import Final

from callback_launcher.child import Child
from callback_launcher.errors import LaunchError
from callback_up.data import DataDirectory

COMMAND: Final = "advance "
"""How a line that moves the clock begins."""
SWEEP_S: Final = 10.0
"""How long the server may take for what is due, in seconds."""
POLL_S: Final = 0.002
"""Interval in which that is looked for, in seconds."""

_ADVANCE: Final = """
local by_us, due = ARGV[1] * 1000, 0
local t = redis.call('TIME')
local clock = t[1] * 1000000 + t[2]
for _, partition in ipairs(KEYS) do
  local now, kept = clock, redis.call('GET', partition .. ':clock')
  if kept then now = math.max(now, string.sub(kept, 1, 16) + clock - string.sub(kept, 18)) end
  now = now + by_us
  if now >= 1e16 then return redis.error_reply('the time would be after the year 2286') end
  if by_us > 0 then redis.call('SET', partition .. ':clock', string.format('%.0f:%.0f', now, clock)) end
  for _, list in ipairs({':leases', ':expiries', ':reminders'}) do
    due = due + redis.call('ZCOUNT', partition .. list, '-inf', math.floor(now / 1000))
  end
end
return due
"""
# Takes partitions and milliseconds. Moves their time, and returns how many of their entries are due then.


def require_new(store: Path) -> None:
    """Refuse the directory of a store that has data, whose times would not fit any more.

    Raises:
        LaunchError: There are files.
    """
    if any(store.iterdir()):
        raise LaunchError(f"--test-clock is for tests, and needs a new data directory: {store} has data")


def obey(line: str, directory: DataDirectory, server: Child) -> str:
    """Move the clock as a line says, and wait until the server has done what is due.

    Returns:
        The line to print: `advanced`, or `not advanced: ` and the reason.
    """
    given = line.removeprefix(COMMAND).strip()
    if not line.startswith(COMMAND) or not given.isdecimal():
        return f"not advanced: the line is not `{COMMAND}MILLISECONDS`"
    try:
        return _advance(int(given), directory, server)
    except Exception as error:  # the test that waits for the line gets the reason
        return f"not advanced: {error}"


def _is_serving(server: Child) -> bool:
    with contextlib.suppress(OSError):  # it does not listen yet
        return server.is_running and server.is_healthy()
    return False


def _advance(by_ms: int, directory: DataDirectory, server: Child) -> str:
    # Imported here, because `callback up` needs neither for anything else.
    from redis import Redis

    from callback_server.store import keys

    if not _is_serving(server):  # one that starts would be ended by the signal
        return "not advanced: the server does not serve; try again once it does"
    with Redis(unix_socket_path=str(directory.store_socket)) as client:
        partitions = [keys.tag(each) for each in range(keys.PARTITIONS)]
        script = client.register_script(_ADVANCE)
        script(keys=partitions, args=[by_ms])
        server.signal(signal.SIGUSR1)
        until = time.monotonic() + SWEEP_S
        while script(keys=partitions, args=[0]):
            if time.monotonic() > until:
                return f"not advanced: the server has not done what is due in {SWEEP_S:.0f} s; see its log"
            time.sleep(POLL_S)
    return "advanced"

"""A worker program that keeps a diary: `diary_worker.py TARGET TOKEN_FILE`.

It writes a line to standard output when a call begins, and when it ends: done, failed, rejected or cancelled. The rest
of the module is for the test that starts the program, kills it again and again, and reads the diary.
"""

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from support.tree import ROOT

from callback import Handlers, Reject, Worker

SLOWEST_S = 0.3
_ENDS = {"done": 8, "failed": 1, "rejected": 1}


def main(target, token_file):
    """Work until the process is killed."""
    handlers = Handlers()

    def note(what, call):
        line = {"what": what, "at": time.time(), "case": call.case_id, "call": call.call_id, "attempt": call.attempt}
        print(json.dumps({**line, "deadline": call.deadline.timestamp()}), flush=True)

    @handlers.activity("work")
    async def work(call):
        note("begun", call)
        end = "cancelled"
        try:
            await asyncio.sleep(random.uniform(0, SLOWEST_S))
            (end,) = random.choices([*_ENDS], [*_ENDS.values()])
        finally:
            note(end, call)
        if end == "failed":
            raise RuntimeError("broke")
        if end == "rejected":
            raise Reject

    Worker(handlers, target, token_file=token_file).run()


@dataclass
class Run:
    """One run of a handler for a call, from its start to its end."""

    call_id: str
    case_id: str
    attempt: int
    began: float
    ended: float
    """End of the run, at the latest the call's deadline: the server does not wait for a later result."""
    how: str = "killed"
    """Outcome: `killed`, or the word in the diary."""


@dataclass
class _Life:
    diary: Path
    killed: float = 0

    def runs(self):
        running, runs = {}, []
        for line in map(json.loads, self.diary.read_text().splitlines()):
            attempt = line["call"], line["attempt"]
            if line["what"] == "begun":
                run = Run(line["call"], line["case"], line["attempt"], line["at"], min(self.killed, line["deadline"]))
                running[attempt] = run
                runs.append(run)
            else:
                run = running.pop(attempt)
                run.ended, run.how = min(line["at"], line["deadline"]), line["what"]
        return runs


class DiaryWorker:
    """The program, and one diary for each of its starts."""

    def __init__(self, directory, name, *arguments):
        self._command = [sys.executable, "-m", "support.diary_worker", *arguments]
        self._directory, self._name = directory, name
        self._lives = []
        self._process = None

    def start(self):
        """Start the program. It finds its servers by itself."""
        life = _Life(self._directory / f"{self._name}-{len(self._lives)}.diary")
        self._lives.append(life)
        with life.diary.open("wb") as diary, (self._directory / f"{self._name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT / "tests", stdin=subprocess.DEVNULL, stdout=diary, stderr=log
            )

    def kill(self):
        """Kill the program as a crash does."""
        self._lives[-1].killed = time.time()
        self._process.kill()
        assert self._process.wait(60) == -signal.SIGKILL, f"{self._name} had ended by itself"

    def runs(self):
        """Return all runs that began in any of its starts. The last start must be over."""
        return [run for life in self._lives for run in life.runs()]


if __name__ == "__main__":
    main(*sys.argv[1:])

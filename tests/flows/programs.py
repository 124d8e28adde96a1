"""Programs of the pages, each in a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys

from support.wait import DEADLINE_S, wait_until


@contextlib.asynccontextmanager
async def running(directory, *command, says, program=sys.executable, **variables):
    """Run a program, Python unless another is named, in a directory until the end of the block.

    Yield it once its log says these words.
    """
    log = directory / "program.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *command], cwd=directory, stdout=output, stderr=output,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | variables,
        )  # fmt: skip
    process.log = log

    def is_up():
        assert process.poll() is None, log.read_text()
        return says in log.read_text()

    try:
        await wait_until(is_up, what=f"{says} in {log}")
        yield process
    finally:
        process.kill()
        process.wait(DEADLINE_S)


def stop(program):
    """Stop a program as a process manager does, and check that it ended in order."""
    program.send_signal(signal.SIGTERM)
    assert program.wait(DEADLINE_S) == 0, program.log.read_text()
    assert "Traceback" not in program.log.read_text()

"""Program that runs handlers and keeps a diary: `python -m callback_prove.worker HOW ADDRESS DIARY`.

HOW is `pull` (connect to the server at ADDRESS) or `push` (listen there). The program appends a line of JSON to the
file DIARY when a run begins and when it ends. `runs` reads the diaries back.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from callback import Handlers, IncomingCall, Reject, Response, Worker
from callback_prove.history import Ran

ACTIVITIES: Final = {"pull": "pulled", "push": "pushed"}
"""The activity that is served in each way."""
LONGEST_S: Final = 0.3
"""Longest time that a handler works, in seconds."""
_OUTCOMES: Final = {"done": 8, "failed": 1, "rejected": 1}
"""Outcomes of the handlers, with their weights."""


def main(how: str, address: str, diary: Path) -> None:
    """Run handlers until the process is stopped."""
    with diary.open("a", encoding="utf-8") as file:
        handlers = handlers_of(ACTIVITIES[how], file)
        if how == "pull":
            Worker(handlers, address).run()
        else:
            handlers.run(address)


def handlers_of(activity: str, diary: TextIO) -> Handlers:
    """Return the handlers of an activity, which keep a diary."""
    handlers = Handlers()

    def note(what: str, call: IncomingCall) -> None:
        line = {
            "what": what,
            "at": time.time(),
            "case_id": call.case_id,
            "call_id": call.call_id,
            "attempt": call.attempt,
            "deadline": call.deadline.timestamp(),
        }
        diary.write(json.dumps(line) + "\n")
        diary.flush()

    @handlers.activity(activity)
    async def work(call: IncomingCall) -> Response:
        note("begun", call)
        outcome = "cancelled"
        try:
            await asyncio.sleep(random.uniform(0, LONGEST_S))  # noqa: S311  # work of a random length
            (outcome,) = random.choices([*_OUTCOMES], [*_OUTCOMES.values()])  # noqa: S311  # as above
        finally:
            note(outcome, call)
        if outcome == "failed":
            raise RuntimeError("a failure that the proof asked for")
        if outcome == "rejected":
            raise Reject
        return Response(call.call_id, 200)

    return handlers


def runs(diary: Path, killed: float) -> Iterator[Ran]:
    """Yield the runs of a diary.

    Args:
        diary: The file.
        killed: When its process had ended, in seconds since 1970: the end of the runs that have no other one.
    """
    begun = dict[tuple[str, int], dict[str, object]]()
    for text in diary.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        attempt = line["call_id"], line["attempt"]
        if line["what"] == "begun":
            begun[attempt] = line
        else:
            yield _run(begun.pop(attempt), line["at"], line["what"])
    for line in begun.values():
        yield _run(line, killed, "killed")


def _run(line: dict[str, object], ended: float, outcome: str) -> Ran:
    return Ran(
        case_id=str(line["case_id"]),
        call_id=str(line["call_id"]),
        attempt=int(str(line["attempt"])),
        began=float(str(line["at"])),
        ended=min(ended, float(str(line["deadline"]))),
        outcome=outcome,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))

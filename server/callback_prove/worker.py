"""Program that runs handlers and keeps a diary: `python -m callback_prove.worker HOW ADDRESS [SECRET] DIARY`.

HOW is `pull` (connect to the server at ADDRESS), `push` (listen there), or `http` (listen there for requests that are
signed with the secret in the file SECRET). The program appends a line of JSON to the file DIARY when a run begins and
when it ends. `runs` reads the diaries back.
"""

import asyncio
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, TextIO

from callback import Handlers, IncomingCall, Reject, Response, UnverifiedRequestError, Worker, verify_handler_request
from callback_prove.history import Ran

ACTIVITIES: Final = {"pull": "pulled", "push": "pushed"}
"""The activity that is served in each way over gRPC."""
LONGEST_S: Final = 0.3
"""Longest time that a handler works, in seconds."""
_OUTCOMES: Final = {"done": 8, "failed": 1, "rejected": 1}
"""Outcomes of the handlers, with their weights."""
_STATUSES: Final = {"done": 200, "failed": 500, "rejected": 422}
"""What an HTTP handler answers, by the outcome."""


def main(how: str, address: str, *files: str) -> None:
    """Run handlers until the process is stopped."""
    *secret, diary = map(Path, files)
    with diary.open("a", encoding="utf-8") as file:
        if how == "http":
            _serve(address, secret[0].read_text(encoding="ascii"), file)
        elif how == "pull":
            Worker(handlers_of(ACTIVITIES[how], file), address).run()
        else:
            handlers_of(ACTIVITIES[how], file).run(address)


def handlers_of(activity: str, diary: TextIO) -> Handlers:
    """Return the handlers of an activity, which keep a diary."""
    handlers = Handlers()

    @handlers.activity(activity)
    async def work(call: IncomingCall) -> Response:
        _note(diary, "begun", call)
        outcome = "cancelled"
        try:
            await asyncio.sleep(_length_s())
            outcome = _outcome()
        finally:
            _note(diary, outcome, call)
        if outcome == "failed":
            raise RuntimeError("a failure that the proof asked for")
        if outcome == "rejected":
            raise Reject
        return Response(call.call_id, 200)

    return handlers


class _Server(ThreadingHTTPServer):
    """A server that ends its connections in order when it stops: each answer is then the last one of its connection."""

    daemon_threads = False
    request_queue_size = 128
    is_stopping = False

    def stop(self) -> None:
        self.is_stopping = True
        self.shutdown()


def _serve(address: str, secret: str, diary: TextIO) -> None:
    """Run an HTTP handler until SIGTERM."""
    lock = threading.Lock()

    def note(what: str, call: IncomingCall) -> None:
        with lock:
            _note(diary, what, call)

    class Work(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 3  # an idle connection is used again for 1 s; one that is silent for longer delays the end
        server: _Server

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                call = verify_handler_request(secret, self.headers.items(), body)
            except UnverifiedRequestError:
                return self._answer(401)
            if not isinstance(call, IncomingCall):  # no callback of a proof has notifications
                return self._answer(501)
            note("begun", call)
            time.sleep(_length_s())
            outcome = _outcome()
            note(outcome, call)
            return self._answer(_STATUSES[outcome], call.call_id)

        def _answer(self, status: int, text: str = "") -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            if self.server.is_stopping:
                self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_arguments: object) -> None:
            pass

    host, _, port = address.rpartition(":")
    with _Server((host, int(port)), Work) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.stop).start())
        print(f"handlers_listening address={address}", flush=True)  # noqa: T201  # the log of this program
        server.serve_forever(poll_interval=0.1)


def _note(diary: TextIO, what: str, call: IncomingCall) -> None:
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


def _length_s() -> float:
    return random.uniform(0, LONGEST_S)  # noqa: S311  # work of a random length


def _outcome() -> str:
    (outcome,) = random.choices([*_OUTCOMES], [*_OUTCOMES.values()])  # noqa: S311  # as above
    return outcome


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
    main(*sys.argv[1:])

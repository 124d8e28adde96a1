"""The command `generate-many`: a URL for each line of a file of requests.

1. Each line of the input has a line of output, in the same order: the URL, or the error.
2. The output file is written from its start, over the lines of an earlier run: those that have a URL already stay as
   they are. A line that a killed run has overwritten in part counts as one without a URL.
3. A request that is sent again has the same request id, and gets the same URL. That is why each line needs one.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import click

from callback import CallbackClient, CallbackError, GeneratedCallback, NewCallback, UnavailableError
from callback.json_form import from_json, to_json
from callback.v1.callbacks_service_pb2 import GenerateCallbackUrlRequest
from callback_cli import errors, json_output, options
from callback_cli.connection import Connection, server_command, with_connection
from callback_shared.wire_fields import MAX_FIELDS, MAX_FIELDS_OF_LISTS

_MAX_BATCH: Final = 500
_MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
_MAX_BATCH_FIELDS: Final = MAX_FIELDS_OF_LISTS - _MAX_BATCH
"""The limits of GenerateCallbackUrls. Each request of a batch is a field, too."""
_FRAME_BYTES: Final = 6
"""What a request takes in a batch beside its content, in bytes."""
_RETRY_S: Final = 30.0
"""How long a batch is sent again while the server or its store is unreachable, in seconds."""
_PROGRESS_S: Final = 1.0
"""The time between two lines of progress, in seconds."""

_Result = Mapping[str, Any]


@server_command(
    "callback generate-many orders.jsonl --output urls.jsonl",
    "callback generate-many orders.jsonl --output urls.jsonl --request-id-prefix campaign-7-",
    "callback generate-many orders.jsonl --jq .callbackUrl",
    name="generate-many",
)
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the results to this file. Lines that it has a URL for are not sent again.  [default: standard output]",
)
@click.option(
    "--request-id-prefix",
    metavar="TEXT",
    callback=options.not_blank,
    help="The beginning of the `requestId` of each line that has none. The number of the line follows.",
)
@with_connection
def generate_many(
    connection: Connection, *, file: BinaryIO, output: Path | None, request_id_prefix: str | None
) -> None:
    """Generate a URL for each line of a file, or of standard input.

    A line is a request as JSON, as the JSON API has it, with a `requestId` of its own, such as the number of an order.
    The output has a line of JSON for each, in the same order: the `requestId`, with the `callbackUrl` or an `error`.
    Treat the URLs as secrets.

    The command can be stopped and run again with the same files: it goes on with the lines that have no URL. It exits
    with 1 if a line has an error.
    """
    if output is not None and connection.query is not None:
        raise click.UsageError("--jq cannot be combined with --output.")
    logging.getLogger("callback.client").addHandler(logging.NullHandler())  # the output has the warnings
    progress = _Progress(file)
    with _Results(connection) if output is None else _ResultFile(output) as results:
        batches = _batches(_lines(file, request_id_prefix or "", results.urls))
        first = next(batches, [])
        results.check(first)

        def generate_all(client: CallbackClient, some: Iterable[list[_Line]]) -> None:
            for batch in some:
                _generate(client, batch, results, progress)

        # First without retries, so that an unreachable server is reported at once.
        connection.run(lambda client: generate_all(client, [first]))
        connection.run(lambda client: generate_all(client, batches), retry_s=_RETRY_S)
        results.end()
    progress.show()
    if progress.error_count:
        lines = "1 line has" if progress.error_count == 1 else f"{progress.error_count:,} lines have"
        click.echo(f"Error: {lines} an error instead of a URL.", err=True)
        raise click.exceptions.Exit(errors.EXIT_REFUSED)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the input, with either its result or what to send."""

    request_id: str
    """Its request id. Empty: it has none."""
    result: _Result | None = None
    callback: NewCallback | None = None
    size: int = 0
    """What it takes in a batch, in bytes."""

    @property
    def most_fields(self) -> int:
        """How many fields it can have at most: none has less than two bytes, and more than MAX_FIELDS are refused."""
        return min(self.size // 2, MAX_FIELDS)


class _Results:
    """The results of the lines, on standard output."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.urls: Mapping[str, bytes] = {}
        """The results with a URL of an earlier run, by request id."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def check(self, first: list[_Line]) -> None:
        """Check that an earlier run had the same first line."""

    def write(self, results: Iterable[_Result]) -> None:
        """Write the next results."""
        for result in results:
            self._connection.print_json(result, on_one_line=True)

    def end(self) -> None:
        """Remove what is left of an earlier run."""


class _ResultFile(_Results):
    """The results of the lines, in a file.

    Raises:
        click.UsageError: The file cannot be opened, or has something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")  # noqa: PTH123, SIM115  # with a mode
        except OSError as error:
            raise click.UsageError(f"--output: {path}: {error.strerror or error}") from error
        lines = [line for line in self._file if line.endswith(b"\n")]  # the last one may be in part
        found = [(line, result) for line in lines if (result := _parsed(line)) is not None]
        if lines and (not found or found[0][0] is not lines[0]):
            raise click.UsageError(f"--output: {path} is not an output of this command. Give another file.")
        self._first_id = found[0][1]["requestId"] if found else ""
        self.urls = {result["requestId"]: line for line, result in found if "callbackUrl" in result}
        self._file.seek(0)

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def check(self, first: list[_Line]) -> None:
        if self._first_id and [self._first_id] != [line.request_id for line in first[:1]]:
            raise click.UsageError(f"--output: {self._path} has the results of another input. Give another file.")

    def write(self, results: Iterable[_Result]) -> None:
        self._file.writelines(json_output.dumps(each, indent=None).encode() + b"\n" for each in results)
        self._file.flush()

    def end(self) -> None:
        self._file.truncate()


def _parsed(line: bytes) -> _Result | None:
    """Return the result on a line. None: it is none, or was overwritten in part."""
    try:
        result = json.loads(line)
    except ValueError:
        return None
    is_result = isinstance(result, dict) and "requestId" in result and ("callbackUrl" in result or "error" in result)
    return result if is_result else None


class _Progress:
    """How many lines are done. A terminal shows it."""

    def __init__(self, file: BinaryIO) -> None:
        self._is_shown = sys.stderr.isatty()
        self._total = _count_lines(file) if self._is_shown and file.seekable() else None
        self._count = 0
        self.error_count = 0
        self._next = time.monotonic() + _PROGRESS_S

    def add(self, results: Iterable[_Result]) -> None:
        """Count results, and show the progress once a second."""
        for result in results:
            self._count += 1
            self.error_count += "error" in result
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _PROGRESS_S
            self.show()

    def show(self) -> None:
        """Show the progress."""
        if self._is_shown:
            total = "" if self._total is None else f" of {self._total:,}"
            click.echo(f"{self._count:,}{total} lines done", err=True)


def _count_lines(file: BinaryIO) -> int:
    """Return how many lines are left in a file."""
    start = file.tell()
    count = sum(1 for _ in file)
    file.seek(start)
    return count


def _lines(file: Iterable[bytes], prefix: str, urls: Mapping[str, bytes]) -> Iterator[_Line]:
    """Yield the lines of the input. Those that have a URL already have it as their result."""
    for number, text in enumerate(file, 1):
        request_id = f"{prefix}{number}" if prefix else ""
        try:
            data = _loaded(text)
            request_id = _given_id(data) or request_id
            known = urls.get(request_id)
            yield _Line(request_id, json.loads(known)) if known else _request(data, request_id)
        except ValueError as error:
            yield _Line(request_id, {"requestId": request_id, "error": errors.invalid(str(error))})


def _loaded(text: bytes) -> object:
    """Return what a line has. Raises ValueError."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"the line is not JSON: {error.msg} at character {error.pos + 1}") from None
    except UnicodeDecodeError:
        raise ValueError("the line is not UTF-8") from None
    except RecursionError:
        raise ValueError("the line is not JSON: it is too deep") from None


def _given_id(data: object) -> str:
    """Return the request id of a line. Empty: it has none."""
    if not isinstance(data, dict):
        return ""
    given = data.get("requestId") or data.get("request_id")
    return given if isinstance(given, str) else ""


def _request(data: object, request_id: str) -> _Line:
    """Return the line with the request to send. Raises ValueError."""
    message = from_json(data, GenerateCallbackUrlRequest())
    if not request_id:
        raise ValueError("requestId is missing. Add it to the line, or use --request-id-prefix.")
    message.request_id = request_id
    size = message.ByteSize() + _FRAME_BYTES
    if size > _MAX_BATCH_BYTES:
        raise ValueError("the request is larger than 4 MiB")
    return _Line(request_id, callback=NewCallback.from_dict(to_json(message)), size=size)


def _batches(lines: Iterable[_Line]) -> Iterator[list[_Line]]:
    """Yield the lines in groups, each of which one request can send."""
    batch, size, fields = list[_Line](), 0, 0
    for line in lines:
        if (
            len(batch) == _MAX_BATCH
            or size + line.size > _MAX_BATCH_BYTES
            or fields + line.most_fields > _MAX_BATCH_FIELDS
        ):
            yield batch
            batch, size, fields = [], 0, 0
        batch.append(line)
        size += line.size
        fields += line.most_fields
    if batch:
        yield batch


def _generate(client: CallbackClient, batch: list[_Line], results: _Results, progress: _Progress) -> None:
    """Send the lines that have no result yet, and write the results of all.

    Raises:
        CallbackError: The batch was refused, or the server or its store is unreachable. The results before are written.
    """
    sent = [line.callback for line in batch if line.callback is not None]
    made = iter(client.generate_callback_urls(sent) if sent else ())
    done, lost = list[_Result](), None
    for line in batch:
        if line.result is not None:
            done.append(line.result)
            continue
        outcome = next(made)
        if isinstance(outcome, UnavailableError):
            lost = outcome
            break
        done.append({"requestId": line.request_id, **_view(outcome)})
    results.write(done)
    progress.add(done)
    if lost is not None:
        raise lost


def _view(outcome: GeneratedCallback | CallbackError) -> _Result:
    if isinstance(outcome, CallbackError):
        return {"error": errors.as_dict(outcome)}
    return outcome.to_dict(reveal_secrets=True)

"""Forms of a request: urlencoded, and multipart with files."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from callback._multi_mapping import Headers, PairsLike, Query

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_PARTS = 1000
_MAX_HEAD = 16_384
"""Largest head of a part, in bytes."""
_BOUNDARY = re.compile(
    r""";[ \t]*boundary=(?:"([ !#-\[\]-~]{0,69}[!#-\[\]-~])"|([!#-:<-\[\]-~]{1,70}))[ \t]*(?:;|$)""", re.IGNORECASE
)
_HEAD = re.compile(rb"(?:\r\n[\w!#$%&'*+.^`|~-]+:[\t -~\x80-\xff]*){1,8}")
_DISPOSITION = re.compile(
    r"""form-data[ \t]*(?:;[ \t]*[\w*-]+=(?:"(?:[^"\\]|\\.)*"|[^ \t";]*)[ \t]*){0,8};?""", re.IGNORECASE | re.ASCII
)
_PARAMETER = re.compile(r""";[ \t]*([\w*-]+)=(?:"((?:[^"\\]|\\.)*)"|([^ \t";]*))""", re.ASCII)
_FOLDER = re.compile(r"(?:.*[/\\])?(?:[A-Za-z]:)?")


class NotFormError(ValueError):
    """The body of a request is no form. A handler that raises it rejects the call: the caller sent incorrect data."""

    def __init__(self) -> None:
        super().__init__("the body is not a form")


@dataclass(frozen=True, slots=True, repr=False)
class FormFile:
    """A file of a multipart form. All of it is as the caller chose it."""

    field: str
    """The name of the field."""
    filename: str
    """The name that the caller gave the file, without folders and the letter of a drive.

    It is untrusted: it can be empty, very long, or that of another file, with any ending. Show it, but never store a
    file under it.
    """
    content_type: str
    """What the caller says of the content. Empty if it says nothing."""
    content: bytes
    """The bytes."""

    def __repr__(self) -> str:
        """Return how large the file is: a file may be a secret."""
        return f"<FormFile of {len(self.content)} bytes>"


class Form(Query):
    """The fields of a form, and its files."""

    __slots__ = ("_files",)

    def __init__(self, pairs: PairsLike = (), files: Iterable[FormFile] = ()) -> None:
        super().__init__(pairs)
        self._files = tuple(files)

    @property
    def files(self) -> tuple[FormFile, ...]:
        """The files, in order. Only multipart forms have files."""
        return self._files

    def _comparable(self) -> tuple[object, ...]:
        return *super()._comparable(), *self._files


def urlencoded(body: bytes) -> list[tuple[str, str]]:
    """Parse the fields of an urlencoded form. Like a browser, it accepts anything."""
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


def read_form(headers: Headers, body: bytes) -> Form:
    """Parse a body as a form.

    Raises:
        NotFormError: It is none.
    """
    types = headers.get_all("content-type") or ("",)
    media_type = types[0].partition(";")[0].strip(" \t").lower()
    if len(types) == 1 and media_type in ("", "application/x-www-form-urlencoded"):
        return Form(urlencoded(body))
    if len(types) == 1 and media_type == "multipart/form-data":
        return _multipart(types[0], body)
    raise NotFormError


def _multipart(content_type: str, body: bytes) -> Form:
    found = _BOUNDARY.search(content_type)
    if found is None or len(re.findall("boundary=", content_type, re.IGNORECASE)) > 1:
        raise NotFormError
    boundary = (found[1] or found[2]).encode()
    fields, files = [], []
    for part in _parts(boundary, _strict(boundary, body)):
        names = _names([value for name, value in part.headers if name.lower() == b"content-disposition"])
        name, filename, content = names.get("name"), names.get("filename"), bytes(part.content)
        if name is None:
            raise NotFormError
        if filename is None:
            fields.append((name, content.decode("utf-8", "replace")))
        elif filename or content:  # else an input in which no file was chosen
            base = _FOLDER.sub("", filename, count=1)
            kinds = [value for name, value in part.headers if name.lower() == b"content-type"]
            kind = kinds[0].decode("utf-8", "replace").strip(" \t") if kinds else ""
            files.append(FormFile(name, base if base.strip(".") else "", kind, content))
    return Form(fields, files)


def _strict(boundary: bytes, body: bytes) -> bytes:
    """Return the parts of a body, from the first boundary to the last, if all parsers read them alike.

    Each has a head of single lines, and no line begins like a boundary.
    """
    delimiter = b"\r\n--" + boundary
    preamble, *pieces = (b"\r\n" + body).split(delimiter, _MAX_PARTS + 1)
    end = len(preamble)  # in the body, which has no line break before it
    for piece in pieces:
        end += len(delimiter)
        if piece.startswith(b"--"):
            return body[len(preamble) : end]
        head, has_content, _ = piece.partition(b"\r\n\r\n")
        if not has_content or len(head) > _MAX_HEAD or _HEAD.fullmatch(head) is None:
            break
        end += len(piece)
    raise NotFormError


@dataclass(slots=True)
class _Part:
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)


def _parts(boundary: bytes, body: bytes) -> list[_Part]:
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser

    parts: list[_Part] = []

    def value(data: bytes, start: int, end: int) -> None:
        parts[-1].headers[-1] = (parts[-1].headers[-1][0], data[start:end])

    callbacks: MultipartCallbacks = {
        "on_part_begin": lambda: parts.append(_Part()),
        "on_header_field": lambda data, start, end: parts[-1].headers.append((data[start:end], b"")),
        "on_header_value": value,
        "on_part_data": lambda data, start, end: parts[-1].content.extend(data[start:end]),
    }
    try:
        MultipartParser(boundary, callbacks, max_header_size=_MAX_HEAD).write(body)
    except FormParserError as error:
        raise NotFormError from error
    return parts


def _names(dispositions: list[bytes]) -> dict[str, str]:
    """Return the parameters of the disposition of a part. Empty if it has none of a form, or a parameter twice."""
    given = [each.decode("utf-8", "replace").strip(" \t") for each in dispositions]
    if len(given) != 1 or _DISPOSITION.fullmatch(given[0]) is None:
        return {}
    found = _PARAMETER.findall(given[0])
    names = {name.lower(): re.sub(r'\\(["\\])', r"\1", quoted) + plain for name, quoted, plain in found}
    return names if len(names) == len(found) else {}

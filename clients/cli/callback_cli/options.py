"""What options mean beyond text, the options of a response, and how help ends."""

import functools
import os
import re
from collections.abc import Callable
from datetime import timedelta
from typing import IO, Any

import click

from callback import Redirect, Response, ResponseType
from callback.targets import target_problem


def text(value: str) -> str:
    """Return the text, if it can be sent. An argument that is not UTF-8 reaches Python as text that no encoding takes.

    Raises:
        click.BadParameter: It is not UTF-8.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"{os.fsencode(value)!r} is not UTF-8") from None
    return value


def target(value: str) -> str:
    """Return the address of a server: HOST:PORT, or a gRPC target.

    Raises:
        click.BadParameter: It is neither.
    """
    text(value)
    if problem := target_problem(value):
        tls = ", with --tls" if value.lower().startswith("https://") else ""
        raise click.BadParameter(f"{value!r} {problem}{tls}")
    return value


def in_utf_8(command: click.Command) -> click.Command:
    """Return the command, its text options and arguments such that what is not UTF-8 is wrong usage."""
    for parameter in command.params:
        if parameter.type is click.STRING:
            parameter.type = click.types.FuncParamType(text)
    return command


_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(_context: click.Context, parameter: click.Parameter, text: str | None) -> timedelta | None:
    """Return a time such as 500ms, 90s, 15m, 1h, 7d or 1h30m.

    Raises:
        click.BadParameter: It is not one.
    """
    if text is None:
        return None
    parts = re.findall(r"([0-9]+)(ms|[smhd])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise click.BadParameter(f"{text!r} is not a time; write 90s, 15m, 1h, 7d or 1h30m", param=parameter)
    try:
        return sum((timedelta(**{_UNITS[unit]: int(count)}) for count, unit in parts), timedelta())
    except (OverflowError, ValueError):  # ValueError: more digits than Python reads
        raise click.BadParameter(f"{text!r} is too long a time", param=parameter) from None


def pairs(_context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return each NAME=VALUE as name and value.

    Raises:
        click.BadParameter: There is no `=`, or no name before it.
    """
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param=parameter)
        found.append((name, value))
    return tuple(found)


def labels(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Return each NAME=VALUE as an entry.

    Raises:
        click.BadParameter: As for `pairs`, or a name is given twice.
    """
    found = pairs(context, parameter, texts)
    if len(dict(found)) < len(found):
        raise click.BadParameter("each name can be given once", param=parameter)
    return dict(found)


def filled(_context: click.Context, parameter: click.Parameter, text: str | None) -> str:
    """Return what was given, or "" if nothing was: an empty text, of a variable that is not set say, would mean all.

    Raises:
        click.BadParameter: It is blank.
    """
    if text is not None and not text.strip():
        raise click.BadParameter("it is empty", param=parameter)
    return text or ""


activity_filter = click.option("--activity", metavar="A", callback=filled, help="Only cases of this activity.")
"""The option that narrows cases, or what happens to them, to those of an activity."""
label_filter = click.option(
    "--label",
    "labels",
    metavar="K=V",
    multiple=True,
    callback=labels,
    help="Only cases with this label; repeat for those that have all.",
)
"""The option that narrows cases, or what happens to them, to those with labels."""


def examples(*lines: str) -> str:
    """Return the end of a command's help: commands to copy, kept as they stand."""
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


def response_options(*, required: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a response, and what they say as its argument `response`.

    Args:
        required: Whether the type must be given; without it, it is None.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--type",
            "response_type",
            type=click.Choice([each.lower() for each in ResponseType], case_sensitive=False),
            required=required,
            help="Redirect the browser, or give a response.",
        )
        @click.option("--redirect-url", metavar="URL", help="Where a redirect leads: /path, or http(s)://…")
        @click.option("--body", metavar="TEXT", type=os.fsencode, help="The body of a response.")
        @click.option("--body-file", metavar="FILE", type=click.File("rb"), help="The body, from a file; - is stdin.")
        @click.option(
            "--code",
            metavar="N",
            type=click.IntRange(200, 599),
            help="The HTTP status of a response; none of 300-399.",
        )
        @click.option(
            "--header", "headers", metavar="K=V", multiple=True, callback=pairs, help="A header field; repeat."
        )
        @functools.wraps(command)
        def with_response(
            *arguments: Any,
            response_type: str | None,
            redirect_url: str | None,
            body: bytes | None,
            body_file: IO[bytes] | None,
            code: int | None,
            headers: tuple[tuple[str, str], ...],
            **options: Any,
        ) -> None:
            if body is not None and body_file is not None:
                raise click.UsageError("--body and --body-file exclude each other.")
            response = Response(
                type=None if response_type is None else ResponseType(response_type.upper()),
                redirect_url=redirect_url,
                body=body if body_file is None else _read(body_file),
                code=code,
                headers=headers or None,
            )
            command(*arguments, response=response, **options)

        return with_response

    return decorate


def fallback_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a fallback, and what they say as its argument `fallback`; None if nothing."""

    @click.option("--fallback-redirect-url", metavar="URL", help="Where the caller is sent then.")
    @click.option("--fallback-body", metavar="TEXT", type=os.fsencode, help="The body that the caller gets then.")
    @click.option(
        "--fallback-code", metavar="N", type=click.IntRange(200, 599), help="The HTTP status; none of 300-399."
    )
    @click.option(
        "--fallback-header", "fallback_headers", metavar="K=V", multiple=True, callback=pairs,
        help="A header field; repeat.",
    )  # fmt: skip
    @functools.wraps(command)
    def with_fallback(
        *arguments: Any,
        fallback_redirect_url: str | None,
        fallback_body: bytes | None,
        fallback_code: int | None,
        fallback_headers: tuple[tuple[str, str], ...],
        **options: Any,
    ) -> None:
        response = Response(fallback_body, fallback_code, fallback_headers or None)
        given = response != Response()
        if fallback_redirect_url is not None and given:
            raise click.UsageError("A fallback redirects, or has a body, code and headers.")
        fallback = Redirect(fallback_redirect_url) if fallback_redirect_url is not None else response if given else None
        command(*arguments, fallback=fallback, **options)

    return with_fallback


def _read(file: IO[bytes]) -> bytes:
    try:
        return file.read()
    except OSError as error:
        raise click.BadParameter(f"{file.name!r}: {error.strerror}", param_hint="--body-file") from error

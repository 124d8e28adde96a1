"""What options mean beyond text, the options of a response, and how help ends."""

import functools
import os
import re
from collections.abc import Callable
from datetime import timedelta
from typing import IO, Any

import click

from callback import Response, ResponseType

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(_context: click.Context, parameter: click.Parameter, text: str | None) -> timedelta | None:
    """Return a time such as 90s, 15m, 1h, 7d or 1h30m.

    Raises:
        click.BadParameter: It is not one.
    """
    if text is None:
        return None
    parts = re.findall(r"([0-9]+)([smhd])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise click.BadParameter(f"{text!r} is not a time; write 90s, 15m, 1h, 7d or 1h30m", param=parameter)
    try:
        return sum((timedelta(**{_UNITS[unit]: int(count)}) for count, unit in parts), timedelta())
    except OverflowError:
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
        @click.option("--body", metavar="TEXT", help="The body of a response.")
        @click.option("--body-file", metavar="FILE", type=click.File("rb"), help="The body, from a file; - is stdin.")
        @click.option("--code", metavar="N", type=int, help="The HTTP status of a response: 200-299 or 400-599.")
        @click.option(
            "--header", "headers", metavar="K=V", multiple=True, callback=pairs, help="A header field; repeat."
        )
        @functools.wraps(command)
        def with_response(
            *arguments: Any,
            response_type: str | None,
            redirect_url: str | None,
            body: str | None,
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
                body=_bytes(body, body_file),
                code=code,
                headers=headers or None,
            )
            command(*arguments, response=response, **options)

        return with_response

    return decorate


def _bytes(text: str | None, file: IO[bytes] | None) -> bytes | None:
    if file is not None:
        return file.read()
    return None if text is None else os.fsencode(text)  # the very bytes that were typed

"""Types of options, shared groups of options, and commands with examples in their help."""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import click

from callback import Call, CallFailure, CallStatus
from callback_shared.targets import target_problem


def text(value: str) -> str:
    """Return the text, after checking that it is UTF-8.

    Python decodes an argument that is not UTF-8 to a text that cannot be encoded again.

    Raises:
        click.BadParameter: It is not UTF-8.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"{os.fsencode(value)!r} is not UTF-8") from None
    return value


def target(value: str) -> str:
    """Return the address of a server, after checking that it is HOST:PORT or a gRPC target.

    Raises:
        click.BadParameter: It is neither.
    """
    text(value)
    if problem := target_problem(value):
        tls = ", with --tls" if value.lower().startswith("https://") else ""
        raise click.BadParameter(f"{value!r} {problem}{tls}")
    return value


def in_utf_8(command: click.Command) -> click.Command:
    """Make text options and arguments of a command reject text that is not UTF-8, and return the command."""
    for parameter in command.params:
        if parameter.type is click.STRING:
            parameter.type = click.types.FuncParamType(text)
    return command


_MAX_DURATION = timedelta(days=36_500)
"""A hundred years. A time that is much longer before or after now has no date."""
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(_context: click.Context, parameter: click.Parameter, text: str | None) -> timedelta | None:
    """Return a duration such as 500ms, 90s, 15m, 1h, 7d or 1h30m.

    Raises:
        click.BadParameter: It is not one.
    """
    if text is None:
        return None
    parts = re.findall(r"([0-9]+)(ms|[smhd])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise click.BadParameter(
            f"{text!r} is not a duration. Use a value such as 90s, 15m, 1h, 7d or 1h30m.", param=parameter
        )
    try:
        found = sum((timedelta(**{_UNITS[unit]: int(count)}) for count, unit in parts), timedelta())
    except (OverflowError, ValueError):  # ValueError: more digits than Python reads
        found = timedelta.max
    if found > _MAX_DURATION:
        raise click.BadParameter(f"{text!r} is too long.", param=parameter)
    return found


def each(convert: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    """Return the callback of an option that can be repeated, from that of an option that cannot."""
    return lambda context, parameter, texts: tuple(convert(context, parameter, text) for text in texts)


def time(_context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    """Return a time such as 2026-01-31T23:59:59Z. Without an offset from UTC, it is the local time.

    Raises:
        click.BadParameter: It is not one.
    """
    try:
        return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
    except (OverflowError, ValueError):
        raise click.BadParameter(f"{text!r} is not a time such as 2026-01-31T23:59:59Z.", param=parameter) from None


def time_before_now(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    """Return the time that a duration such as 1h is before now."""
    ago = duration(context, parameter, text)
    return None if ago is None else datetime.now(UTC) - ago


def since_filter(which: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add `--since` to a command, which receives it as a time or None. `which` says what it selects, for the help."""
    return click.option(
        "--since",
        metavar="1h",
        callback=time_before_now,
        help=f"{which} in this time before now: 90s, 15m, 1h, 7d.",
    )


def limit_option(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add `--limit` to a command that lists."""
    return click.option(
        "--limit",
        metavar="N",
        type=click.IntRange(1, 1_000_000_000),
        default=default,
        show_default=True,
        help="The maximum number to list.",
    )


def pairs(_context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return each NAME=VALUE as a pair of name and value.

    Raises:
        click.BadParameter: There is no `=`, or no name before it.
    """
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE.", param=parameter)
        found.append((name, value))
    return tuple(found)


def labels(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Return each NAME=VALUE as an entry of a dict.

    Raises:
        click.BadParameter: As for `pairs`, or a name is given twice.
    """
    found = pairs(context, parameter, texts)
    if len(dict(found)) < len(found):
        raise click.BadParameter("each name can be given only once.", param=parameter)
    return dict(found)


def http_url(_context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Return the URL of an HTTP server, after checking it.

    Raises:
        click.BadParameter: It is not one, or has a user or a fragment.
    """
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not all("!" <= character <= "~" for character in text):
        raise click.BadParameter(f"{text!r} is not a URL such as http://127.0.0.1:3000/hook.", param=parameter)
    if parts.fragment or parts.username is not None:
        raise click.BadParameter("the URL must not have a fragment or a user.", param=parameter)
    return text


def not_blank(_context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Return the value of a filter.

    A blank value, such as that of an unset shell variable, is an error, because it would select everything.

    Raises:
        click.BadParameter: The value is blank.
    """
    if text is not None and not text.strip():
        raise click.BadParameter("the value is empty.", param=parameter)
    return text


show_secrets = click.option(
    "--show-secrets/--mask-secrets",
    default=None,
    help="Show recorded states, cookies and other credentials, or mask them as ***.  [default: mask them, except in "
    "JSON for a file or a program]",
)
"""The option that decides whether secrets are masked. `Connection` has it."""

FAILED = (CallStatus.FAILED, CallStatus.INTERRUPTED, CallStatus.NOT_STARTED)
"""The statuses of `--failed`."""


def outcome_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--failed` and `--reason` to a command. It receives `reason` as a CallFailure or None."""
    reasons = [each.value.lower() for each in CallFailure if each is not CallFailure.UNKNOWN]
    command = click.option(
        "--reason",
        type=click.Choice(reasons, case_sensitive=False),
        callback=lambda _context, _parameter, text: None if text is None else CallFailure(text.upper()),
        help="Only those whose newest call, or whose delivery, failed for this reason.",
    )(command)
    return click.option("--failed", is_flag=True, help="Only those that failed: failed, interrupted or not started.")(
        command
    )


def has_failed_for(call: Call, reason: CallFailure | None) -> bool:
    """Return whether a call, or its delivery, failed for a reason. None: any reason, or none."""
    return reason is None or reason in (call.failure, call.delivery.failure if call.delivery else None)


def command(
    *examples: str, name: str | None = None, kind: type[click.Command] = click.Command, **settings: Any
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command of a function, with examples at the end of its help as lines that click does not reflow."""
    lines = ["\b", "Example:" if len(examples) == 1 else "Examples:", *(f"  {line}" for line in examples)]
    return click.command(name, kind, epilog="\n".join(lines), **settings)

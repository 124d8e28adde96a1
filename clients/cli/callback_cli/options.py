"""Types of options, shared groups of options, and the examples of a help text."""

import functools
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import IO, Any
from urllib.parse import urlsplit

import click

from callback import Call, CallFailure, CallStatus, PageResponse, Redirect, Response, ResponseType
from callback.targets import target_problem
from callback_cli.template import Template


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


def durations(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[timedelta, ...]:
    """Return each text as a duration."""
    return tuple(each for text in texts if (each := duration(context, parameter, text)) is not None)


def _time_before_now(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    ago = duration(context, parameter, text)
    return None if ago is None else datetime.now(UTC) - ago


def since_filter(which: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add `--since` to a command, which receives it as a time or None. `which` says what it selects, for the help."""
    return click.option(
        "--since",
        metavar="1h",
        callback=_time_before_now,
        help=f"{which} in this time before now: 90s, 15m, 1h, 7d.",
    )


def owner_filter(which: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add `--owner` to a command that searches. It receives "" without one. `which` says what it selects."""
    return click.option(
        "--owner",
        metavar="NAME",
        default="",
        help=f"{which}  [default: your own; for an administrator, those of every owner]",
    )


def call_status_filter(name: str, which: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add an option for the status of a call to a command, which receives a CallStatus or None."""
    return click.option(
        name,
        type=click.Choice(
            [each.value.lower() for each in CallStatus if each is not CallStatus.UNKNOWN], case_sensitive=False
        ),
        callback=lambda _context, _parameter, text: None if text is None else CallStatus(text.upper()),
        help=which,
    )


def limit_option(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add `--limit` to a command that lists."""
    return click.option(
        "--limit",
        metavar="N",
        type=click.IntRange(min=1),
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


def not_blank(_context: click.Context, parameter: click.Parameter, text: str | None) -> str:
    """Return the value of an optional filter, or "" if it is not given.

    A blank value, such as that of an unset shell variable, is an error, because it would select everything.

    Raises:
        click.BadParameter: The value is blank.
    """
    if text is not None and not text.strip():
        raise click.BadParameter("the value is empty.", param=parameter)
    return text or ""


show_secrets = click.option(
    "--show-secrets/--mask-secrets",
    default=None,
    help="Show recorded states, cookies and other credentials, or mask them as ***.  [default: mask them, except in "
    "JSON for a file or a program]",
)
"""The option that decides whether secrets are masked; None if it is not given. See `Connection.masks_secrets`."""
activity_filter = click.option("--activity", metavar="A", callback=not_blank, help="Only callbacks of this activity.")
"""The option that selects callbacks, or their events, by activity."""
label_filter = click.option(
    "--label",
    "labels",
    metavar="K=V",
    multiple=True,
    callback=labels,
    help="Only callbacks with this label. Can be repeated; all must match.",
)
"""The option that selects callbacks, or their events, by labels."""


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


def _template(_context: click.Context, parameter: click.Parameter, text: str | None) -> Template | None:
    try:
        return None if text is None else Template(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from None


format_option = click.option(
    "--format",
    "template",
    metavar="TEMPLATE",
    callback=_template,
    help="Print a line for each, with fields of --json in braces: '{callId} {delivery.status}'.",
)
"""The option that chooses fields."""


def examples(*lines: str) -> str:
    """Return the examples at the end of a help text, as lines that click does not reflow."""
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


def response_options(*, required: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of a response to a command, which receives them as its argument `response`.

    Args:
        required: Whether `--type` is required. Without it, the type of the response is None.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--type",
            "response_type",
            type=click.Choice([each.lower() for each in ResponseType], case_sensitive=False),
            required=required,
            help="Whether calls get a redirect, a response, or a page in the style of the edge.",
        )
        @click.option("--redirect-url", metavar="URL", help="The target of a redirect: /path or http(s)://…")
        @click.option("--body", metavar="TEXT", type=os.fsencode, help="The body of a response.")
        @click.option(
            "--body-file", metavar="FILE", type=click.File("rb"), help="Read the body from a file; - is standard input."
        )
        @click.option(
            "--code",
            metavar="N",
            type=click.IntRange(200, 599),
            help="The HTTP status of a response or a page: 200-299 or 400-599.",
        )
        @click.option(
            "--header", "headers", metavar="K=V", multiple=True, callback=pairs, help="A header field. Can be repeated."
        )
        @click.option("--heading", metavar="TEXT", help="The heading of a page.")
        @click.option("--text", metavar="TEXT", help="The text of a page.")
        @click.option("--link-label", metavar="TEXT", help="The label of the link of a page.")
        @click.option("--link-url", metavar="URL", help="The target of the link of a page: /path or http(s)://…")
        @functools.wraps(command)
        def with_response(
            *arguments: Any,
            response_type: str | None,
            redirect_url: str | None,
            body: bytes | None,
            body_file: IO[bytes] | None,
            code: int | None,
            headers: tuple[tuple[str, str], ...],
            heading: str | None,
            text: str | None,
            link_label: str | None,
            link_url: str | None,
            **options: Any,
        ) -> None:
            if body is not None and body_file is not None:
                raise click.UsageError("--body and --body-file cannot be combined.")
            response = Response(
                type=None if response_type is None else ResponseType(response_type.upper()),
                redirect_url=redirect_url,
                body=body if body_file is None else _read(body_file),
                code=code,
                headers=headers or None,
                heading=heading,
                text=text,
                link_label=link_label,
                link_url=link_url,
            )
            command(*arguments, response=response, **options)

        return with_response

    return decorate


def other_response_options(
    argument: str, prefix: str, what: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of another response than the first one to a command. They have no `--type`: it follows from them.

    Args:
        argument: The argument in which the command receives the response, None if not given.
        prefix: The beginning of each option, such as `fallback`.
        what: The response in words, for the help texts.
    """
    begin = what[0].upper() + what[1:]
    page = f"With --{prefix}-heading:"
    every = (
        click.option(f"--{prefix}-redirect-url", metavar="URL", help=f"{begin} redirects to this URL."),
        click.option(f"--{prefix}-body", metavar="TEXT", type=os.fsencode, help=f"The body of {what}."),
        click.option(
            f"--{prefix}-code",
            metavar="N",
            type=click.IntRange(200, 599),
            help=f"The HTTP status of {what}: 200-299 or 400-599.",
        ),
        click.option(
            f"--{prefix}-header", metavar="K=V", multiple=True, callback=pairs, help="A header field. Can be repeated."
        ),
        click.option(f"--{prefix}-heading", metavar="TEXT", help=f"{begin} is a page with this heading."),
        click.option(f"--{prefix}-text", metavar="TEXT", help=f"{page} the text of the page."),
        click.option(f"--{prefix}-link-label", metavar="TEXT", help=f"{page} the label of the link of the page."),
        click.option(f"--{prefix}-link-url", metavar="URL", help=f"{page} the target of the link of the page."),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_response(*arguments: Any, **options: Any) -> None:
            def given(name: str) -> Any:
                return options.pop(f"{prefix}_{name}")

            url = given("redirect_url")
            content = Response(given("body"), None, given("header") or None)
            page = PageResponse(given("heading"), given("text"), given("link_label"), given("link_url"))
            if page != PageResponse() and content != Response():
                raise click.UsageError(
                    f"--{prefix}-body and --{prefix}-header cannot be combined with the options of a page, such as"
                    f" --{prefix}-heading."
                )
            response = replace(page if page != PageResponse() else content, code=given("code"))
            if url is not None and response != Response():
                raise click.UsageError(f"--{prefix}-redirect-url cannot be combined with the other --{prefix} options.")
            if url is not None:
                response = Redirect(url)
            command(*arguments, **{argument: None if response == Response() else response}, **options)

        for option in reversed(every):
            with_response = option(with_response)
        return with_response

    return decorate


def _read(file: IO[bytes]) -> bytes:
    try:
        return file.read()
    except OSError as error:
        raise click.BadParameter(f"{file.name!r}: {error.strerror}", param_hint="--body-file") from error

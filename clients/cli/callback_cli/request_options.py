"""Options of commands for the fields of requests, from the description of the contract.

1. A field `foo_bar` has the option `--foo-bar`; its first sentence in the contract is the help text. `_BETTER` has what
   a person needs better.
2. The kind of a field decides on its option: a flag, a text, a number, a duration such as `90s`, a time, a choice, or
   `K=V`, which can be repeated. Bytes also have an option for a file.
3. A field that is a message has an option for each of its fields, with the name of the field before it. Messages in
   such a message come from a JSON file.
"""

import functools
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

import click

import callback
from callback import Response, ResponseType
from callback.json_form import from_json, to_json
from callback.v1 import callback_pb2
from callback_cli import options
from callback_cli._contract import MESSAGES
from callback_cli.fields import Field

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


class _Better(NamedTuple):
    """What a person needs better than the contract has it."""

    option: str = ""
    """The name, after that of the message that has the field. With `--`, it is the whole name."""
    help: str = ""
    metavar: str = ""
    settings: Mapping[str, Any] = {}
    """More settings of the option."""


_SINCE = {"callback": options.time_before_now}
_BETTER: Mapping[str, _Better] = {
    "GenerateCallbackUrlRequest.callback_activity": _Better(
        help="The activity that decides on calls: `record`, `form`, or one of your handlers."
    ),
    "state_query_parameter": _Better(
        "param", "Put the secret of the URL (the state) in this query or form parameter, as OAuth and SAML do.", "P"
    ),
    "retryable_after_error": _Better(
        "retryable", "Keep the callback open after a rejected, failed or interrupted call."
    ),
    "allow_multiple_calls": _Better("multiple", "Accept any number of calls, until the callback is closed or expires."),
    "alternative_domain": _Better("domain", "Use this origin in the URL.", "https://…"),
    "allowed_origins": _Better(
        "allowed-origin",
        "An origin whose pages may call the URL by a script, and read the answer (CORS). *: every origin.",
        "https://…",
    ),
    "frame_origins": _Better("frame-origin", "An origin whose pages may show the URL in a frame.", "https://…"),
    "endpoint": _Better(help="The endpoint whose events with the --key are calls of the callback.", metavar="NAME"),
    "correlation_key": _Better("key", "The text by which an event at the --endpoint finds the callback.", "KEY"),
    "no_url": _Better(help="Make no URL: only events at the --endpoint reach the callback."),
    "request_id": _Better(help="An id that makes retries safe: the same id returns the same URL."),
    "time_to_live": _Better("ttl", "Close the callback after this time."),
    "GenerateCallbackUrlRequest.labels": _Better("label", "A label by which to find the callback."),
    "labels": _Better("label", "Only callbacks with this label. All must match."),
    "GenerateCallbackUrlRequest.no_repeat": _Better(help="Give no answer twice: the same request again gets a 410."),
    "no_repeat": _Better(help="Give this answer once: the same request again gets a 410."),
    "answer_deadline": _Better(
        help="The time after the start of a call at which a caller without a response gets the fallback (--fallback-…)."
    ),
    "hold_time": _Better(help="With --answer-mode hold: how long a call waits for its answer."),
    "remind_after": _Better(
        help="With --notify reminder: the time after the creation of the callback at which the handler is told that it "
        "is neither closed nor resolved. At most 10 times."
    ),
    "response_body": _Better(help="The body of a response, byte for byte."),
    "ordered": _Better(help="With --answer-mode ack: handle the calls one after the other, in their order."),
    "get_guard": _Better(
        help="How to treat GET requests. off: every GET is a call. detect: a GET of a known link-opening program is "
        "not a call. confirm: a GET gets a page with a button, which makes the call."
    ),
    "prompt": _Better(help="With --get-guard confirm"),
    "Prompt.choices": _Better(
        "--choice",
        "A button of the page, which makes the call with this choice. At most 4.",
        "VALUE=LABEL",
        {"callback": options.labels},
    ),
    "Prompt.fields": _Better(
        help="A JSON file with the fields that a person fills in, in this order: "
        '[{"name": "amount", "label": "Amount", "kind": "NUMBER", "isRequired": true}].'
    ),
    "answer_mode": _Better(
        help="How a call gets its response. handler: from the handler, while the caller waits. hold: from `callback "
        "answer`, while the caller waits. ack: the response of the callback, at once; the handler runs later."
    ),
    "closed_response": _Better("closed", "After it is closed"),
    "notify": _Better(
        help="A notification that the handler of the activity gets. reminder: at each time of --remind-after. expiry: "
        "when the callback expires, unless it is resolved.",
        settings={"type": click.Choice(["reminder", "expiry"], case_sensitive=False)},
    ),
    "response_type": _Better(help="Whether calls get a redirect, a response, or a page in the style of the edge."),
    "response_code": _Better(settings={"type": click.IntRange(200, 599)}),
    "response_headers": _Better("header", "A header field of a response."),
    "keep_open": _Better(help="Accept the call, and keep the callback open for another one."),
    "close": _Better(help="Accept the call, and close the callback."),
    **dict.fromkeys(
        ("ListAuditEntriesRequest.owner", "ListCallbacksRequest.owner", "ListOwnerCallsRequest.owner"),
        _Better(
            help="Only those of this owner (role admin, or a worker with answers).  [default: your own; for an "
            "administrator, those of every owner]",
            metavar="NAME",
        ),
    ),
    "ListActivitiesRequest.owner": _Better(
        help="Count the open callbacks of this owner (role admin, or a worker with answers).  [default: your own]",
        metavar="NAME",
    ),
    "last_call_status": _Better("last-call"),
    "created_after": _Better(
        "since", "Only callbacks that were generated in this time before now: 90s, 15m, 1h, 7d.", "1h", _SINCE
    ),
    "recorded_after": _Better("since", "Only changes in this time before now: 90s, 15m, 1h, 7d.", "1h", _SINCE),
    "ListAuditEntriesRequest.callback_case_id": _Better("callback", "Only changes of this callback.", "CASE"),
    "WatchCallsRequest.callback_case_id": _Better("case", "Only this callback.", "CASE"),
    "resume_token": _Better(
        help="Continue after the line with this `resumeToken`, without a gap. With a token, a --case that does not "
        "exist is not an error: it may have been deleted.  [default: start now]",
        metavar="TOKEN",
    ),
}
"""By the name of a message and a field, or of a field in every message."""
_WITHOUT_OPTION = {"page_size", "page_token", "filter", "verdict", "update_mask", "latest_only", "heads", "ended_after"}
"""Fields that commands set in another way, or not at all."""
_ARGUMENTS = {
    "callback_case_id": "CASE",
    "call_id": "CALL",
    "callback_activity": "ACTIVITY or --activity",
    "expire_time": "--ttl",
}
"""Fields that are arguments of some commands, or have another option there."""
_METAVARS = {
    "text": "TEXT", "bytes": "TEXT", "number": "N", "duration": "1h", "time": "TIME", "map": "K=V", "pairs": "K=V",
}  # fmt: skip
_FORMS = {"duration": " For example 90s, 15m, 1h or 7d.", "time": " For example 2026-01-31T23:59:59Z."}
"""What is added to a help text."""
_CALLBACKS: Mapping[str, Callable[..., Any]] = {
    "duration": options.duration, "time": options.time, "map": options.labels, "pairs": options.pairs,
}  # fmt: skip
_OF_A_PAGE = ("heading", "text", "link_label", "link_url", "language")
_CONTENT = ("body", "headers")


class _Leaf(NamedTuple):
    """A field that has an option."""

    message: str
    """The message that has the field."""
    field: Field
    group: Field | None
    """The field of the request that is this message. None: the message is the request."""
    path: str
    """The path in the contract: `fallback.response_code`."""
    option: str
    what: str
    """The group in words, for the help text."""

    @property
    def parameter(self) -> str:
        """The name of the parameter of a command: `fallback__code`."""
        return f"{self.group.short_name}__{self.field.short_name}" if self.group else self.field.short_name

    @property
    def is_required(self) -> bool:
        """Whether a command needs it. The first response needs a type."""
        return self.path == "response.response_type" if self.group else self.field.is_required

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its options."""
        return (self.option, f"{self.option}-file") if self.field.kind == "bytes" else (self.option,)


def request_options(message: str, *names: str, is_partial: bool = False) -> Decorator:
    """Add the options of the fields of a request to a command.

    The command receives `values`, a dictionary of those that are given by the names of the client.

    Args:
        message: The request.
        names: The fields. Default: all that can be options.
        is_partial: Whether nothing is required.
    """
    leaves = [each for each in _leaves(message) if not names or each.path.partition(".")[0] in names]
    leaves.sort(key=lambda each: not (each.group or each.field).is_required)
    named = {f"`{each.field.name}`": each.option for each in reversed(leaves)}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_values(*arguments: Any, values: Mapping[str, Any] | None = None, **given: Any) -> None:
            command(*arguments, values={**_taken(leaves, given), **(values or {})}, **given)

        for leaf in reversed(leaves):
            for option in _options(leaf, named, is_partial=is_partial):
                with_values = option(with_values)
        return with_values

    return decorate


def option_names(message: str, *short_names: str) -> list[str]:
    """Return the names of the options for fields of a request, by the names of the client. Default: for all fields."""
    return [
        option
        for each in _leaves(message)
        if not short_names or (each.group or each.field).short_name in short_names
        for option in each.options
    ]


def resets() -> dict[str, str]:
    """Return the values of `--reset`: the option of each attribute of a response, without dashes, and its name."""
    attributes = [each for each in _leaves("SetResponseRequest") if each.group]
    return {
        each.option.removeprefix("--"): each.field.short_name
        for each in attributes
        if each.field.name != "response_type"
    }


def option_of(path: str) -> str:
    """Return the options for a field of a request, by its path in the contract. Empty: there is none."""

    def is_in(outer: str, inner: str) -> bool:
        return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))

    leaves = [leaf for message in MESSAGES if message.endswith("Request") for leaf in _leaves(message)]
    found = [each for each in leaves if is_in(each.path, path)] or [each for each in leaves if is_in(path, each.path)]
    names = dict.fromkeys(option for each in found for option in each.options)
    return _ARGUMENTS.get(path) or (join([*names], "or") if names else "")


def join(names: Sequence[str], word: str) -> str:
    """Return names in words: `a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} {word} {last}" if most else last


def _leaves(message: str) -> Iterator[_Leaf]:
    """Yield the fields of a request that can be options, and the fields of its messages."""
    for field in MESSAGES.get(message, ()):
        if field.name in _WITHOUT_OPTION or is_argument(field):
            continue
        if field.kind != "message":
            yield _Leaf(message, field, None, field.name, f"--{_option_name(message, field)}", "")
            continue
        is_first = field.name == "response"
        prefix = "" if is_first else f"{_option_name(message, field)}-"
        what = _better(message, field).help or field.short_name.replace("_", " ").capitalize()
        for each in MESSAGES[field.of]:
            if is_first or each.name != "response_type":  # the type of another response follows from its options
                name = _option_name(field.of, each)
                option = name if name.startswith("--") else f"--{prefix}{name}"
                yield _Leaf(field.of, each, field, f"{field.name}.{each.name}", option, "" if is_first else what)


def is_argument(field: Field) -> bool:
    """Return whether a field of a request is the argument of a command: the id of a resource."""
    return field.is_required and field.name.endswith("_id")


def _better(message: str, field: Field) -> _Better:
    return _BETTER.get(f"{message}.{field.name}") or _BETTER.get(field.name) or _Better()


def _option_name(message: str, field: Field) -> str:
    return _better(message, field).option or field.short_name.replace("_", "-")


def _options(leaf: _Leaf, named: Mapping[str, str], *, is_partial: bool) -> Iterator[Callable[..., Any]]:
    """Yield the options for a field, the last one first, as decorators add them.

    Args:
        leaf: The field.
        named: The option for the name of each field, in backticks.
        is_partial: Whether nothing is required.
    """
    field, better = leaf.field, _better(leaf.message, leaf.field)
    is_multiple = (field.is_repeated and field.kind != "message") or field.kind in ("map", "pairs")
    text = better.help or field.help
    if leaf.what:
        text = f"{leaf.what}: {text[:1].lower()}{text[1:]}"
    if field.kind in _FORMS and "1h" not in text:
        text += _FORMS[field.kind]
    text += " Can be repeated." if is_multiple else ""
    # What the contract says of a default after `;` is for the response of a call only.
    default = field.default.partition(";")[0] if leaf.what else field.default
    if default and not is_partial and "[default" not in text:
        text += f"  [default: {default}]"
    text = re.sub("`[a-z_]+`", lambda found: named.get(found[0], found[0]), text)
    settings: dict[str, Any] = {
        "metavar": better.metavar or _METAVARS.get(field.kind),
        "help": text,
        "multiple": is_multiple,
        "required": not is_partial and leaf.is_required,
        "callback": _CALLBACKS.get(field.kind),
    }
    if field.kind == "bool":
        settings = {"is_flag": True, "help": text}
    elif field.kind == "enum":
        settings["type"] = click.Choice(field.words, case_sensitive=False)
    elif field.kind == "number":
        settings["type"] = int
    elif field.kind == "bytes":
        settings["type"] = os.fsencode
        from_file = f"A file with the value of {leaf.option}; - is standard input."
        yield click.option(
            leaf.options[1], f"{leaf.parameter}__file", metavar="FILE", type=click.File("rb"), help=from_file
        )
    elif field.kind == "message":
        settings |= {
            "metavar": "FILE",
            "multiple": False,
            "type": click.File("rb"),
            "callback": functools.partial(_from_file, field.of),
        }
    elif field.is_repeated and settings["callback"]:
        settings["callback"] = options.each(settings["callback"])
    elif field.kind == "text" and leaf.message.startswith(("List", "Watch")):
        settings["callback"] = options.not_blank
    yield click.option(leaf.option, leaf.parameter, **{**settings, **better.settings})


def _taken(leaves: Sequence[_Leaf], given: dict[str, Any]) -> dict[str, Any]:
    """Take the values of fields that are given out of the arguments of a command."""
    values: dict[str, Any] = {}
    groups: dict[Field, dict[str, Any]] = {}
    for leaf in leaves:
        value = given.pop(leaf.parameter)
        if leaf.field.kind == "bytes":
            value = _bytes(leaf, value, given.pop(f"{leaf.parameter}__file"))
        if value is None or value is False or (isinstance(value, tuple | dict) and not value):
            continue
        if leaf.field.kind == "enum":
            words = getattr(callback, leaf.field.of)
            value = tuple(words(each.upper()) for each in value) if leaf.field.is_repeated else words(value.upper())
        target = values if leaf.group is None else groups.setdefault(leaf.group, {})
        target[leaf.field.short_name] = value
    for group, present in groups.items():
        names = {each.field.short_name: each.option for each in leaves if each.group == group}
        values[group.short_name] = _message(group, present, names)
    return values


def _from_file(of: str, _context: click.Context, option: click.Parameter, file: IO[bytes] | None) -> tuple[Any, ...]:
    """Return the values of a class of the client that a JSON file has in a list."""
    if file is None:
        return ()
    try:
        listed = json.loads(file.read())
        if not isinstance(listed, list):
            raise ValueError("it is no list")
        messages = [from_json(each, getattr(callback_pb2, of)()) for each in listed]
        return tuple(getattr(callback, of).from_dict(to_json(each)) for each in messages)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{file.name!r}: {error}", param=option) from error


def _bytes(leaf: _Leaf, text: bytes | None, file: IO[bytes] | None) -> bytes | None:
    if file is None:
        return text
    if text is not None:
        raise click.UsageError(f"{' and '.join(leaf.options)} cannot be combined.")
    try:
        return file.read()
    except OSError as error:
        raise click.BadParameter(f"{file.name!r}: {error.strerror}", param_hint=leaf.options[1]) from error


def _message(group: Field, values: Mapping[str, Any], names: Mapping[str, str]) -> Any:
    """Return the message of the given values. `names` are the options of all its fields."""
    if group.of == "Response":
        return Response(**{"type": None if "type" in names else _type(values, names), **values})
    for each in MESSAGES[group.of]:
        if each.is_required and each.short_name not in values:
            given = join([names[name] for name in values], "and")
            raise click.UsageError(f"{given} cannot be used without {names[each.short_name]}.")
    return getattr(callback, group.of)(**values)


def _type(values: Mapping[str, Any], names: Mapping[str, str]) -> ResponseType:
    """Return the type of a response that has no option for it: it follows from the others."""
    of_a_page, content = ([names[each] for each in some if each in values] for some in (_OF_A_PAGE, _CONTENT))
    if "redirect_url" in values and len(values) > 1:
        others = [names[each] for each in values if each != "redirect_url"]
        raise click.UsageError(f"{names['redirect_url']} cannot be combined with {join(others, 'or')}.")
    if of_a_page and content:
        raise click.UsageError(f"{join(content, 'and')} cannot be combined with {join(of_a_page, 'or')}.")
    if "redirect_url" in values:
        return ResponseType.REDIRECT
    return ResponseType.PAGE if of_a_page else ResponseType.RESPONSE

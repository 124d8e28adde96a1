"""The language of the repository: plain words, one form of log events, one form of lint exceptions."""

import ast
import functools
import re
from pathlib import Path

from support.tree import PACKAGES, ROOT, tracked_files

TEXT_SUFFIXES = {".md", ".py", ".proto", ".lua", ".toml", ".html", ".css", ".yaml", ".yml", ".sh", ".cfg", ".conf"}
GENERATED = (PACKAGES["callback"] / "v1", ROOT / "proto" / "third_party", ROOT / "requirements")
TEXTS = {
    str(path.relative_to(ROOT)): path
    for path in tracked_files()
    if path.suffix in TEXT_SUFFIXES and not any(path.is_relative_to(folder) for folder in GENERATED)
}
SOURCES = {name: path for name, path in TEXTS.items() if path.suffix == ".py"}
PRODUCT = {
    name: path
    for name, path in SOURCES.items()
    if any(path.is_relative_to(folder) for folder in PACKAGES.values()) or name.startswith(("tasks.py", "generators/"))
}

REFUSED = {
    "can not": "cannot",
    "nobody, somebody, whoever": "the process or the role: server, caller, operator",
    "who asks": "the caller, the principal",
    "tells who": "streams events to",
    "is told with": "to authenticate, pass",
    "time brings": "expires leases and cases",
    "comes together, done together": "batched",
    "says what it works on": "logs the activities it serves",
    "an edge none": "an edge sees none",
    "lane, lanes, Road": "Pipeline, NodePipeline, PipelinedConnection",
    "Rounds": "admission batching, batcher",
    "seat, seats": "Assignment: offer, accept, confirm, withdraw",
    "free place, free places, worker places, max places": "slots of a worker",
    "keep place": "a waiter of a call",
    "class Places, call place, call places": "slots: CallSlots; a place is where a value is in a signed request",
    "class Guard, EpochGuard, class Guarded": "EpochFence; authenticated services; a guard is a GetGuard",
    "Letter, Letters, inbox, mailbox": "message, send; replica_bus; deliveries",
    "Elsewhere, class Host": "RemoteWorkers, RemoteAssignmentHost",
    "in vain": "unroutable; without a result",
    "Coming": "PendingCall",
    "WayOut, way_out": "Fallback",
    "Asking": "RequestIntent",
    "feed, feeds": "watch",
    "seldom, rarely": "how often, or when",
    "is told of, are told of": "gets, receives",
    "pace, paces": "rate limit, open-case quota; turns",
    "tied": "die_with_parent",
    "class Reach": "visible_owner",
    "figures": "metrics",
    "imitate, imitates, imitation, imitations": "sample message, sender",
    "class Answer, class Refused": "a name of its own for each idea",
}
"""The table of the glossary: words that are refused, and what to say instead. A capital letter is one, a small one any.
A space also stands for a line break, or for the underscore of a name."""
NEXT_WORD = r"[\s_]+{}".format
FORMS = [
    (words, first, re.compile(rf"{first}(?<![A-Za-z]{first}){''.join(map(NEXT_WORD, rest))}(?![A-Za-z])"))
    for words in REFUSED
    for word in words.split(", ")
    for first, *rest in {tuple(word.split(" ")), tuple((word[0].upper() + word[1:]).split(" "))}
]
"""By the key of the table, the first word of each form, and its pattern, which begins with that word to be fast."""
ALLOWED = {
    ("nobody, somebody, whoever", "tests/"): "people, not processes",
    ("class Answer, class Refused", "tests/support/edge.py"): "what a stand-in for a server raises",
    (
        "feed, feeds",
        "docs/verification.md|docs/providers.md|tests/verification/|tests/flows/|tests/end_to_end/",
    ): "WebSub",
    ("feed, feeds", "tests/hardening/|edge/callback_edge/pages/page_checks.py"): "a method of a parser",
    ("feed, feeds", "server/callback_server/store/connection/pipelined_connection.py"): "a method of a parser",
    ("imitate, imitates, imitation, imitations", "docs/guards.md"): "a program that imitates a browser",
}
"""By words and the beginnings of the names of files: why they are allowed there."""
CLAUSE = re.compile(
    r"(?:^(?:#+ |- |\| |\d+\. | *)|(?<=[.:!] ))(?:What|Who|Whoever|How (?:much|many)) "
    r"(?:[^?.\n]|\.(?=\w)|\n(?!\n))*(?:[.|]|$)(?!\?)",
    re.MULTILINE,
)
"""A sentence of a guide or of the contract, or a heading, whose subject is a clause."""
EVENT = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*( [a-z_]+=.+)?")
"""Form of a log event: a name. In a library, which uses `logging`, the fields follow the name."""
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
LOGGERS = {"log", "_log", "logger", "_logger"}
LOG_CALL = re.compile(rf"\b({'|'.join(LOGGERS)})\.({'|'.join(LEVELS)})\(")
"""Most modules have none: their syntax is not read, which takes longest here."""
EXCEPTION = re.compile(r"#\s*(noqa|type: ignore)\b(?P<rest>.*)")
FULL_LINE = 100
"""Length in characters from which a line of prose counts as full."""
WITH_REASON = re.compile(r"(: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)*|\[[a-z-]+(, [a-z-]+)*\])  # \S.*")


def wrong_lines(files, check):
    """Return what `check` yields for each file, a line number and a text, as a list of `file:line: text`."""
    return [f"{name}:{line}: {text}" for name, path in sorted(files.items()) for line, text in check(path)]


@functools.cache
def text_of(path):
    return path.read_text()


def matches_of(pattern):
    """Return a check that yields what matches a pattern."""

    def check(path):
        text = text_of(path)
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, match[0]

    return check


@functools.cache
def nodes_of(path):
    """Return the nodes of a module's syntax tree."""
    return list(ast.walk(ast.parse(text_of(path))))


def refused_words(text):
    """Yield each key of the table whose words are in a text, with where they are."""
    for words, first, pattern in FORMS:
        if first in text:  # a search for a pattern takes longer
            yield from ((words, match) for match in pattern.finditer(text))


def test_no_text_has_a_word_that_the_glossary_replaces():
    assert [
        f"{name}:{text_of(path).count(chr(10), 0, match.start()) + 1}: {match[0]!r}, say {REFUSED[words]!r}"
        for name, path in sorted(TEXTS.items())
        for words, match in (refused_words(text_of(path)) if path != Path(__file__) else ())
        if not any(words == allowed and re.match(files, name) for allowed, files in ALLOWED)
    ] == []


def test_each_word_of_the_glossary_is_found_also_in_a_name_and_over_a_line_break():
    assert {words for words, _ in refused_words(", ".join(REFUSED))} == {*REFUSED}
    found = [match[0] for _, match in refused_words("activities_in_vain, can\nnot, Figures, coming, configures")]
    assert found == ["can\nnot", "in_vain", "Figures"]


def test_a_sentence_of_a_guide_or_of_the_contract_names_its_subject():
    guides = {name: path for name, path in TEXTS.items() if path.suffix in {".md", ".proto"}}
    assert wrong_lines(guides, matches_of(CLAUSE)) == []


def log_calls(path):
    """Return each event of a log: the line of the call, and the argument that names it."""
    for node in nodes_of(path) if LOG_CALL.search(text_of(path)) or "LimitedEvent(" in text_of(path) else ():
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and (getattr(node.func.value, "id", None) or getattr(node.func.value, "attr", None)) in LOGGERS
            and node.args
        ):
            yield node.lineno, node.args[0]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) == "LimitedEvent":
            yield node.lineno, node.args[1]


def test_a_log_event_is_one_snake_case_name():
    def check(path):
        for line, argument in log_calls(path):
            if isinstance(argument, ast.Constant | ast.JoinedStr) and not (
                isinstance(argument, ast.Constant) and EVENT.fullmatch(str(argument.value))
            ):
                yield line, ast.unparse(argument)

    assert wrong_lines(PRODUCT, check) == []


def test_every_event_that_operators_find_in_the_documentation_is_logged():
    logged = {
        argument.value
        for path in PACKAGES["callback_server"].rglob("*.py")
        for _, argument in log_calls(path)
        if isinstance(argument, ast.Constant)
    }
    page = (ROOT / "docs" / "operations.md").read_text()
    (table,) = re.findall(r"^\| event \| when \|\n((?:\|.*\n)+)", page, re.MULTILINE)
    listed = {event for row in table.splitlines()[1:] for event in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert len(listed) > 20
    assert listed - logged == set()


def test_a_lint_exception_names_its_rule_and_its_reason():
    def check(path):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if (match := EXCEPTION.search(line)) and "`#" not in line and not WITH_REASON.match(match["rest"]):
                yield number, line.strip()

    assert wrong_lines(SOURCES, check) == []


def docstring_lines(path):
    """Return each line of the docstrings of a module, with its number."""
    docstrings = (
        node
        for node in nodes_of(path)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    return [line for node in docstrings for line in enumerate(node.value.value.splitlines(), node.lineno)]


LONE_WORD = re.compile(rf"^.{{{FULL_LINE + 1},}}\n *[a-z]+\n *[a-z`]", re.MULTILINE)
"""A word that is alone on its line, below a full line."""


def test_a_reflow_of_docstrings_breaks_no_table_and_leaves_no_word_alone():
    def check(path):
        text = text_of(path)
        if "| |---" not in text and not LONE_WORD.search(text):
            return
        lines = docstring_lines(path)
        for number, line in lines:
            if "| |---" in line:
                yield number, line.strip()
        for (_, before), (number, word), (_, after) in zip(lines, lines[1:], lines[2:], strict=False):
            if LONE_WORD.match(f"{before}\n{word}\n{after}"):
                yield number, word.strip()

    assert wrong_lines(SOURCES, check) == []


ENTRY = re.compile(r'^( *)(?:Args|Raises):\n(?:(?!.*""").+\n)*?\1 {4}(?! )[\w*, ]+: (?!gRPC)[a-z].*$', re.MULTILINE)
"""An argument or exception of a docstring whose description starts with a small letter, after those before it."""


def test_the_description_of_an_argument_or_exception_starts_with_a_capital_letter():
    def check(path):
        for match in ENTRY.finditer(text_of(path)):
            yield text_of(path).count("\n", 0, match.end()) + 1, match[0].splitlines()[-1].strip()

    assert wrong_lines(PRODUCT, check) == []

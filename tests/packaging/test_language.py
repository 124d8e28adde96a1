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
PROSE = {name: path for name, path in TEXTS.items() if path.suffix in {".md", ".proto"} or name in PRODUCT}

CANNOT = re.compile(r"\bcan\s+not\b", re.IGNORECASE)
PRONOUNS = re.compile(r"\b(nobody|somebody|whoever)\b", re.IGNORECASE)
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


def test_texts_write_cannot_as_one_word():
    others = {name: path for name, path in TEXTS.items() if path != Path(__file__)}
    assert wrong_lines(others, matches_of(CANNOT)) == []


def test_product_and_documentation_name_the_subject_of_each_sentence():
    assert wrong_lines(PROSE, matches_of(PRONOUNS)) == []


def log_calls(path):
    """Return each call of a logger's method, with the line of the call and its first argument."""
    for node in nodes_of(path) if LOG_CALL.search(text_of(path)) else ():
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and (getattr(node.func.value, "id", None) or getattr(node.func.value, "attr", None)) in LOGGERS
            and node.args
        ):
            yield node.lineno, node.args[0]


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

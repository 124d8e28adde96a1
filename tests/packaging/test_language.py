"""The language of the repository: plain words, one form of log events, one form of lint exceptions."""

import ast
import re

import pytest
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
EXCEPTION = re.compile(r"#\s*(noqa|type: ignore)\b(?P<rest>.*)")
FULL_LINE = 100
"""Length in characters from which a line of prose counts as full."""
WITH_REASON = re.compile(r"(: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)*|\[[a-z-]+(, [a-z-]+)*\])  # \S.*")


def found(pattern, path):
    """Return the lines of a file that match, with their numbers."""
    text = path.read_text()
    return [f"{text.count(chr(10), 0, match.start()) + 1}: {match[0]}" for match in pattern.finditer(text)]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_texts_write_cannot_as_one_word(name):
    if name == str(__file__).removeprefix(f"{ROOT}/"):
        return
    assert found(CANNOT, TEXTS[name]) == []


@pytest.mark.parametrize("name", sorted(PROSE))
def test_product_and_documentation_name_the_subject_of_each_sentence(name):
    assert found(PRONOUNS, PROSE[name]) == []


def log_calls(tree):
    """Return each call of a logger's method, with the line of the call and its first argument."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and (getattr(node.func.value, "id", None) or getattr(node.func.value, "attr", None)) in LOGGERS
            and node.args
        ):
            yield node.lineno, node.args[0]


@pytest.mark.parametrize("name", sorted(PRODUCT))
def test_a_log_event_is_one_snake_case_name(name):
    wrong = [
        f"{line}: {ast.unparse(argument)}"
        for line, argument in log_calls(ast.parse(PRODUCT[name].read_text()))
        if isinstance(argument, ast.Constant | ast.JoinedStr)
        and not (isinstance(argument, ast.Constant) and EVENT.fullmatch(str(argument.value)))
    ]
    assert wrong == []


def test_every_event_that_operators_find_in_the_documentation_is_logged():
    logged = {
        argument.value
        for path in PACKAGES["callback_server"].rglob("*.py")
        for _, argument in log_calls(ast.parse(path.read_text()))
        if isinstance(argument, ast.Constant)
    }
    page = (ROOT / "docs" / "operations.md").read_text()
    (table,) = re.findall(r"^\| event \| when \|\n((?:\|.*\n)+)", page, re.MULTILINE)
    listed = {event for row in table.splitlines()[1:] for event in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert len(listed) > 20
    assert listed - logged == set()


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_lint_exception_names_its_rule_and_its_reason(name):
    lines = SOURCES[name].read_text().splitlines()
    wrong = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(lines, 1)
        if (match := EXCEPTION.search(line)) and "`#" not in line and not WITH_REASON.match(match["rest"])
    ]
    assert wrong == []


def docstring_lines(path):
    """Return each line of the docstrings of a module, with its number."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from enumerate(node.value.value.splitlines(), node.lineno)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_reflow_of_docstrings_breaks_no_table_and_leaves_no_word_alone(name):
    lines = list(docstring_lines(SOURCES[name]))
    tables = [f"{number}: {line.strip()}" for number, line in lines if "| |---" in line]
    words = [
        f"{number}: {word.strip()}"
        for (_, before), (number, word), (_, after) in zip(lines, lines[1:], lines[2:], strict=False)
        if len(before) > FULL_LINE and re.fullmatch(r" *[a-z]+", word) and re.match(r" *[a-z`]", after)
    ]
    assert tables + words == []


ENTRY = re.compile(r" +[\w*, ]+: (?!gRPC)[a-z]")
"""An argument or exception of a docstring whose description starts with a small letter."""


@pytest.mark.parametrize("name", sorted(PRODUCT))
def test_the_description_of_an_argument_or_exception_starts_with_a_capital_letter(name):
    wrong, section = [], None
    for number, line in docstring_lines(PRODUCT[name]):
        indent = len(line) - len(line.lstrip())
        if line.strip() in ("Args:", "Raises:"):
            section = indent
        elif line.strip() and section is not None and indent <= section:
            section = None
        elif section is not None and indent == section + 4 and ENTRY.match(line):
            wrong.append(f"{number}: {line.strip()}")
    assert wrong == []

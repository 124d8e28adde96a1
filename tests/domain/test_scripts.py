"""Each script, its header, its declaration and its Python wrapper agree."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from support.limits import limited

import callback_server.store.queries
import callback_server.store.transitions
from callback_server.store import schema, scripts
from callback_server.store.fields import CALL_FIELDS, CASE_FIELDS
from callback_server.store.generated_lua import PARTS, with_keys
from callback_server.store.queries import read
from callback_server.store.scripts import Script

LUA = Path(callback_server.store.__path__[0]) / "lua"
WRAPPERS = {
    name: importlib.import_module(f"{package.__name__}.{name}")
    for package in (callback_server.store.transitions, callback_server.store.queries)
    for _, name, _ in pkgutil.iter_modules(package.__path__)
}
SCRIPTS = {name: module.SCRIPT for name, module in WRAPPERS.items() if hasattr(module, "SCRIPT")}
ALL = SCRIPTS | {"upgrade_schema": schema.UPGRADE_SCHEMA}


def written(name):
    """Return the file of a script."""
    return (LUA / f"{name}.lua").read_text()


def header(name, field):
    """Return the text that the header comment of a script has after a field name, on one line."""
    (found,) = re.findall(rf"^-- {field}: (.*(?:\n--   .*)*)", written(name), re.MULTILINE)
    return re.sub(r"\n--\s+", " ", found)


def given_names(module):
    """Yield the names of the arguments that a wrapper gives its script, for each place where it does."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        match node:
            case (
                ast.Call(func=ast.Attribute(attr="run" | "run_on"), args=[ast.Name(id="SCRIPT"), *_])
                | ast.Call(
                    func=ast.Attribute(value=ast.Name(id="SCRIPT" | "UPGRADE_SCHEMA"), attr="pack" | "pack_item")
                )
            ):
                yield {keyword.arg for keyword in node.keywords}


def test_every_file_has_one_wrapper_of_its_name():
    assert {path.stem for path in LUA.glob("*.lua")} == set(ALL)
    for name, module in WRAPPERS.items():
        if hasattr(module, "SCRIPT"):
            assert module.SCRIPT.name == name
            assert inspect.iscoroutinefunction(getattr(module, name)), f"{name}.py has no coroutine {name}"


def test_every_transition_is_a_script():
    assert {path.stem for path in Path(callback_server.store.transitions.__path__[0]).glob("[a-z]*.py")} <= set(SCRIPTS)


def test_the_header_declares_the_key_and_each_argument():
    form = re.compile(r"^-- KEYS: (\w+)\n-- ARGV:(.*?)^-- Returns: ", re.MULTILINE | re.DOTALL)
    for name, script in ALL.items():
        key, section = form.search(written(name)).groups()
        assert key in ("partition", "chain", "workers", "messages", "statistics", "schema"), name
        assert script.arguments or section == " none\n", name
        lines = [line for line in section.splitlines()[1:] if not line.startswith(("--  ", "---@class "))]
        assert len(lines) == len(script.arguments) + len(script.fields), name


def test_a_wrapper_gives_the_arguments_that_the_header_declares():
    for name, script in ALL.items():
        given = [*given_names(WRAPPERS.get(name, schema))]
        assert given, name
        declared = [script.arguments, script.fields] if script.fields else [script.arguments]
        assert {*map(frozenset, given)} == {frozenset(each.name for each in part) for part in declared}, name


def test_a_script_uses_its_arguments_by_name_alone():
    for name, script in ALL.items():
        code = re.sub(r"--.*", "", written(name))
        assert not re.search(r"ARGV\[\d|#ARGV", code), name
        words = set(re.findall(r"\w+", code))
        declared = [*script.arguments, *script.fields]
        assert [each for each in declared if not {each.name, f"{each.name}_first"} & words] == [], name


def test_the_header_and_every_reply_of_a_script_begin_with_reports_or_none_does():
    for name, script in ALL.items():
        assert header(name, "Returns").startswith("reports, then ") is script.sends_reports, name
        code = re.sub(r"--.*", "", written(name))
        assert ("return reply(" in code) is script.sends_reports, name
        assert not (script.sends_reports and re.search(r"return \{'", code)), name


def test_every_include_is_used_and_none_is_left_open():
    included = set(re.findall(r"^-- @include (\w+)$", "".join(p.read_text() for p in LUA.rglob("*.lua")), re.MULTILINE))
    assert included == {path.stem for path in (LUA / "includes").glob("*.lua")} | set(PARTS)
    assert not [name for name, script in ALL.items() if re.search(r"^-- @include", script.source, re.MULTILINE)]


def test_includes_are_at_the_top_of_a_file():
    for path in LUA.rglob("*.lua"):
        assert not re.search(r"^(local|if|return) .*^-- @include", path.read_text(), re.MULTILINE | re.DOTALL), (
            path.name
        )


def test_a_function_of_a_script_is_made_before_it_is_used():
    for name, script in ALL.items():
        code = re.sub(r"--.*", "", script.source)
        for function in set(re.findall(r"local function (\w+)", code)):
            first = re.search(rf"(local function )?\b{function}\(", code)
            assert first[1], f"{name}: {function}"


def script_of(tmp_path, *parameters):
    """Return a script with these arguments."""
    lines = "".join(f"---@param {each}\n" for each in parameters)
    (tmp_path / "example.lua").write_text(f"#!lua\n-- ARGV:\n{lines}-- @arguments\nreturn {{}}\n")
    with limited(scripts, FOLDER=tmp_path):
        return Script("example")


def test_arguments_are_bound_to_locals_in_the_order_in_which_they_are_sent(tmp_path):
    bound = """\
local a = ARGV[1]
local b = tonumber(ARGV[2])
local c_first, c_last = 4, 3 + ARGV[3]
local d = ARGV[c_last + 1] == '1'
local e_first, e_last = c_last + 3, c_last + 2 + ARGV[c_last + 2]
"""
    assert bound in script_of(tmp_path, "a string", "b number", "c string[]", "d boolean", "e string[]").source


@pytest.fixture
def example(tmp_path):
    return script_of(tmp_path, "a string", "b number", "c boolean of it", "d boolean", "e string[] pairs", "f string[]")


def test_arguments_are_packed_in_their_order_flags_as_one_or_nothing_and_lists_behind_their_lengths(example):
    packed = example.pack(f=(), e=["x", b"y"], d=False, c=True, b=5, a="text")
    assert packed == ["text", 5, "1", "", 2, "x", b"y", 0]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"a": "", "b": 1, "c": True, "d": True, "e": ()}, "['f']"),
        ({"a": "", "b": 1, "c": True, "d": True, "e": (), "f": (), "g": 1}, "['g']"),
        ({"b": 1, "c": True, "d": True, "e": (), "f": (), "g": 1}, "['a', 'g']"),
    ],
)
def test_an_argument_that_is_missing_or_unknown_is_an_error(example, values, says):
    with pytest.raises(TypeError, match=re.escape(says)):
        example.pack(**values)


def test_a_table_is_packed_in_its_place_and_is_one_table_in_the_script(tmp_path):
    script = script_of(tmp_path, "a string", "g {x: number, y: number}", "b string", "c string[]")
    assert script.pack(a="", b="7", g=(1, 2), c=("a",)) == ["", 1, 2, "7", 1, "a"]
    assert "local g = {x = tonumber(ARGV[2]), y = tonumber(ARGV[3])}\nlocal b = ARGV[4]\n" in script.source


def test_the_fields_of_an_item_are_bound_to_locals_and_packed_in_their_order(tmp_path):
    (tmp_path / "example.lua").write_text(
        "#!lua\n---@param a string\n---@class Item\n---@field x string\n---@field y boolean\n---@param items Item[]\n"
        "---@param b number\n-- @arguments\nlocal function f(at)\n  -- @fields\nend\nreturn {}\n"
    )
    with limited(scripts, FOLDER=tmp_path):
        script = Script("example")
    bound = """\
local a = ARGV[1]
local items_step, items_first = 2, 3
local items_last = items_first + (ARGV[2] - 1) * items_step
local b = tonumber(ARGV[items_last + 2])
local function f(at)
  local x, y = ARGV[at + 0], ARGV[at + 1] == '1'
end
"""
    assert bound in script.source
    items = [script.pack_item(y=True, x="1"), script.pack_item(x="2", y=False)]
    assert script.pack(a="text", b=5, items=items) == ["text", 2, "1", "1", "2", "", 5]
    with pytest.raises(TypeError, match=re.escape("['y', 'z']")):
        script.pack_item(x="1", z="2")


def commands(code, hash_name):
    """Return the arguments of each command on a hash of the store, in Lua: the command, then what follows the key."""
    for match in re.finditer(rf"redis\.call\('(H[A-Z]+)', {hash_name}_key\(", code):
        depth, start, arguments = 1, match.end(), []
        for at in range(match.end(), len(code)):
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(code[at], 0)
            if depth < 0 or (depth == 0 and code[at] == ","):
                arguments.append(code[start:at].strip())
                start = at + 1
            if depth < 0:
                break
        yield match[1], arguments[1:]


def fields_in(code, hash_name):
    """Return the names of the fields that Lua code reads or writes in a hash of the store."""
    found = set()
    for command, arguments in commands(code, hash_name):
        names = {"HSET": arguments[::2], "HINCRBY": arguments[:1]}.get(command, arguments)
        for name in names:
            if name not in {"...", f"unpack({hash_name}_fields)", "unpack(fields or {})"}:
                assert re.fullmatch(r"'\w+'", name), f"{command} with {name}"
                found.add(name.strip("'"))
    # Fields that are collected, and written with others.
    found.update(re.findall(rf"set_{hash_name}_field\('(\w+)'", code))
    collected = re.findall(rf"local {hash_name}_fields = {{(.*?)}}", code, re.DOTALL)
    more = re.findall(rf"set_{hash_name}_status\(case, '?\w+'?, (.*?)\)", code)
    return found.union(*(re.findall(r"'(\w+)', \S", each) for each in [*collected, *more]))


@pytest.mark.parametrize(("hash_name", "table"), [("case", CASE_FIELDS), ("call", CALL_FIELDS)])
def test_the_fields_in_the_scripts_are_those_of_the_table(hash_name, table):
    code = "\n".join(re.sub(r"--.*", "", path.read_text()) for path in LUA.rglob("*.lua"))
    assert fields_in(code, hash_name) == set(table)


def test_the_fields_that_queries_read_are_in_the_tables():
    assert {*read.FIELDS_OF_CALLS, *read.FIELDS_OF_BODIES, *read.FIELDS_OF_HELD_CALLS} <= set(CALL_FIELDS)
    named = re.findall(r'fields(?:\.get\(|\[)b"(\w+)"', inspect.getsource(read))
    assert named
    assert set(named) <= {*CASE_FIELDS, *CALL_FIELDS}


def test_no_line_of_a_script_is_longer_than_120_characters():
    long = [
        f"{path.name}:{number}"
        for path in LUA.rglob("*.lua")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 120
    ]
    assert long == []


def test_a_key_in_a_script_is_replaced_by_its_text():
    assert with_keys("f(leases_key(), call_key(id))") == "f((KEYS[1] .. ':leases'), (KEYS[1] .. ':call:' .. id))"
    assert with_keys("label_key(case.owner, digest)") == "(KEYS[1] .. ':label:' .. (case.owner) .. ':' .. digest)"
    with pytest.raises(ValueError, match="zip"):
        with_keys("call_key()")


def test_every_key_in_a_script_is_replaced():
    assert [name for name, script in ALL.items() if re.search(r"^[^-]*_key\(", script.source, re.MULTILINE)] == []

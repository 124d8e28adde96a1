"""The page of all settings, `docs/settings.md`, generated from the models and their docstrings."""

import ast
import inspect
import itertools
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from callback_process.settings import CONFIG_VARIABLE, ProcessSettings

_HEAD: Final = f"""\
<!-- Generated from the docstrings of the settings by `python3 tasks.py generate`. Change the docstrings. -->
# Settings

A process takes each setting from the first of these that has it:

1. an option of the command
2. an environment variable
3. a key of the TOML file that `--config` or `{CONFIG_VARIABLE}` names
4. the default

The whole value comes from one of them: lists and tables are not merged. One file serves all processes, and each process
reads its own table. In a variable, write a list with commas or as JSON, and a table as JSON. A relative path starts at
the working directory of the process.

```toml
[server]
store_url = "redis://store:6379/0"

[edge]
server_target = "dns:///callback:50051"

[activities.order-paid]
target = "dns:///orders:50051"
```

If a setting is wrong, the process does not start, and its error names every wrong setting. `callback config` shows the
settings in effect on a machine and their origin, without secrets. `callback doctor` checks that they work. Units are in
the names: `_s` means seconds.
"""
_PLURALS: Final = {"path": "paths of files"}
_WORDS: Final = {
    "URL": "URL",
    "path": "path of a file",
    "directory-path": "path of a folder",
    "password": "text, secret",
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
}


def settings_page(processes: Mapping[str, type[ProcessSettings]]) -> str:
    """Return the page in Markdown.

    Args:
        processes: Class of the settings of each process, by the command that starts it.
    """
    sections = [_HEAD]
    nested: dict[str, dict[str, None]] = {}
    models: dict[str, Any] = {}
    for command, settings in processes.items():
        schema = settings.model_json_schema(schema_generator=_WithDocstrings)
        models |= schema.get("$defs", {})
        prefix = settings.model_config.get("env_prefix", "")
        sections.append(
            f"## {command}\n\nTable `[{settings.table}]`, variables `{prefix}…`.\n\n" + _table(schema, models, settings)
        )
        for path, model in _nested(schema["properties"], models, settings):
            nested.setdefault(model, {})[path] = None
    for model, tables in nested.items():
        description = _flat(models[model]["description"])
        sections.append(f"## {' and '.join(tables)}\n\n{description}\n\n" + _table(models[model], models))
    return "\n".join(sections)


class _WithDocstrings(GenerateJsonSchema):
    """Makes the docstring of each field its description.

    `use_attribute_docstrings` of pydantic does so too, but then each start of a process parses the models' source.
    """

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        described = super().model_schema(schema)
        docstrings = _docstrings(schema["cls"])
        for name, field in described["properties"].items():
            if name in docstrings:
                field["description"] = docstrings[name]
        return described


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings of the fields of a model and its base classes, by name."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__[: model.__mro__.index(BaseModel)]):
        source = ast.parse(textwrap.dedent(inspect.getsource(each)))
        definition = next(node for node in ast.walk(source) if isinstance(node, ast.ClassDef))
        for field, docstring in itertools.pairwise(definition.body):
            match field, docstring:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = text
    return found


def _nested(
    properties: Mapping[str, Any], models: Mapping[str, Any], settings: type[ProcessSettings], *above: str
) -> Iterator[tuple[str, str]]:
    """Yield every nested table: its place in the file, and the model that describes it."""
    for name, schema in properties.items():
        inner = _without_null(schema)
        path = [*above, name] if above or name in settings.shared_tables else [settings.table, name]
        if "additionalProperties" in inner:  # a table per name
            inner, path = inner["additionalProperties"], [*path, "NAME"]
        for choice in inner.get("oneOf", [inner]):  # several models, if a key of the table selects one
            model = choice.get("$ref", "").rpartition("/")[2]
            if model and "properties" in models[model]:
                yield f"`[{'.'.join(path)}]`" + _which(inner, models[model]), model
                yield from _nested(models[model]["properties"], models, settings, *path)


def _which(choices: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Return the key and value that select this model, if the table has several models."""
    key = choices.get("discriminator", {}).get("propertyName")
    return f", {key} {_value(model['properties'][key], {})}" if key else ""


def _table(schema: Mapping[str, Any], models: Mapping[str, Any], settings: type[ProcessSettings] | None = None) -> str:
    """Return a Markdown table with one row per key, with environment variables for a process's own table."""
    head = ("Key and variable" if settings else "Key", "Value", "Default", "Description")
    rows: list[Sequence[str]] = [head, ["---"] * len(head)]
    for name, field in schema["properties"].items():
        if settings and name in settings.shared_tables:
            continue
        key = f"`{name}`" + (f"<br>`{settings.variable(name)}`" if settings else "")
        default = "required" if name in schema.get("required", ()) else _default(field.get("default"))
        rows.append((key, _value(field, models), default, _flat(field["description"])))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _value(schema: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """Describe the allowed values in words."""
    schema = _without_null(schema)
    if "$ref" in schema:
        schema = models.get(schema["$ref"].rpartition("/")[2], {})
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{each}`" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_PLURALS.get(schema['items'].get('format', ''), _value(schema['items'], models))}"
    if schema.get("type", "object") == "object":
        return "table"
    kind = schema.get("format", schema["type"])
    return ", ".join([_WORDS.get(kind, f"`{kind}`"), *_bounds(schema)])


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    for bound, words in (("minimum", "at least"), ("exclusiveMinimum", "more than"), ("maximum", "at most")):
        if bound in schema:
            yield f"{words} {schema[bound]:,}"
    if "minLength" in schema:
        yield "not empty" if schema["minLength"] == 1 else f"at least {schema['minLength']} characters"


def _default(value: Any) -> str:
    if value is None or value in ({}, [], ""):
        return "none"
    if isinstance(value, dict):
        return "its own"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a setting without the alternative null."""
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    return choices[0] if choices else schema


def _flat(text: str) -> str:
    """Return a docstring as one line of a table."""
    return " ".join(inspect.cleandoc(text).split()).replace("|", "\\|")

"""Texts of the pages, from `texts.LANGUAGE.toml` files.

A file in the operator's folder overrides single texts of the built-in language. A new language needs all texts.
"""

import re
import tomllib
from collections.abc import Collection, Sequence
from typing import Final

import jinja2

from callback_edge.pages.languages import DEFAULT
from callback_edge.pages.template_errors import TemplatesError, template_errors

Texts = dict[str, str]
"""Texts of a language by `KEY.part`. The parts are heading and text, and button or link_label where a page has one.
`reference.label` stands on every page of an error."""

_FILE: Final = re.compile(r"texts\.([a-z]{2,3})\.toml")
_ANY_FILE: Final = re.compile(r"texts\..*\.toml")


def read_texts(
    environment: jinja2.Environment, loaders: Sequence[jinja2.BaseLoader], template_names: Collection[str]
) -> dict[str, Texts]:
    """Return the texts of every language.

    Args:
        environment: The environment of the templates.
        loaders: The built-in loader, then the operator's, whose texts take precedence.
        template_names: Names of the other files that a folder may have.

    Raises:
        TemplatesError: A file cannot be used, or a loader has no template.
    """
    builtin = loaders[0]
    texts: dict[str, Texts] = {DEFAULT: {}}
    for loader in loaders:
        names = loader.list_templates()
        if not any(name in template_names or _ANY_FILE.fullmatch(name) for name in names):
            raise TemplatesError(f"has no {', '.join(template_names)} or texts.LANGUAGE.toml")
        for name in names:
            if match := _FILE.fullmatch(name):
                with template_errors(name):
                    texts[match[1]] = texts.get(match[1], {}) | _flatten(source_of(environment, loader, name))
            elif _ANY_FILE.fullmatch(name):
                raise TemplatesError(f"{name}: a language has two or three small letters; regions are not supported")
    known = _flatten(source_of(environment, builtin, f"texts.{DEFAULT}.toml")).keys()
    for language, found in texts.items():
        for keys, what in ((found.keys() - known, "unknown"), (known - found.keys(), "missing")):
            if keys:
                raise TemplatesError(f"texts.{language}.toml: {what}: {', '.join(sorted(keys))}")
    return texts


def source_of(environment: jinja2.Environment, loader: jinja2.BaseLoader, name: str) -> str:
    """Return the source of a template."""
    return loader.get_source(environment, name)[0]


def _flatten(toml: str) -> Texts:
    texts: Texts = {}
    for key, parts in tomllib.loads(toml).items():
        if not isinstance(parts, dict):
            raise ValueError(f"must be a table: {key}")
        for part, text in parts.items():
            if not isinstance(text, str):
                raise ValueError(f"must be text: {key}.{part}")
            texts[f"{key}.{part}"] = text
    return texts

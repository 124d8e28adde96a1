"""Texts by language and name, and those of reasons.

The languages are the files `texts.LANGUAGE.toml` of a folder. Each text has a name such as `failure.HANDLER_LOST`.
"""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

DEFAULT: Final = "en"
"""The language of the command line, and of a person whose browser accepts none of the languages."""
_LANGUAGES: Final = (DEFAULT, "nl")


def read_texts(folder: Traversable) -> dict[str, dict[str, str]]:
    """Return the texts of a folder by language and name."""
    return {each: _flat(tomllib.loads((folder / f"texts.{each}.toml").read_text("utf-8"))) for each in _LANGUAGES}


def text_of(texts: Mapping[str, str], name: str) -> str:
    """Return a text.

    One that the language does not have is that of the last part of its name, or else this part as words:
    `closed_response` is "Closed response". Each language leaves out the texts that are the same.
    """
    last = name.rpartition(".")[2]
    return texts.get(name) or texts.get(last) or last.replace("_", " ").capitalize()


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    texts: dict[str, str] = {}
    for key, value in table.items():
        texts |= {f"{prefix}{key}": value} if isinstance(value, str) else _flat(value, f"{prefix}{key}.")
    return texts


TEXTS: Final = read_texts(files(__package__))
"""The texts of reasons."""

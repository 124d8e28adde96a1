"""Recipes of docs/providers.md. Every flow runs the code of that page."""

import base64
import re
import runpy

from support.tree import ROOT

PAGE = ROOT / "docs" / "providers.md"
BLOCKS = [
    (language, text.strip())
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
]
SECRET = b"whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok")
"""Secret that every sender of the page knows."""
FILES = {text.partition("\n")[0].removeprefix("# "): text for language, text in BLOCKS if language == "python"}
"""Python programs of the page, by the file name in their first line."""


def recipe(name, directory):
    """Run a recipe as a file of this name, and return the names that it defines."""
    path = directory / name
    path.write_text(FILES[name] + "\n")
    return runpy.run_path(str(path), run_name=path.stem)

"""The recipes of docs/providers.md: every flow here is run with the code that stands there."""

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
"""What every sender of the page knows."""
FILES = {text.partition("\n")[0].removeprefix("# "): text for language, text in BLOCKS if language == "python"}
"""The Python of the page, by the file name in its first line."""


def recipe(name, directory):
    """The names that a recipe defines, run as a file of this name."""
    path = directory / name
    path.write_text(FILES[name] + "\n")
    return runpy.run_path(str(path), run_name=path.stem)

"""Programs of the pages docs/providers.md and docs/guides.md. Every flow runs the code of one of them."""

import base64
import re
import runpy

from support.tree import ROOT


def blocks_of(page):
    """Return the blocks of code of a page in docs/, as pairs of language and text."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    return [(language, text.strip()) for language, text in blocks]


def files_of(blocks):
    """Return the programs among blocks of code, by the file name in their first line. PHP has it in the second one."""
    marks = {"python": "# ", "js": "// ", "go": "// ", "php": "<?php\n// "}
    return {
        text.removeprefix(marks[language]).partition("\n")[0]: text for language, text in blocks if language in marks
    }


BLOCKS = blocks_of("providers.md")
SECRET = b"whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok")
"""Secret that every sender of the page knows."""
FILES = files_of(BLOCKS)


def recipe(name, directory):
    """Run a recipe as a file of this name, and return the names that it defines."""
    path = directory / name
    path.write_text(FILES[name] + "\n")
    return run_file(path)


def run_file(path):
    """Run a file as an imported module, and return the names that it defines."""
    return runpy.run_path(str(path), run_name=path.stem)

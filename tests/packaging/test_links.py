"""The texts of the repository: what they link to is there."""

import re

import pytest
from support.tree import ROOT, tracked_files

TEXTS = {str(path.relative_to(ROOT)): path for path in tracked_files() if path.suffix == ".md"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def anchors(path):
    """What a link can name within a text: its headings, as sites that show Markdown spell them."""
    headings = HEADING.findall(re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_links_lead_somewhere(name):
    text = CODE.sub("", TEXTS[name].read_text())
    dead = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue  # another site's to keep
        target, _, anchor = link.partition("#")
        path = (TEXTS[name].parent / target).resolve() if target else TEXTS[name]
        if not path.exists() or not path.is_relative_to(ROOT) or (anchor and anchor not in anchors(path)):
            dead.append(link)
    assert dead == []


def test_every_page_of_the_documentation_is_linked_from_another_text():
    linked = {
        (path.parent / link.partition("#")[0]).resolve()
        for path in TEXTS.values()
        for link in LINK.findall(path.read_text())
    }
    pages = {path for path in TEXTS.values() if path.is_relative_to(ROOT / "docs")}
    assert {str(page.relative_to(ROOT)) for page in pages - linked} == set()

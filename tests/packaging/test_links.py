"""The texts of the repository: what they link to is there."""

import re

import pytest
from support.tree import PACKAGES, ROOT, tracked_files

TEXTS = {str(path.relative_to(ROOT)): path for path in tracked_files() if path.suffix == ".md"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([\w-][\w./-]*(?:\.py|/))`")
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


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_files_and_folders_that_a_text_names_are_there(name):
    there = "".join(f"/{path.relative_to(ROOT)}\n" for path in tracked_files())
    named = NAMED.findall(TEXTS[name].read_text())
    assert [each for each in named if f"/{each}" + ("" if each.endswith("/") else "\n") not in there] == []


def test_the_map_of_the_server_has_each_of_its_parts_once():
    text = (ROOT / "server/README.md").read_text()
    of_process = text.index("\n`callback_process`:\n")
    for package, part in ("callback_server", text[:of_process]), ("callback_process", text[of_process:]):
        modules = [path for folder in (".", "rpc") for path in (PACKAGES[package] / folder).glob("*.py")]
        folders = {f"{path.parent.name}/" for path in PACKAGES[package].glob("*/__init__.py")}
        names = {path.name for path in modules if not path.name.startswith("__")} | folders
        assert sorted(name for name in NAMED.findall(part) if name in names) == sorted(names)


def test_the_map_of_the_project_has_every_folder_and_package():
    named = NAMED.findall((ROOT / "README.md").read_text())
    folders = {path.relative_to(ROOT).parts[0] for path in tracked_files() if path.parent != ROOT}
    assert {name.split("/")[0] for name in named} >= {name for name in folders if not name.startswith(".")}
    assert set(named) >= {f"{folder.relative_to(ROOT)}/" for folder in PACKAGES.values()}

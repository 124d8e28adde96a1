"""Links and names in the Markdown pages of the repository."""

import re

import pytest
from support.tree import PACKAGES, ROOT, tracked_files

TEXTS = {str(path.relative_to(ROOT)): path for path in tracked_files() if path.suffix == ".md"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([\w-][\w./-]*(?:\.py|/))`")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def anchors(path):
    """Return the anchors of a page: its headings, in the form that Markdown sites use."""
    headings = HEADING.findall(re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_link_has_a_target(name):
    text = CODE.sub("", TEXTS[name].read_text())
    dead = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue  # a link to another site
        target, _, anchor = link.partition("#")
        path = (TEXTS[name].parent / target).resolve() if target else TEXTS[name]
        if not path.exists() or not path.is_relative_to(ROOT) or (anchor and anchor not in anchors(path)):
            dead.append(link)
    assert dead == []


def test_every_page_of_the_documentation_is_linked_from_another_page():
    linked = {
        (path.parent / link.partition("#")[0]).resolve()
        for path in TEXTS.values()
        for link in LINK.findall(path.read_text())
    }
    pages = {path for path in TEXTS.values() if path.is_relative_to(ROOT / "docs")}
    assert {str(page.relative_to(ROOT)) for page in pages - linked} == set()


@pytest.fixture(scope="module")
def there():
    """Return the paths of all files, each in a line."""
    return "".join(f"/{path.relative_to(ROOT)}\n" for path in tracked_files())


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_files_and_folders_that_a_page_names_exist(name, there):
    named = NAMED.findall(TEXTS[name].read_text())
    assert [each for each in named if f"/{each}" + ("" if each.endswith("/") else "\n") not in there] == []


@pytest.mark.parametrize("package", ["callback_server", "callback_process", "callback_launcher", "callback_up"])
def test_the_map_of_the_server_lists_each_module_and_folder_once(package):
    text = (ROOT / "server/README.md").read_text()
    table = text.partition(f"\n`{package}`:\n")[2].partition("\n`callback_")[0]
    modules = {path.name for path in PACKAGES[package].glob("*.py") if not path.name.startswith("__")}
    folders = {f"{path.parent.name}/" for path in PACKAGES[package].glob("*/__init__.py")}
    listed = [
        name.removeprefix(f"{package}/")
        for row in table.splitlines()
        for name in NAMED.findall(row.split("|")[1] if "|" in row else "")
    ]
    assert sorted(listed) == sorted(modules | folders)


def test_the_map_of_the_project_lists_every_folder_and_package():
    named = NAMED.findall((ROOT / "README.md").read_text())
    folders = {path.relative_to(ROOT).parts[0] for path in tracked_files() if path.parent != ROOT}
    assert {name.split("/")[0] for name in named} >= {name for name in folders if not name.startswith(".")}
    assert set(named) >= {f"{folder.relative_to(ROOT)}/" for folder in PACKAGES.values()}

"""The repository: locks, tasks, and text that no file may contain."""

import re
import runpy
import subprocess
import sys
import tomllib
from collections import Counter

import pytest
from packaging.requirements import Requirement
from support.tree import PACKAGES, ROOT, tracked_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]

# Split, so that this file does not match.
REGISTRIES = [
    "pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "npmjs" + ".com", "yarnpkg" + ".com", "crates" + ".io",
    "proxy" + ".golang.org", "repo" + ".maven.apache", "rubygems" + ".org", "debian" + ".org",
    "archive.ubuntu" + ".com",
]  # fmt: skip
MACHINE_PATHS = ["/wo" + "rk/", "/ro" + "ot/", "/tmp" + "/env", ".pye" + "nv/", "/opt" + "/wheels"]


@pytest.mark.parametrize("words", [REGISTRIES, MACHINE_PATHS], ids=["registries", "paths of a machine"])
def test_no_file_contains(words):
    pattern = re.compile("|".join(map(re.escape, words)).encode())
    found = {str(path.relative_to(ROOT)): m[0] for path in tracked_files() if (m := pattern.search(path.read_bytes()))}
    assert found == {}


def test_a_file_of_tests_has_a_name_of_its_own():
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_table_of_rooms_is_true():
    """Each folder of the table in README.md exists, and each folder with modules of a package is in its rows."""
    rows = (ROOT / "README.md").read_text().partition("\n## Where things are\n")[2].partition("\n\n[CONTR")[0]
    top, said = ROOT, {}
    for nested, folders, content in re.findall(r"^\| (&nbsp;&nbsp;)?(`.+?`) \| (.+) \|$", rows, re.MULTILINE):
        names = re.findall(r"`([^`]+)`", folders)
        if not nested:
            top = ROOT / names[0]
        for name in names:
            assert (top / name if nested else ROOT / name).exists(), name
        said.setdefault(top, set()).update(re.findall(r"`(?:\w+/)*(\w+)/`", f"{folders} {content}"))
    for package in PACKAGES.values():
        rooms = {path.parent.name for path in package.glob("*/*.py")}
        assert rooms - said[package] == set(), package


def locked(name):
    """Return the versions of a lock by name: several if they depend on the version of Python."""
    versions = {}
    for line in (ROOT / "requirements" / f"{name}.lock").read_text().splitlines():
        if found := re.match(r"([a-z0-9.-]+)==(\S+)", line):
            versions.setdefault(found[1], set()).add(found[2])
    return versions


def asked(group):
    """Yield the requirements of a dependency group, including nested groups."""
    for item in GROUPS[group]:
        if isinstance(item, dict):
            yield from asked(item["include-group"])
        else:
            yield item


@pytest.mark.parametrize(("lock", "group"), [("up", "build"), ("dev", "dev"), ("bench", "bench"), ("guides", "guides")])
def test_a_lock_has_a_matching_version_of_every_requirement(lock, group):
    versions = locked(lock)
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *extras["server"], *extras["up"], *asked(group)]
    for requirement in map(Requirement, wanted):
        if requirement.name != "callback":
            found = versions.get(requirement.name.lower().replace("_", "-"), set())
            assert any(requirement.specifier.contains(version) for version in found), requirement


@pytest.mark.parametrize(("more", "less"), [("dev", "up"), ("bench", "dev"), ("guides", "dev")])
def test_tests_and_benchmarks_use_the_versions_that_run(more, less):
    versions, those = locked(less), locked(more)
    assert {name: those.get(name) for name in versions} == versions


@pytest.mark.parametrize("lock", ["up", "dev", "bench", "guides"])
def test_everything_in_a_lock_has_a_hash(lock):
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 30
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_tasks_explain_themselves_on_a_bare_python():
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "tasks.py")], capture_output=True, text=True, check=True
    )
    listed = re.findall(r"^  (\w+) +\S", done.stdout, flags=re.MULTILINE)
    assert listed == [
        "up", "quick", "test", "soak", "guides", "matrix", "stubs", "bench", "script", "lint", "types", "generate",
        "lock", "build", "sbom", "docs",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"), [(["paint"], "no such task: paint"), (["lint", "walls"], "lint takes no arguments")]
)
def test_an_unknown_or_wrongly_used_task_is_an_error(arguments, told):
    main = runpy.run_path(str(ROOT / "tasks.py"))["main"]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code.strip() == told

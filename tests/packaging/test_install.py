"""Installation into another project: from git, as the page says it, and never by a name that is not ours."""

import os
import re
import subprocess
import sys
import sysconfig
import venv

import pytest
from support.installed import VERSION
from support.tools import require
from support.tree import ROOT, tracked_files

PAGE = (ROOT / "docs" / "install.md").read_text()
COMMANDS = re.compile(r"\b(?:pip3?|pipx|uvx?|npm|npx|pnpm|yarn|go)(?: tool)? (?:install|add|get|i|exec)\b[^\n`]*")
UNOWNED = re.compile(
    r"(?<![\w./@:-])(?:callback(?:\[[\w,-]+\])?(?! ?@)(?![\w./\[-])|@callback/[\w-]+|callback\.example/)"
)
"""Our name as the name of a package in a registry: without a path before it, and without an address after it."""


def unowned(text):
    """Return the commands in a text that install by a name in a registry that is not ours."""
    return [found[0] for found in COMMANDS.finditer(text) if UNOWNED.search(found[0])]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Install it with: pip install 'callback[up]'", 1),
        ("pip install callback", 1),
        ("`uv add callback[cli]`", 1),
        ("npm install @callback/client", 1),
        ("go get callback.example/callback", 1),
        ("pip install './callback-0.1.0-py3-none-any.whl[cli]'", 0),
        ("pip install 'callback[cli] @ git+https://git.example/team/callback@COMMIT'", 0),
        ('npm install "$CALLBACK"/clients/typescript/callback-client-*.tgz', 0),
        ("pip install pytest", 0),
    ],
)
def test_a_name_in_a_registry_is_told_from_a_file_and_an_address(text, count):
    assert len(unowned(text)) == count


def test_no_message_and_no_page_installs_a_name_that_is_not_ours():
    told = {}
    for path in tracked_files():
        if path.suffix in (".py", ".md", ".toml", ".go", ".ts", ".json", ".html", ".yaml", ".proto", "") and (
            path.name != "test_install.py"
        ):
            told[str(path.relative_to(ROOT))] = unowned(path.read_text(errors="replace"))
    assert {name: found for name, found in told.items() if found} == {}


def test_the_command_for_git_installs_this_repository_with_its_command_line(tmp_path):
    require("git")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (line,) = re.findall(r"^pip install (.*git\+.*)$", PAGE, re.MULTILINE)
    address = "https://git.example/team/callback@COMMIT"
    assert address in line
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env/bin/python"
    # Its requirements are those of this environment, so that no registry is needed.
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", line.strip("'").replace(address, f"file://localhost{ROOT}@{commit.strip()}")],
        env=environment, check=True, capture_output=True,
    )  # fmt: skip
    command = [tmp_path / "env/bin/callback", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "callback up" in done.stdout
    place = subprocess.run(
        [python, "-c", "import callback; print(callback.__file__)"], env=environment, capture_output=True, text=True,
        check=True, cwd=tmp_path,
    )  # fmt: skip
    assert place.stdout.startswith(str(tmp_path))


def test_the_wheel_of_the_page_has_the_name_that_the_build_gives_it():
    names = set(re.findall(r"callback-[\w.+*-]+\.whl", PAGE))
    assert names == {f"callback-{VERSION}+*.whl"}

"""Tasks: tests that fail among all others run again by themselves, and only what fails twice is an error."""

import os
import subprocess
import sys
from pathlib import Path

from support.tree import ROOT

BY_CHANCE = """
from pathlib import Path

def test_that_fails_by_chance():
    ran = Path("ran")
    before, _ = ran.exists(), ran.touch()
    assert before
"""
ALWAYS = """
def test_that_always_fails():
    assert not "ever"
"""
MANY = """
import pytest

@pytest.mark.parametrize("number", range(11))
def test_that_fails(number):
    assert not "ever"
"""


CRASH = """
import os
from pathlib import Path

def test_whose_process_crashes():
    if not Path("crashed").exists():
        Path("crashed").touch()
        os._exit(1)
"""


def run_all(folder, *options, **sources):
    """Run the tests of these modules as all tests there are, and return the ended process."""
    for name, source in sources.items():
        (folder / f"test_{name}.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    source = "import pathlib, tasks; tasks.ROOT = pathlib.Path.cwd(); tasks.TASKS['all'] = tasks.run_all; "
    source += f"tasks.main(['all', *{options}])"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
    }
    return subprocess.run(
        [sys.executable, "-c", source], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_failure_by_chance_is_named_and_is_no_error(tmp_path):
    ended = run_all(tmp_path, chance=BY_CHANCE, good="def test_that_passes(): pass")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    *_, head, name = ended.stdout.splitlines()
    assert head == "these passed by themselves, but failed among all tests:"
    assert name == "  test_chance.py::test_that_fails_by_chance"


def test_what_fails_twice_is_an_error(tmp_path):
    ended = run_all(tmp_path, chance=BY_CHANCE, always=ALWAYS)
    assert ended.returncode == 1
    assert "passed by themselves" not in ended.stdout


def test_many_failures_are_an_error_at_once(tmp_path):
    ended = run_all(tmp_path, many=MANY)
    assert ended.returncode == 1
    assert "run again" not in ended.stdout


def test_a_crash_is_an_error_at_once_because_tests_were_not_run(tmp_path):
    options = "-pxdist", "-psupport.crashes", "--numprocesses=2", "--dist=loadfile", "--max-worker-restart=0"
    ended = run_all(tmp_path, *options, crash=CRASH, good="def test_that_passes(): pass")
    assert ended.returncode == 3
    assert "run again" not in ended.stdout

"""Toolchains of the other languages, as `tasks.py` knows them."""

import importlib.util
import os
import sys

import pytest
from support.tree import ROOT


def language_problem(language):
    """Return why programs of a language cannot be built and run. None: they can."""
    spec = importlib.util.spec_from_file_location("tasks", ROOT / "tasks.py")
    tasks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tasks)
    return tasks.language_problem(language)


def require_language(language):
    """Skip the test if its toolchain is missing or too old. Under CI, fail."""
    if problem := language_problem(language):
        assert os.environ.get("CI") != "true", problem
        pytest.skip(problem)


def callback_command():
    """Return the command line of Callback, for test fixtures that start a system."""
    return f"{sys.executable} -P -m callback_cli"

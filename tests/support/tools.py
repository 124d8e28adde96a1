"""Programs that tests need and that are not Python packages. Under CI a missing one is a failure, never a skip."""

import os
import shutil

import pytest


def require(program):
    """The path of a program on PATH; skips the test, by name, if there is none, and fails it under CI."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return found

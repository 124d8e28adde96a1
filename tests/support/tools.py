"""Programs that tests need and that are not Python packages. In CI a missing program is a failure, not a skip."""

import os
import shutil

import pytest


def require(program):
    """Return the path of a program. If it is missing, skip the test with its name; in CI, fail it."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return found

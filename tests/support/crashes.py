"""A test process that crashes ends the run with an error of its own: the tests that it would have run were not run."""

import pytest

CRASHED = 3
"""The status of a run in which a test process crashed: that of an internal error of pytest."""

_errors = []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Note an end of a test process that it did not announce. The hook is that of xdist."""
    if error:
        _errors.append(error)


def pytest_sessionfinish(session):
    if _errors:
        session.exitstatus = CRASHED

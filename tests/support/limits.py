"""Other values of constants while a test runs: limits, intervals, clocks, tables. Tests patch nothing else."""

import contextlib

import pytest


@contextlib.contextmanager
def limited(module, **values):
    """Give constants of a module other values: `with limited(sweeper, SWEEP_INTERVAL_S=0.1):`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            assert name.isupper(), f"{name} is no constant"
            patch.setattr(module, name, value)
        yield

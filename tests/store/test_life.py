"""The life of a case: the scripts agree with the model after every step."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from soak.counts import count
from store.machine.life_machine import machine_on
from support.store import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_the_scripts_and_the_model_agree_after_every_step(store_of, kind):
    reduced = 10 if kind == KINDS[0] else 3  # the others run the same scripts
    counts = settings(max_examples=count(reduced, 2500), stateful_step_count=count(30, 50))
    with machine_on(store_of(kind)) as machine:
        run_state_machine_as_test(machine, settings=counts)

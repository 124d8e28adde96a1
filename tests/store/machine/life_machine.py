"""A Hypothesis state machine: the scripts on a real store against the model, everything compared after each step.

A file of steps does one thing on the store and on the model, and compares the replies. A file of rules combines steps.
"""

import asyncio
import contextlib

import pytest
from store.machine.caller_rules import CallerRules
from store.machine.comparison import Comparison
from store.machine.delivery_rules import DeliveryRules
from store.machine.end_rules import EndRules
from store.machine.list_rules import ListRules
from store.machine.owner_rules import OwnerRules
from store.machine.time_rules import TimeRules
from store.machine.values import MOST_HELD, RESOLVED_AT_ONCE

from callback_server.store.connection import client as connection
from callback_server.store.connection import pipelined_connection
from callback_server.store.connection.client import connect
from callback_server.store.scripts import Scripts
from callback_server.store.transitions import claim_call as claims
from callback_server.store.transitions import resolve_case as resolutions


class LifeMachine(OwnerRules, CallerRules, EndRules, DeliveryRules, TimeRules, ListRules, Comparison):
    """The machine with all rules. Made by `machine_on`."""


@contextlib.contextmanager
def machine_on(store):
    """Return the class of the machine for a store."""
    loop = asyncio.new_event_loop()
    with pytest.MonkeyPatch.context() as patch:
        # A disk that is slow once fails one example, which does not fail again: Hypothesis takes that for a strategy
        # that depends on more than what was drawn.
        for module in (connection, pipelined_connection):
            patch.setattr(module, "SOCKET_TIMEOUT_S", 60.0)
        patch.setattr(claims, "MAX_HELD_CALLS", MOST_HELD)
        patch.setattr(resolutions, "BATCH_CALLS", RESOLVED_AT_ONCE)
        client = connect(store.url)
        due = []
        scripts = Scripts(client, due.append)
        yield type("Machine", (LifeMachine,), {"loop": loop, "client": client, "scripts": scripts, "due": due})
        loop.run_until_complete(client.aclose())
        loop.close()

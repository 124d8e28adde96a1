"""A Hypothesis state machine: the scripts on a real store against the model, everything compared after each step.

Each part has steps, which do one thing on the store and on the model and compare the replies, and rules, which combine
steps, also of other parts.
"""

import asyncio
import contextlib

from store.machine.cases import Cases
from store.machine.claims import Claims
from store.machine.comparison import Comparison
from store.machine.deliveries import Deliveries
from store.machine.ends import Ends
from store.machine.lists import Lists
from store.machine.times import Times
from store.machine.values import MOST_HELD, RESOLVED_AT_ONCE
from support.cases import reports_of
from support.limits import limited

from callback_server.store.connection import client as connection
from callback_server.store.connection import pipelined_connection
from callback_server.store.connection.client import connect
from callback_server.store.scripts import Scripts
from callback_server.store.transitions import claim_call as claims
from callback_server.store.transitions import resolve_case as resolutions


class LifeMachine(Cases, Claims, Ends, Deliveries, Times, Lists, Comparison):
    """The machine with all rules. Made by `machine_on`."""


@contextlib.contextmanager
def machine_on(store):
    """Return the class of the machine for a store."""
    loop = asyncio.new_event_loop()
    with (
        # A disk that is slow once fails one example, which does not fail again: Hypothesis takes that for a strategy
        # that depends on more than what was drawn.
        limited(connection, SOCKET_TIMEOUT_S=60.0),
        limited(pipelined_connection, SOCKET_TIMEOUT_S=60.0),
        limited(claims, MAX_HELD_CALLS=MOST_HELD),
        limited(resolutions, BATCH_CALLS=RESOLVED_AT_ONCE),
    ):
        client = connect(store.url)
        scripts = Scripts(client)
        due = reports_of(scripts)
        yield type("Machine", (LifeMachine,), {"loop": loop, "client": client, "scripts": scripts, "due": due})
        loop.run_until_complete(client.aclose())
        loop.close()

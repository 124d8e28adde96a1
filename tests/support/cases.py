"""Cases on a store: they are made, called and ended by the scripts, without a control plane."""

import contextlib
from typing import get_args

from callback_server.domain import ids
from callback_server.domain.activity import Activity, Leases
from callback_server.domain.call import CallStatus, Outcome, Request, identity_of
from callback_server.domain.case import CallMode, NewCase, Settings
from callback_server.domain.guard import RequestIntent
from callback_server.domain.reports import Report
from callback_server.domain.response import Response, ResponseType
from callback_server.domain.verification import UNVERIFIED
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.epochs.fence import EpochFence
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.apply_retention import apply_retention
from callback_server.store.transitions.claim_call import claim_call
from callback_server.store.transitions.close_case import close_case
from callback_server.store.transitions.create_cases import create_cases
from callback_server.store.transitions.erase_calls import erase_calls
from callback_server.store.transitions.finish_call import finish_call
from callback_server.store.transitions.sweep_partition import sweep_partition
from callback_server.store.transitions.take_deliveries import take_deliveries

LEASES = Leases({"push": Activity("push")})
DONE = Outcome(CallStatus.SUCCEEDED, Response(type=ResponseType.RESPONSE, code=200, headers=(), body=b""))
RECORDING = Recording()


def new_case(*, states=None, partition=None, **fields):
    """Return a new case with the first of some states (default: random ones) that leads to the partition, if given."""
    hashes = map(ids.state_hash, states or iter(ids.new_state, None))
    sha = next(sha for sha in hashes if partition in (None, keys.partition_of(ids.case_id_of(sha))))
    fields = {
        "fingerprint": b"f" * 32, "owner": "shop", "activity": "push", "mode": CallMode.MULTIPLE,
        "state_query_parameter": "", "time_to_live_ms": None, "settings": Settings(),
        "response": Response(type=ResponseType.RESPONSE),
    } | fields  # fmt: skip
    return NewCase(id=ids.case_id_of(sha), state_sha256=sha, **fields)


def reports_of(scripts):
    """Return a list to which each report of the scripts is appended."""
    reports = []
    for kind in get_args(Report):
        scripts.receive(kind, reports.append)
    return reports


@contextlib.asynccontextmanager
async def cases_on(store, **options):
    """Connect to a store, and yield its `Cases`."""
    async with connect(store.url) as client:
        yield Cases(client, **options)


class Cases:
    """Cases on one store. `due` has what the scripts report."""

    def __init__(self, client, *, leases=LEASES, recording=RECORDING, replicas=0, epochs=None, never_loses=True):
        self.client = client
        fence = None if epochs is None else EpochFence(epochs, replicas=replicas, never_loses=never_loses)
        self.scripts = Scripts(client, replicas=replicas, fence=fence)
        self.due = reports_of(self.scripts)
        self.leases, self.recording = leases, recording

    async def new(self, activity="push", mode=CallMode.MULTIPLE, **fields):
        """Create a case, with fields of `new_case`."""
        case = new_case(activity=activity, mode=mode, **fields)
        await create_cases(self.scripts, [case], recording=Recording())
        return case

    async def claim(self, case, call_id=None, *, body=b"", recording=None, verification=UNVERIFIED):
        """Claim a case for a request."""
        request = Request("post", body=body)
        return await claim_call(
            self.scripts, call_id=call_id or ids.new_call_id(case.id), state_sha256=case.state_sha256, parameter="",
            request=request, sent=identity_of(request), intent=RequestIntent.CALL, verification=verification,
            leases=self.leases, recording=recording or self.recording, platform_url=None, calls_per_minute=None,
            limited_owners=[], replica="", can_deliver=False,
        )  # fmt: skip

    async def finish(self, call_id, *, recording=None, outcome=DONE):
        """End a call."""
        recording = recording or self.recording
        return await finish_call(self.scripts, call_id=call_id, outcome=outcome, recording=recording)

    async def close(self, case_id, *, audit=b""):
        """Close a case."""
        return await close_case(self.scripts, case_id, owner=None, recording=self.recording, audit=audit)

    async def erase(self, case_id, erasure="one"):
        """Erase the calls of a case."""
        return await erase_calls(self.scripts, case_id, owner=None, erasure=erasure, before=None)

    async def sweep(self, partition):
        """Apply what is due in a partition."""
        return await sweep_partition(self.scripts, partition, recording=self.recording)

    async def retain(self, partition, *, retention_ms):
        """Delete what is past this retention in a partition."""
        return await apply_retention(self.scripts, partition, retention_ms=retention_ms)

    async def take(self, partition, *, limit=50, turn=0, notifications=False):
        """Take deliveries that are due in a partition. Return them, and whether there are more."""
        return await take_deliveries(
            self.scripts, partition, limit=limit, turn=turn, leases=self.leases, recording=self.recording,
            notifications=notifications,
        )  # fmt: skip

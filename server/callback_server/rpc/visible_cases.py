"""Cases and calls as a principal sees them. What it may not see does not exist for it."""

from __future__ import annotations

from collections.abc import Sequence

from callback.v1 import callback_pb2 as pb
from callback_server import errors
from callback_server.access.roles import Principal, Role
from callback_server.calls.case_changes import read_visible_case
from callback_server.contract import converters
from callback_server.domain import ids
from callback_server.domain.call import Call, DeliveryStatus
from callback_server.domain.case import Case
from callback_server.store.queries.read import (
    read_call,
    read_cases,
    read_notifications,
)
from callback_server.store.queries.read_pauses import is_paused
from callback_server.store.scripts import Scripts


class VisibleCases:
    """Reads cases and calls for principals."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def shown_case(self, case_id: str, caller: Principal) -> pb.Callback:
        """Return a case with its notifications, as the contract shows it.

        Raises:
            CaseNotFoundError: The principal sees no such case.
            StoreError: The store does not answer.
        """
        case = await self.case(case_id, caller)
        message = converters.case_to(case)
        if case.notify:
            message.notifications.extend(await self.shown(case, await read_notifications(self._scripts, case)))
        return message

    async def shown_call(self, call_id: str, caller: Principal, *, also_deleted: bool = False) -> pb.Call:
        """Return a call as the contract shows it.

        Raises:
            CallNotFoundError: The principal sees no such call.
            StoreError: The store does not answer.
        """
        case, call = await self.call(call_id, caller, also_deleted=also_deleted)
        return (await self.shown(case, [call]))[0]

    async def shown(self, case: Case, calls: Sequence[Call]) -> list[pb.Call]:
        """Convert calls of a case, each with whether its delivery is paused."""
        waits = any(call.delivery and call.delivery.status is DeliveryStatus.PENDING for call in calls)
        paused = waits and await is_paused(self._scripts, case.activity)
        return [converters.call_to(call, paused=paused, prompt=case.settings.prompt) for call in calls]

    async def call(self, call_id: str, caller: Principal, *, also_deleted: bool = False) -> tuple[Case, Call]:
        """Return a call and its case.

        Raises:
            CallNotFoundError: The principal sees no such call.
            StoreError: The store does not answer.
        """
        (case,) = await read_cases(self._scripts, [ids.case_id_of_call(call_id)], bodies=False)
        call = None
        if case and caller.sees(case.owner, case.activity):
            call = await read_call(self._scripts, call_id, also_deleted=also_deleted)
        if case is None or call is None:
            raise errors.CallNotFoundError
        return case, call

    async def case(self, case_id: str, caller: Principal) -> Case:
        """Return a case.

        Raises:
            CaseNotFoundError: The principal sees no such case.
            StoreError: The store does not answer.
        """
        case = await read_visible_case(self._scripts, case_id, owner=None)
        if not caller.sees(case.owner, case.activity):
            raise errors.CaseNotFoundError
        return case

    async def owned_case(self, case_id: str, caller: Principal) -> Case:
        """Return a case of the principal itself, or of anyone for an administrator.

        Raises:
            CaseNotFoundError: The principal owns no such case.
            StoreError: The store does not answer.
        """
        case = await self.case(case_id, caller)
        if not caller.owns(case.owner, case.activity):
            raise errors.CaseNotFoundError
        return case


def require_visible_owner(caller: Principal, owner: str) -> None:
    """Check that a principal may list for an owner. Raise RoleMissingError if it may not."""
    if owner != caller.name and not caller.sees_other_owners:
        raise errors.RoleMissingError(caller.name, Role.ADMIN)

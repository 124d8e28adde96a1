"""The servicer of `ProfilesService`: owners make verification profiles, and change their secrets."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from callback.v1 import profiles_service_pb2 as pb2
from callback.v1 import profiles_service_pb2_grpc as pb2_grpc
from callback_process.logs import get_logger
from callback_server.access.authenticator import Authenticator
from callback_server.access.roles import Principal, Role
from callback_server.contract.conversion import to_message
from callback_server.domain.own_profile import OwnProfile
from callback_server.errors import InvalidRequestError, Violation
from callback_server.profiles.changes import ProfileChanges, ProfileUpdate
from callback_server.profiles.check import ProfileChecks
from callback_server.profiles.own_profiles import decode_stored
from callback_server.rpc.method import rpc
from callback_server.rpc.paging import ListQueue, milliseconds, page_size, page_token, read_page_token
from callback_server.rpc.visible_cases import VisibleCases
from callback_server.store.queries.read_profiles import list_profiles
from callback_server.store.scripts import Scripts
from callback_server.verification.request_text import RequestFormatError, check_url, parse_request

log = get_logger()

MAX_PROFILES_PER_PAGE: Final = 100


@dataclass(eq=False, slots=True)
class ProfilesServicer(pb2_grpc.ProfilesServiceServicer):
    """Keeps the profiles of owners. Each principal has its own, also an administrator."""

    scripts: Scripts
    authenticator: Authenticator
    changes: ProfileChanges
    checks: ProfileChecks
    lists: ListQueue
    _visible: VisibleCases = field(init=False)

    def __post_init__(self) -> None:
        """Create what the methods share."""
        self._visible = VisibleCases(self.scripts)

    @rpc(Role.OWNER)
    async def CreateProfile(self, request: pb2.CreateProfileRequest, caller: Principal) -> pb2.CreateProfileResponse:
        """Store a new profile."""
        secrets = [each.encode() for each in request.secrets]
        made = await self.changes.create(caller.name, request.name, request.kind, request.settings, secrets)
        log.info("profile_created", owner=caller.name, profile=request.name, kind=request.kind)
        return pb2.CreateProfileResponse(profile=self._profile_to(caller, request.name, made))

    @rpc(Role.OWNER)
    async def GetProfile(self, request: pb2.GetProfileRequest, caller: Principal) -> pb2.GetProfileResponse:
        """Return a profile."""
        found = await self.changes.get(caller.name, request.name)
        return pb2.GetProfileResponse(profile=self._profile_to(caller, request.name, found))

    @rpc(Role.OWNER)
    async def ListProfiles(self, request: pb2.ListProfilesRequest, caller: Principal) -> pb2.ListProfilesResponse:
        """Return a page of profiles."""
        async with self.lists.turn(caller):
            found, more = await list_profiles(
                self.scripts,
                caller.name,
                after=read_page_token(str, request.page_token, request) or "",
                limit=page_size(request.page_size, MAX_PROFILES_PER_PAGE),
            )
        stored = {name: decode_stored(caller.name, name, content) for name, content in found.items()}
        return pb2.ListProfilesResponse(
            profiles=[self._profile_to(caller, name, each) for name, each in stored.items() if each is not None],
            next_page_token=page_token(request, more),
        )

    @rpc(Role.OWNER)
    async def UpdateProfile(self, request: pb2.UpdateProfileRequest, caller: Principal) -> pb2.UpdateProfileResponse:
        """Change a profile."""
        update = ProfileUpdate(
            settings=request.settings if request.HasField("settings") else None,
            added=[each.encode() for each in request.added_secrets],
            retired=list(request.retired_secret_ids),
            retire_time_ms=milliseconds(request.retire_time, "retire_time")
            if request.HasField("retire_time")
            else None,
        )
        changed = await self.changes.update(caller.name, request.name, update)
        log.info("profile_updated", owner=caller.name, profile=request.name)
        return pb2.UpdateProfileResponse(profile=self._profile_to(caller, request.name, changed))

    @rpc(Role.OWNER)
    async def DeleteProfile(self, request: pb2.DeleteProfileRequest, caller: Principal) -> pb2.DeleteProfileResponse:
        """Delete a profile."""
        await self.changes.delete(caller.name, request.name)
        log.info("profile_deleted", owner=caller.name, profile=request.name)
        return pb2.DeleteProfileResponse()

    @rpc(Role.OWNER)
    async def CheckProfile(self, request: pb2.CheckProfileRequest, caller: Principal) -> pb2.CheckProfileResponse:
        """Check whether a request passes a profile."""
        if bool(request.call_id) == bool(request.http_request):
            problem = "give either call_id or http_request"
            raise InvalidRequestError([Violation("call_id", "exclusive", problem)])
        self.checks.charge(caller.name)
        if request.call_id:
            _, call = await self._visible.call(request.call_id, caller)
            result = await self.checks.check_call(caller.name, request.name, call, request.url)
            return to_message(pb2.CheckProfileResponse, result)
        try:
            given, found = parse_request(request.http_request)
            url = request.url or found
            check_url(url)
        except RequestFormatError as error:
            raise InvalidRequestError([Violation("http_request", "format", str(error))]) from None
        now = time.time()
        if request.HasField("arrival_time"):
            now = milliseconds(request.arrival_time, "arrival_time") / 1000
        result = await self.checks.check(caller.name, request.name, given, url, now)
        return to_message(pb2.CheckProfileResponse, result)

    def _profile_to(self, caller: Principal, name: str, profile: OwnProfile) -> pb2.Profile:
        secrets = [to_message(pb2.ProfileSecret, each, secret_id=each.id) for each in profile.secrets]
        problem = self.changes.problem(caller.name, name, profile)
        return to_message(pb2.Profile, profile, name=name, secrets=secrets, problem=problem)

"""Preconditions of a claim: verification, confirmation, or that a person sent the request.

A verification runs on the event loop. For the largest body that an edge accepts (8 MiB) an HMAC takes milliseconds, and
so does the search for a message id in its JSON. That search runs only after the signature was found right. A profile
that must read the body earlier, for the signature, the time or signed members, refuses one of more than 1 MiB.
"""

from __future__ import annotations

import traceback

from msgspec.structs import replace

from callback_process.logs import get_logger
from callback_server import errors, metrics
from callback_server.calls.pending_call import PendingCall
from callback_server.domain.call import Request, RequestIdentity, identity_of, message_digest
from callback_server.domain.case import Prompt
from callback_server.domain.endpoint import EventTarget
from callback_server.domain.form import MAX_ENTERED_CHARS, check_fields, read_form
from callback_server.domain.guard import (
    CHOICE_PARAMETER,
    CONFIRM_PARAMETER,
    RequestIntent,
    by_agent,
    choice_of,
    confirmed,
)
from callback_server.domain.url import event_url, request_url
from callback_server.domain.verification import UNVERIFIED, Verification
from callback_server.errors import Violation
from callback_server.profiles.own_profiles import VerificationProfiles
from callback_server.store.connection.errors import StoreError
from callback_server.store.failure_log import log_store_error
from callback_server.store.transitions.claim_call import (
    ClaimRefusal,
    ClaimResult,
    ConfirmationRequired,
    VerificationRequired,
)
from callback_server.verification.profile import FailureReason, VerificationError
from callback_server.verification.profiles import Profile

log = get_logger()

KEYS_RETRY_S = 10
"""Time after which a sender whose keys are not known yet may try again, in seconds."""


class PreconditionChecker:
    """Checks the preconditions that the store requires before it grants a claim. Each check runs once."""

    def __init__(self, profiles: VerificationProfiles, *, box_url: str) -> None:
        """Create a checker.

        Args:
            profiles: The verification profiles.
            box_url: The base of the URLs of cases without an alternative domain; senders sign over the URL.
        """
        self._profiles = profiles
        self._box_url = box_url

    async def check(self, pending: PendingCall, result: ClaimResult) -> PendingCall | None:
        """Check the precondition that this result of a claim requires.

        Returns:
            The pending call to claim again, or None if there are no more checks.

        Raises:
            VerificationFailedError: The request does not pass the verification.
            VerificationUnavailableError: This server does not know the profile, or not yet its keys.
            StoreUnavailableError: The profile could not be read.
        """
        if isinstance(result, VerificationRequired):
            if pending.verification is not UNVERIFIED:
                return None
            with metrics.VERIFY_SECONDS.time():
                return await self._verify(pending, result, self._url_of(pending, result))
        if isinstance(result, ConfirmationRequired):
            return _confirmed(pending, result.prompt)
        if (
            result is ClaimRefusal.AGENT
            and pending.intent is not RequestIntent.PERSON
            and not by_agent(pending.request)
        ):
            return replace(pending, intent=RequestIntent.PERSON)
        return None

    async def check_event(self, pending: PendingCall, target: EventTarget) -> PendingCall:
        """Verify an event by the profile of its endpoint, or find its handshake.

        Raises:
            VerificationFailedError: The event does not pass the verification.
            VerificationUnavailableError: This server does not know the profile, or not yet its keys.
            StateUnknownError: The request asks for a handshake that the profile does not have.
            StoreUnavailableError: The profile could not be read.
        """
        endpoint = target.endpoint
        required = VerificationRequired(endpoint.profile, "", endpoint.owner)
        url = event_url(self._box_url, endpoint.name, target.path, pending.request.query_string)
        with metrics.VERIFY_SECONDS.time():
            verified = await self._verify(pending, required, url)
        if pending.intent is RequestIntent.OPTIONS and verified.handshake is None:
            raise errors.StateUnknownError
        return verified

    async def check_head(self, pending: PendingCall, required: VerificationRequired) -> PendingCall | None:
        """Verify a request whose body was not read. Return None if its body can decide what it is.

        Raises:
            VerificationFailedError: The request does not pass the verification, whatever its body is.
            VerificationUnavailableError: This server does not know the profile, or not yet its keys.
            StoreUnavailableError: The profile could not be read.
        """
        profile = await self._find(required)
        if profile is not None and profile.reads_body:
            return None
        verified = await self._verify(pending, required, self._url_of(pending, required))
        # A message with an id can be a repeat, which gets its answer whatever the status of the case is.
        return None if verified.verification.message_sha256 else verified

    async def _find(self, required: VerificationRequired) -> Profile | None:
        try:
            return await self._profiles.find(required.owner, required.profile)
        except StoreError as error:
            log_store_error("profile_not_read", error)
            raise errors.StoreUnavailableError(is_full=error.is_full) from error

    def _url_of(self, pending: PendingCall, required: VerificationRequired) -> str:
        base = required.alternative_domain or self._box_url
        return request_url(base, pending.state, pending.parameter, pending.request.query_string)

    async def _verify(self, pending: PendingCall, required: VerificationRequired, url: str) -> PendingCall:
        name = required.profile
        profile = await self._find(required)
        if profile is None:
            log.error("profile_missing", **pending.log_fields, profile=name)
            raise errors.VerificationUnavailableError
        is_event = pending.event is not None
        try:
            return _verified(pending, name, profile, url)
        except VerificationError as error:
            reason, why, enforced = error.reason, str(error), is_event or (profile.enforce and not error.is_notice)
            profile.want_keys(error, owner=required.owner, url=url)
            log.warning(
                "verification_failed",
                **pending.log_fields,
                profile=name,
                why=why,
                reason=str(reason),
                enforced=enforced,
            )
        # Any other exception refuses the request too. Its text is not logged: it may hold a part of the request.
        except Exception as error:
            reason, why, enforced = FailureReason.FAULT, "the verification itself failed", is_event or profile.enforce
            frame = traceback.extract_tb(error.__traceback__)[-1]
            log.error(
                "verification_fault",
                **pending.log_fields,
                profile=name,
                error=type(error).__name__,
                at=f"{frame.filename}:{frame.lineno}",
            )
        metrics.VERIFICATIONS_FAILED.labels(metrics.profile_label(name), reason, str(enforced).lower()).inc()
        if enforced:
            if reason is FailureReason.KEYS:
                raise errors.VerificationUnavailableError(KEYS_RETRY_S)
            raise errors.VerificationFailedError(profile.challenge)
        return _unverified(pending, name, profile, why)


def _unverified(pending: PendingCall, name: str, profile: Profile, why: str) -> PendingCall:
    """Return the pending call as one without the profile, because the request has not passed it."""
    request = replace(profile.redacted(pending.request), verification_failure=why)
    return replace(pending, request=request, verification=Verification(profile=name))


def _confirmed(pending: PendingCall, prompt: Prompt | None) -> PendingCall | None:
    """Return the pending call if a person has confirmed it, or made one of the choices; else None."""
    if prompt is not None and prompt.fields:
        return _filled_in(pending, prompt)
    choices = {} if prompt is None else dict(prompt.choices)
    choice = choice_of(pending.request) if choices else ""
    is_confirmed = choice in choices if choices else pending.intent is RequestIntent.FORM
    if not is_confirmed:
        return None
    return replace(pending, request=confirmed(pending.request, choice), intent=RequestIntent.CONFIRMED)


def _filled_in(pending: PendingCall, prompt: Prompt) -> PendingCall | None:
    """Return the pending call if a person has filled in the fields, and made one of the choices if there are any.

    The call is the POST as it came: its body is what was filled in, also for a handler that reads it later.

    Raises:
        FieldsInvalidError: A field does not have what was entered.
    """
    if pending.request.method != "post" or not (pending.request.is_form or pending.request.is_json):
        return None
    entered = read_form(pending.request.body, prompt.fields)
    if entered is None:
        return None
    choice = entered.one(CHOICE_PARAMETER) if prompt.choices else ""
    if choice not in dict(prompt.choices) if prompt.choices else entered.one(CONFIRM_PARAMETER) != "1":
        return None
    _, problems = check_fields(prompt.fields, entered)
    if problems:
        fields = tuple(
            replace(
                each,
                default_value=",".join(entered.values.get(each.name, ()))[:MAX_ENTERED_CHARS],
                maximum=each.maximum_that_holds,
            )
            for each in prompt.fields
        )
        violations = [Violation(name, problem, "does not fit") for name, problem in problems.items()]
        raise errors.FieldsInvalidError(replace(prompt, fields=fields), violations)
    return replace(pending, request=replace(pending.request, choice=choice), intent=RequestIntent.CONFIRMED)


def _verified(pending: PendingCall, name: str, profile: Profile, url: str) -> PendingCall:
    """Return the pending call with the result of its verification. Raises VerificationError, as the profile does."""
    handshake = profile.handshake(pending.request, url)
    if handshake is not None:
        return replace(
            pending, intent=RequestIntent.HANDSHAKE, verification=Verification(profile=name), handshake=handshake
        )
    if pending.intent is RequestIntent.OPTIONS:
        return replace(pending, verification=Verification(profile=name))
    message = profile.verify(pending.request, url)
    redacted = profile.redacted(pending.request)
    sent = _identity(pending, redacted).of_sender(message.sender)
    request = replace(redacted, verification_profile=name, message_id=message.message_id)
    if not message.message_id or message.window_ms <= 0:
        return replace(pending, request=request, sent=sent, verification=Verification(profile=name))
    digest = message_digest(message.message_id, message.sender)
    return replace(pending, request=request, sent=sent, verification=Verification(name, digest, message.window_ms))


def _identity(pending: PendingCall, redacted: Request) -> RequestIdentity:
    """Return the identity of a request without the secret in its query or body, whichever of several it is."""
    given = pending.request
    is_as_sent = redacted.body == given.body and redacted.query_string == given.query_string
    return pending.sent if is_as_sent else identity_of(redacted)

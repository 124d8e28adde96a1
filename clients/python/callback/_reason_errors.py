"""The exceptions for one reason of a refusal. Generated from the contract: `python3 tasks.py generate`."""

from collections.abc import Mapping

from callback._enums import CallStatus, CloseReason
from callback._errors import CallbackError
from callback._reasons import ErrorReason

__all__ = [
    "CallAnsweredError",
    "CallNotHeldError",
    "CallNotReplayableError",
    "CallbackClosedError",
    "CallbackResolvedError",
    "CorrelationKeyInUseError",
    "FeatureUnavailableError",
    "KeyringMissingError",
    "ProfileExistsError",
    "ProfileUnusableError",
    "RequestIdReusedError",
    "RequestIdUnsupportedError",
    "TooManyChecksError",
    "TooManyOpenCallbacksError",
    "TooManyProfilesError",
    "TooManyWatchersError",
    "WatchPositionLostError",
    "WatcherTooSlowError",
]


class RequestIdReusedError(CallbackError):
    """A case with this `request_id` and other content exists.

    Returned by `generate_callback_url`.
    """


class RequestIdUnsupportedError(CallbackError):
    """The server has no `state_key`, so it cannot return the same URL twice.

    Returned by `generate_callback_url`.
    """


class CallbackClosedError(CallbackError):
    """The case is closed.

    Facts: `close_reason`. Returned by `set_response`, `resolve_callback`, `extend_callback` and StreamInvocations.
    """

    @property
    def close_reason(self) -> CloseReason:
        """The fact `close_reason`."""
        return self._word(CloseReason, "close_reason")


class TooManyOpenCallbacksError(CallbackError):
    """The owner has its maximum number of cases that are not closed.

    Facts: `limit`. Returned by `generate_callback_url`.
    """

    @property
    def limit(self) -> int | None:
        """The fact `limit`."""
        return self._count("limit")


class CallAnsweredError(CallbackError):
    """The call already has another answer, or ended without one.

    Facts: `status`. Returned by `answer_call`.
    """

    @property
    def status(self) -> CallStatus:
        """The fact `status`."""
        return self._word(CallStatus, "status")


class CallNotHeldError(CallbackError):
    """The handler of the case decides on the call; the case does not hold calls.

    Returned by `answer_call` and `resolve_callback`.
    """


class CallNotReplayableError(CallbackError):
    """The call runs, its request is not kept whole or was erased, or its activity has no handler.

    Returned by `replay_call`.
    """


class WatchPositionLostError(CallbackError):
    """The position of the resume token is lost.

    Its events are no longer kept, the store has lost it (a failover, or a restored backup), or a server of a later
    release made the token. List the callbacks and their calls (`list_callbacks`, `list_calls`), then watch without a
    token. Returned by `watch_calls`.
    """


class WatcherTooSlowError(CallbackError):
    """The watcher reads more slowly than events come.

    Watch again with the last resume token. Returned by `watch_calls`.
    """


class TooManyWatchersError(CallbackError):
    """The server process has its maximum number of watchers, in total or of this principal.

    Returned by `watch_calls`.
    """


class CallbackResolvedError(CallbackError):
    """The case already has another answer.

    Returned by `resolve_callback`.
    """


class FeatureUnavailableError(CallbackError):
    """The callback needs a feature that a server of the store, of an earlier release, does not know.

    A callback that needs it is generated some minutes after the last such server has stopped. Nothing has changed.
    Facts: `feature`. Returned by `generate_callback_url` and StreamInvocations.
    """

    @property
    def feature(self) -> str:
        """The fact `feature`."""
        return self.facts.get("feature", "")


class ProfileExistsError(CallbackError):
    """The principal has another verification profile of this name.

    Returned by `create_profile`.
    """


class TooManyProfilesError(CallbackError):
    """The principal has its maximum number of verification profiles.

    Facts: `limit`. Returned by `create_profile`.
    """

    @property
    def limit(self) -> int | None:
        """The fact `limit`."""
        return self._count("limit")


class KeyringMissingError(CallbackError):
    """The server has no `keyring_file`, so it cannot store a secret.

    Returned by `create_profile` and `update_profile`.
    """


class TooManyChecksError(CallbackError):
    """The principal has made as many checks as it can in a minute.

    Facts: `limit`. Returned by `check_profile`.
    """

    @property
    def limit(self) -> int | None:
        """The fact `limit`."""
        return self._count("limit")


class ProfileUnusableError(CallbackError):
    """The server cannot use the profile; the text says why.

    Returned by `check_profile`.
    """


class CorrelationKeyInUseError(CallbackError):
    """Another case with this `endpoint` and `correlation_key` is not closed.

    Nothing has changed. Facts: `case_id`. Returned by `generate_callback_url`.
    """

    @property
    def case_id(self) -> str:
        """The fact `case_id`."""
        return self.facts.get("case_id", "")


BY_REASON: Mapping[str, type[CallbackError]] = {
    ErrorReason.REQUEST_ID_REUSED: RequestIdReusedError,
    ErrorReason.REQUEST_ID_UNSUPPORTED: RequestIdUnsupportedError,
    ErrorReason.CALLBACK_CLOSED: CallbackClosedError,
    ErrorReason.TOO_MANY_OPEN_CALLBACKS: TooManyOpenCallbacksError,
    ErrorReason.CALL_ANSWERED: CallAnsweredError,
    ErrorReason.CALL_NOT_HELD: CallNotHeldError,
    ErrorReason.CALL_NOT_REPLAYABLE: CallNotReplayableError,
    ErrorReason.WATCH_POSITION_LOST: WatchPositionLostError,
    ErrorReason.WATCHER_TOO_SLOW: WatcherTooSlowError,
    ErrorReason.TOO_MANY_WATCHERS: TooManyWatchersError,
    ErrorReason.CALLBACK_RESOLVED: CallbackResolvedError,
    ErrorReason.FEATURE_UNAVAILABLE: FeatureUnavailableError,
    ErrorReason.PROFILE_EXISTS: ProfileExistsError,
    ErrorReason.TOO_MANY_PROFILES: TooManyProfilesError,
    ErrorReason.KEYRING_MISSING: KeyringMissingError,
    ErrorReason.TOO_MANY_CHECKS: TooManyChecksError,
    ErrorReason.PROFILE_UNUSABLE: ProfileUnusableError,
    ErrorReason.CORRELATION_KEY_IN_USE: CorrelationKeyInUseError,
}
"""The class for each reason."""

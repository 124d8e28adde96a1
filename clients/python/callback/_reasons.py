"""Every reason for a refusal. Generated from the contract: `python3 tasks.py generate`."""

from enum import StrEnum


class ErrorReason(StrEnum):
    """Every reason for a refusal, with the gRPC status that it comes with."""

    INVALID_REQUEST = "INVALID_REQUEST"
    """The request is not valid, whatever the stored data. A `google.rpc.BadRequest` names every bad field, with the
    rule as the `reason` of the violation. Returned by every RPC except `get_statistics`, `list_findings` and
    `list_paused_activities`. (INVALID_ARGUMENT)"""
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    """A case with this `request_id` and other content exists. Returned by `generate_callback_url`. (ALREADY_EXISTS)"""
    REQUEST_ID_UNSUPPORTED = "REQUEST_ID_UNSUPPORTED"
    """The server has no `state_key`, so it cannot return the same URL twice. Returned by `generate_callback_url`.
    (FAILED_PRECONDITION)"""
    CALLBACK_NOT_FOUND = "CALLBACK_NOT_FOUND"
    """There is no such case, or it belongs to another owner. Returned by `set_response`, `resolve_callback`,
    `close_callback`, `extend_callback`, `get_callback`, `list_calls`, `erase_calls` and `watch_calls`. (NOT_FOUND)"""
    CALL_NOT_FOUND = "CALL_NOT_FOUND"
    """There is no such call, it belongs to another owner, or it is no longer kept. Returned by `answer_call`,
    `get_call`, `replay_call` and `check_profile`. (NOT_FOUND)"""
    CALLBACK_CLOSED = "CALLBACK_CLOSED"
    """The case is closed. Facts: `close_reason`. Returned by `set_response`, `resolve_callback`, `extend_callback` and
    StreamInvocations. (FAILED_PRECONDITION)"""
    STATE_UNKNOWN = "STATE_UNKNOWN"
    """There is no case with this state and kind of URL. Returned by StreamInvocations. (NOT_FOUND)"""
    CALL_IN_PROGRESS = "CALL_IN_PROGRESS"
    """Another call runs on a single-use case, or too many repeats wait with one call. Returned by StreamInvocations.
    (ABORTED)"""
    HANDLER_FAILED = "HANDLER_FAILED"
    """The handler returned an error. Facts: `call_id`, and `callback_open` (`true`) if the callback can be called
    again. Returned by StreamInvocations. (INTERNAL)"""
    RESPONSE_INVALID = "RESPONSE_INVALID"
    """The response that the handler decided on cannot be rendered. Facts: `call_id`, and `callback_open` as for
    HANDLER_FAILED. Returned by StreamInvocations. (INTERNAL)"""
    HANDLER_DEADLINE_EXCEEDED = "HANDLER_DEADLINE_EXCEEDED"
    """The handler missed its deadline. Facts: `call_id`, and `callback_open` as for HANDLER_FAILED. Returned by
    StreamInvocations. (DEADLINE_EXCEEDED)"""
    HANDLER_NOT_STARTED = "HANDLER_NOT_STARTED"
    """The handler never started, and the case is open again. Facts: `call_id`, and `callback_open` as for
    HANDLER_FAILED. Returned by StreamInvocations. (UNAVAILABLE)"""
    HANDLER_LOST = "HANDLER_LOST"
    """The connection broke after the handler got the call, or the streams of two workers broke before it began. Facts:
    `call_id`, and `callback_open` as for HANDLER_FAILED. Returned by StreamInvocations. (UNAVAILABLE)"""
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    """The store cannot be reached. An invocation has changed nothing; any other request is safe to retry. Returned by
    every RPC except `list_findings` and Work. (UNAVAILABLE)"""
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    """The store did not respond in time, so it is unknown whether the call was made or its result recorded. Returned by
    StreamInvocations. (UNAVAILABLE)"""
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    """The server process runs its maximum number of calls, or has its maximum bytes of request bodies in flight; or the
    store keeps as many bytes of the owner, or of all, as it may. Nothing has changed. Returned by StreamInvocations.
    (RESOURCE_EXHAUSTED)"""
    SERVER_STOPPING = "SERVER_STOPPING"
    """The server process stops and accepts no new calls, workers or watchers. Returned by StreamInvocations,
    `watch_calls` and Work. (UNAVAILABLE)"""
    INTERNAL = "INTERNAL"
    """An internal error; the server's log has the details. Returned by every RPC. (INTERNAL)"""
    UNAUTHENTICATED = "UNAUTHENTICATED"
    """There is no token and no known certificate, or the token is wrong or expired. Returned by every RPC.
    (UNAUTHENTICATED)"""
    ROLE_MISSING = "ROLE_MISSING"
    """The principal does not have the role that the request needs. Facts: `role`. Returned by every RPC.
    (PERMISSION_DENIED)"""
    TOO_MANY_OPEN_CALLBACKS = "TOO_MANY_OPEN_CALLBACKS"
    """The owner has its maximum number of cases that are not closed. Facts: `limit`. Returned by
    `generate_callback_url`. (RESOURCE_EXHAUSTED)"""
    VERIFICATION_FAILED = "VERIFICATION_FAILED"
    """The request does not pass the verification profile of the case. Nothing has changed. Facts: `challenge`, the
    value for `WWW-Authenticate`. Returned by StreamInvocations. (FAILED_PRECONDITION)"""
    VERIFICATION_UNAVAILABLE = "VERIFICATION_UNAVAILABLE"
    """This server does not have the verification profile of the case, or not yet the keys that it fetches for it.
    Nothing has changed. Returned by StreamInvocations. (UNAVAILABLE)"""
    CONFIRMATION_REQUIRED = "CONFIRMATION_REQUIRED"
    """A person must confirm first. Nothing has changed. The details have the `Prompt` of the case, if it has one.
    Returned by StreamInvocations. (FAILED_PRECONDITION)"""
    AGENT_DETECTED = "AGENT_DETECTED"
    """The request comes from a program that opens links. Nothing has changed. Returned by StreamInvocations.
    (FAILED_PRECONDITION)"""
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    """There are more calls on the case, or on all cases of its owner, than the configured rate, or the owner has its
    maximum bytes of request bodies in flight. Nothing has changed. Returned by StreamInvocations.
    (RESOURCE_EXHAUSTED)"""
    CALL_ANSWERED = "CALL_ANSWERED"
    """The call already has another answer, or ended without one. Facts: `status`. Returned by `answer_call`.
    (FAILED_PRECONDITION)"""
    CALL_NOT_HELD = "CALL_NOT_HELD"
    """The handler of the case decides on the call; the case does not hold calls. Returned by `answer_call` and
    `resolve_callback`. (FAILED_PRECONDITION)"""
    CALL_NOT_REPLAYABLE = "CALL_NOT_REPLAYABLE"
    """The call runs, its request is not kept whole or was erased, or its activity has no handler. Returned by
    `replay_call`. (FAILED_PRECONDITION)"""
    WATCH_POSITION_LOST = "WATCH_POSITION_LOST"
    """The position of the resume token is lost: its events are no longer kept, the store has lost it (a failover, or a
    restored backup), or a server of a later release made the token. List the callbacks and their calls
    (`list_callbacks`, `list_calls`), then watch without a token. Returned by `watch_calls`. (OUT_OF_RANGE)"""
    WATCHER_TOO_SLOW = "WATCHER_TOO_SLOW"
    """The watcher reads more slowly than events come. Watch again with the last resume token. Returned by
    `watch_calls`. (RESOURCE_EXHAUSTED)"""
    ACTIVITY_NOT_ALLOWED = "ACTIVITY_NOT_ALLOWED"
    """The principal may not serve an activity that the worker announces, or may not generate callbacks of the activity.
    Facts: `activity`. Returned by Work and `generate_callback_url`. (PERMISSION_DENIED)"""
    TOO_MANY_WATCHERS = "TOO_MANY_WATCHERS"
    """The server process has its maximum number of watchers, in total or of this principal. Returned by `watch_calls`.
    (RESOURCE_EXHAUSTED)"""
    ANSWER_NOT_REPEATED = "ANSWER_NOT_REPEATED"
    """The request is a repeat of an earlier one, and the answer of that one is no longer kept, or must not be given
    twice. Nothing has changed. Returned by StreamInvocations. (FAILED_PRECONDITION)"""
    CALLBACK_RESOLVED = "CALLBACK_RESOLVED"
    """The case already has another answer. Returned by `resolve_callback`. (FAILED_PRECONDITION)"""
    CHOICE_REQUIRED = "CHOICE_REQUIRED"
    """The case has choices, and the request is none of them. Nothing has changed. Returned by StreamInvocations.
    (FAILED_PRECONDITION)"""
    SUBJECT_UNKNOWN = "SUBJECT_UNKNOWN"
    """The token is a valid ID token of an issuer in the settings, and no principal has its subject. Returned by every
    RPC. (UNAUTHENTICATED)"""
    ISSUER_UNAVAILABLE = "ISSUER_UNAVAILABLE"
    """The server does not have the keys of the issuer of the ID token now, so it neither accepts nor refuses the token.
    Nothing has changed. Returned by every RPC. (UNAVAILABLE)"""
    CALL_NOT_ANSWERED = "CALL_NOT_ANSWERED"
    """A held call was not answered within the `hold_time` of its callback. Facts: `call_id`, and `callback_open` as for
    HANDLER_FAILED. Returned by StreamInvocations. (DEADLINE_EXCEEDED)"""
    QUERY_TOO_LONG = "QUERY_TOO_LONG"
    """The handler of the activity is a URL, and gets the query in a header that has no room for this one. Nothing has
    changed. Returned by StreamInvocations. (INVALID_ARGUMENT)"""
    FEATURE_UNAVAILABLE = "FEATURE_UNAVAILABLE"
    """The callback needs a feature that a server of the store, of an earlier release, does not know. A callback that
    needs it is generated some minutes after the last such server has stopped. Nothing has changed. Facts: `feature`.
    Returned by `generate_callback_url` and StreamInvocations. (FAILED_PRECONDITION)"""
    PROFILE_NOT_FOUND = "PROFILE_NOT_FOUND"
    """The principal has no such verification profile. Returned by `get_profile`, `update_profile` and `check_profile`.
    (NOT_FOUND)"""
    PROFILE_EXISTS = "PROFILE_EXISTS"
    """The principal has another verification profile of this name. Returned by `create_profile`. (ALREADY_EXISTS)"""
    TOO_MANY_PROFILES = "TOO_MANY_PROFILES"
    """The principal has its maximum number of verification profiles. Facts: `limit`. Returned by `create_profile`.
    (RESOURCE_EXHAUSTED)"""
    KEYRING_MISSING = "KEYRING_MISSING"
    """The server has no `keyring_file`, so it cannot store a secret. Returned by `create_profile` and `update_profile`.
    (FAILED_PRECONDITION)"""
    TOO_MANY_CHECKS = "TOO_MANY_CHECKS"
    """The principal has made as many checks as it can in a minute. Facts: `limit`. Returned by `check_profile`.
    (RESOURCE_EXHAUSTED)"""
    PROFILE_UNUSABLE = "PROFILE_UNUSABLE"
    """The server cannot use the profile; the text says why. Returned by `check_profile`. (FAILED_PRECONDITION)"""
    FIELDS_INVALID = "FIELDS_INVALID"
    """What was filled in does not fit the fields of the prompt of the case. Nothing has changed. The details have the
    `Prompt`, with what was entered as the defaults of its fields, and a `BadRequest` with the name of each bad field
    and why it is: `required`, `form`, `too_small` or `too_large`. Returned by StreamInvocations. (INVALID_ARGUMENT)"""
    CORRELATION_KEY_IN_USE = "CORRELATION_KEY_IN_USE"
    """Another case with this `endpoint` and `correlation_key` is not closed. Nothing has changed. Facts: `case_id`.
    Returned by `generate_callback_url`. (ALREADY_EXISTS)"""
    ENDPOINT_NOT_FOUND = "ENDPOINT_NOT_FOUND"
    """There is no such endpoint, or it belongs to another owner. Nothing has changed. Returned by
    `generate_callback_url`. (NOT_FOUND)"""

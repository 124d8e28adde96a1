"""Every reason for a refusal. Generated from the contract: `python3 tasks.py generate`."""

from enum import StrEnum


class ErrorReason(StrEnum):
    """Every reason for a refusal, with the gRPC status that it comes with."""

    INVALID_REQUEST = "INVALID_REQUEST"
    """The request is wrong in itself. A `google.rpc.BadRequest` names every bad field, with the rule as the violation's
    `reason`. (INVALID_ARGUMENT)"""
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    """A case with this `request_id` and other content exists. (ALREADY_EXISTS)"""
    REQUEST_ID_UNSUPPORTED = "REQUEST_ID_UNSUPPORTED"
    """The server has no `state_key`, so it can not give the same URL twice. (FAILED_PRECONDITION)"""
    CALLBACK_NOT_FOUND = "CALLBACK_NOT_FOUND"
    """No such case, or it is somebody else's. (NOT_FOUND)"""
    CALL_NOT_FOUND = "CALL_NOT_FOUND"
    """No such call, or it is somebody else's, or it is no longer kept. (NOT_FOUND)"""
    CALLBACK_CLOSED = "CALLBACK_CLOSED"
    """The case is closed. Facts: `close_reason`. (FAILED_PRECONDITION)"""
    STATE_UNKNOWN = "STATE_UNKNOWN"
    """No case is reached by this state in this form. Invoke only. (NOT_FOUND)"""
    CALL_IN_PROGRESS = "CALL_IN_PROGRESS"
    """Another call is running on a single-use case. Invoke only. (ABORTED)"""
    HANDLER_FAILED = "HANDLER_FAILED"
    """The handler answered with an error. Facts: `call_id`. Invoke only. (INTERNAL)"""
    RESPONSE_INVALID = "RESPONSE_INVALID"
    """The handler's answer can not be rendered. Facts: `call_id`. Invoke only. (INTERNAL)"""
    HANDLER_DEADLINE_EXCEEDED = "HANDLER_DEADLINE_EXCEEDED"
    """The handler missed its deadline. Facts: `call_id`. Invoke only. (DEADLINE_EXCEEDED)"""
    HANDLER_NOT_STARTED = "HANDLER_NOT_STARTED"
    """The handler never started; the case is open again. Facts: `call_id`. Invoke only. (UNAVAILABLE)"""
    HANDLER_LOST = "HANDLER_LOST"
    """The connection broke after the handler was asked. Facts: `call_id`. Invoke only. (UNAVAILABLE)"""
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    """The store can not be reached, and nothing was changed by an Invoke; any other method can be sent again.
    (UNAVAILABLE)"""
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    """The store did not answer in time, so it is not known whether the call was made or its result kept. Invoke only.
    (UNAVAILABLE)"""
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    """This process runs as many calls as it may. Invoke only. (RESOURCE_EXHAUSTED)"""
    SERVER_STOPPING = "SERVER_STOPPING"
    """This process takes no new calls. Invoke only. (UNAVAILABLE)"""
    INTERNAL = "INTERNAL"
    """A fault of the server, described in its log only. (INTERNAL)"""
    UNAUTHENTICATED = "UNAUTHENTICATED"
    """No token and no certificate that is known, or a token that is wrong or has expired. Any method.
    (UNAUTHENTICATED)"""
    ROLE_MISSING = "ROLE_MISSING"
    """The principal is known and does not have the role that this needs. Facts: `role`. Any method.
    (PERMISSION_DENIED)"""
    TOO_MANY_OPEN_CALLBACKS = "TOO_MANY_OPEN_CALLBACKS"
    """The owner has as many cases that are not closed as it may. Facts: `limit`. GenerateCallbackUrl only.
    (RESOURCE_EXHAUSTED)"""
    VERIFICATION_FAILED = "VERIFICATION_FAILED"
    """The request does not pass the case's verification profile. Nothing was changed. Facts: `challenge`, what `WWW-
    Authenticate` says. Invoke only. (FAILED_PRECONDITION)"""
    VERIFICATION_UNAVAILABLE = "VERIFICATION_UNAVAILABLE"
    """This server does not have the case's verification profile. Nothing was changed. Invoke only. (UNAVAILABLE)"""
    CONFIRMATION_REQUIRED = "CONFIRMATION_REQUIRED"
    """A person must confirm first. Nothing was changed. Invoke only. (FAILED_PRECONDITION)"""
    AGENT_DETECTED = "AGENT_DETECTED"
    """The request is from a program that looks at links. Nothing was changed. Invoke only. (FAILED_PRECONDITION)"""
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    """More calls on the case, or on all cases of its owner, than the operator allows in this time. Nothing was changed.
    Invoke only. (RESOURCE_EXHAUSTED)"""
    CALL_ANSWERED = "CALL_ANSWERED"
    """The call has another answer already, or ended without one. Facts: `status`. SetResponse only.
    (FAILED_PRECONDITION)"""
    CALL_NOT_HELD = "CALL_NOT_HELD"
    """The call's handler answers it, or has; its case does not hold calls. SetResponse only. (FAILED_PRECONDITION)"""
    CALL_NOT_REPLAYABLE = "CALL_NOT_REPLAYABLE"
    """The call is running, its request is not kept whole or was erased, or its activity has no handler. ReplayCall
    only. (FAILED_PRECONDITION)"""
    WATCH_POSITION_LOST = "WATCH_POSITION_LOST"
    """Events after the resume token are no longer kept, the store has lost that place (a failover, a backup that was
    restored), or a server of a later release made the token. Read the state with ListCallbacks and ListCalls, then
    watch without a token. WatchCalls only. (OUT_OF_RANGE)"""
    WATCHER_TOO_SLOW = "WATCHER_TOO_SLOW"
    """The watcher reads more slowly than events come. Watch again with the last resume token. WatchCalls only.
    (RESOURCE_EXHAUSTED)"""
    ACTIVITY_NOT_ALLOWED = "ACTIVITY_NOT_ALLOWED"
    """The principal may not work on an activity that it announces. Facts: `activity`. Work only. (PERMISSION_DENIED)"""
    TOO_MANY_WATCHERS = "TOO_MANY_WATCHERS"
    """This process has as many watchers as it may, in all or of this principal. WatchCalls only.
    (RESOURCE_EXHAUSTED)"""

// Generated from the contract: `python3 tasks.py generate`.

/** Every reason for a refusal, with the gRPC status that it comes with. */
export const ErrorReason = {
  /** The request is not valid, whatever the stored data. A `google.rpc.BadRequest` names every bad field, with the rule as the `reason` of the violation. Returned by every RPC except GetStatistics, ListFindings and ListPausedActivities. (INVALID_ARGUMENT) */
  INVALID_REQUEST: "INVALID_REQUEST",
  /** A case with this `request_id` and other content exists. Returned by GenerateCallbackUrl. (ALREADY_EXISTS) */
  REQUEST_ID_REUSED: "REQUEST_ID_REUSED",
  /** The server has no `state_key`, so it cannot return the same URL twice. Returned by GenerateCallbackUrl. (FAILED_PRECONDITION) */
  REQUEST_ID_UNSUPPORTED: "REQUEST_ID_UNSUPPORTED",
  /** There is no such case, or it belongs to another owner. Returned by SetResponse, ResolveCallback, CloseCallback, ExtendCallback, GetCallback, ListCalls, EraseCalls and WatchCalls. (NOT_FOUND) */
  CALLBACK_NOT_FOUND: "CALLBACK_NOT_FOUND",
  /** There is no such call, it belongs to another owner, or it is no longer kept. Returned by AnswerCall, GetCall and ReplayCall. (NOT_FOUND) */
  CALL_NOT_FOUND: "CALL_NOT_FOUND",
  /** The case is closed. Facts: `close_reason`. Returned by SetResponse, ResolveCallback, ExtendCallback and StreamInvocations. (FAILED_PRECONDITION) */
  CALLBACK_CLOSED: "CALLBACK_CLOSED",
  /** There is no case with this state and kind of URL. Returned by StreamInvocations. (NOT_FOUND) */
  STATE_UNKNOWN: "STATE_UNKNOWN",
  /** Another call runs on a single-use case, or too many repeats wait with one call. Returned by StreamInvocations. (ABORTED) */
  CALL_IN_PROGRESS: "CALL_IN_PROGRESS",
  /** The handler returned an error. Facts: `call_id`. Returned by StreamInvocations. (INTERNAL) */
  HANDLER_FAILED: "HANDLER_FAILED",
  /** The response that the handler decided on cannot be rendered. Facts: `call_id`. Returned by StreamInvocations. (INTERNAL) */
  RESPONSE_INVALID: "RESPONSE_INVALID",
  /** The handler missed its deadline. Facts: `call_id`. Returned by StreamInvocations. (DEADLINE_EXCEEDED) */
  HANDLER_DEADLINE_EXCEEDED: "HANDLER_DEADLINE_EXCEEDED",
  /** The handler never started, and the case is open again. Facts: `call_id`. Returned by StreamInvocations. (UNAVAILABLE) */
  HANDLER_NOT_STARTED: "HANDLER_NOT_STARTED",
  /** The connection broke after the handler got the call, or the streams of two workers broke before it began. Facts: `call_id`. Returned by StreamInvocations. (UNAVAILABLE) */
  HANDLER_LOST: "HANDLER_LOST",
  /** The store cannot be reached. An invocation has changed nothing; any other request is safe to retry. Returned by every RPC except ListFindings and Work. (UNAVAILABLE) */
  STORE_UNAVAILABLE: "STORE_UNAVAILABLE",
  /** The store did not respond in time, so it is unknown whether the call was made or its result recorded. Returned by StreamInvocations. (UNAVAILABLE) */
  OUTCOME_UNKNOWN: "OUTCOME_UNKNOWN",
  /** The server process runs its maximum number of calls, or has its maximum bytes of request bodies in flight. Nothing has changed. Returned by StreamInvocations. (RESOURCE_EXHAUSTED) */
  TOO_MANY_CALLS: "TOO_MANY_CALLS",
  /** The server process stops and accepts no new calls, workers or watchers. Returned by StreamInvocations, WatchCalls and Work. (UNAVAILABLE) */
  SERVER_STOPPING: "SERVER_STOPPING",
  /** An internal error; the server's log has the details. Returned by every RPC. (INTERNAL) */
  INTERNAL: "INTERNAL",
  /** There is no token and no known certificate, or the token is wrong or expired. Returned by every RPC. (UNAUTHENTICATED) */
  UNAUTHENTICATED: "UNAUTHENTICATED",
  /** The principal does not have the role that the request needs. Facts: `role`. Returned by every RPC. (PERMISSION_DENIED) */
  ROLE_MISSING: "ROLE_MISSING",
  /** The owner has its maximum number of cases that are not closed. Facts: `limit`. Returned by GenerateCallbackUrl. (RESOURCE_EXHAUSTED) */
  TOO_MANY_OPEN_CALLBACKS: "TOO_MANY_OPEN_CALLBACKS",
  /** The request does not pass the verification profile of the case. Nothing has changed. Facts: `challenge`, the value for `WWW-Authenticate`. Returned by StreamInvocations. (FAILED_PRECONDITION) */
  VERIFICATION_FAILED: "VERIFICATION_FAILED",
  /** This server does not have the verification profile of the case, or not yet the keys that it fetches for it. Nothing has changed. Returned by StreamInvocations. (UNAVAILABLE) */
  VERIFICATION_UNAVAILABLE: "VERIFICATION_UNAVAILABLE",
  /** A person must confirm first. Nothing has changed. The details have the `Prompt` of the case, if it has one. Returned by StreamInvocations. (FAILED_PRECONDITION) */
  CONFIRMATION_REQUIRED: "CONFIRMATION_REQUIRED",
  /** The request comes from a program that opens links. Nothing has changed. Returned by StreamInvocations. (FAILED_PRECONDITION) */
  AGENT_DETECTED: "AGENT_DETECTED",
  /** There are more calls on the case, or on all cases of its owner, than the configured rate, or the owner has its maximum bytes of request bodies in flight. Nothing has changed. Returned by StreamInvocations. (RESOURCE_EXHAUSTED) */
  TOO_MANY_REQUESTS: "TOO_MANY_REQUESTS",
  /** The call already has another answer, or ended without one. Facts: `status`. Returned by AnswerCall. (FAILED_PRECONDITION) */
  CALL_ANSWERED: "CALL_ANSWERED",
  /** The handler of the case decides on the call; the case does not hold calls. Returned by AnswerCall and ResolveCallback. (FAILED_PRECONDITION) */
  CALL_NOT_HELD: "CALL_NOT_HELD",
  /** The call runs, its request is not kept whole or was erased, or its activity has no handler. Returned by ReplayCall. (FAILED_PRECONDITION) */
  CALL_NOT_REPLAYABLE: "CALL_NOT_REPLAYABLE",
  /** Events after the resume token are no longer kept, the store has lost that position (a failover, or a restored backup), or a server of a later release made the token. List the callbacks and their calls (ListCallbacks, ListCalls), then watch without a token. Returned by WatchCalls. (OUT_OF_RANGE) */
  WATCH_POSITION_LOST: "WATCH_POSITION_LOST",
  /** The watcher reads more slowly than events come. Watch again with the last resume token. Returned by WatchCalls. (RESOURCE_EXHAUSTED) */
  WATCHER_TOO_SLOW: "WATCHER_TOO_SLOW",
  /** The principal may not serve an activity that the worker announces, or may not generate callbacks of the activity. Facts: `activity`. Returned by Work and GenerateCallbackUrl. (PERMISSION_DENIED) */
  ACTIVITY_NOT_ALLOWED: "ACTIVITY_NOT_ALLOWED",
  /** The server process has its maximum number of watchers, in total or of this principal. Returned by WatchCalls. (RESOURCE_EXHAUSTED) */
  TOO_MANY_WATCHERS: "TOO_MANY_WATCHERS",
  /** The request is a repeat of an earlier one, and the answer of that one is no longer kept, or must not be given twice. Nothing has changed. Returned by StreamInvocations. (FAILED_PRECONDITION) */
  ANSWER_NOT_REPEATED: "ANSWER_NOT_REPEATED",
  /** The case already has another answer. Returned by ResolveCallback. (FAILED_PRECONDITION) */
  CALLBACK_RESOLVED: "CALLBACK_RESOLVED",
  /** The case has choices, and the request is none of them. Nothing has changed. Returned by StreamInvocations. (FAILED_PRECONDITION) */
  CHOICE_REQUIRED: "CHOICE_REQUIRED",
  /** The token is a valid ID token of an issuer in the settings, and no principal has its subject. Returned by every RPC. (UNAUTHENTICATED) */
  SUBJECT_UNKNOWN: "SUBJECT_UNKNOWN",
  /** The server does not have the keys of the issuer of the ID token now, so it neither accepts nor refuses the token. Nothing has changed. Returned by every RPC. (UNAVAILABLE) */
  ISSUER_UNAVAILABLE: "ISSUER_UNAVAILABLE",
} as const;

export type ErrorReason = (typeof ErrorReason)[keyof typeof ErrorReason];

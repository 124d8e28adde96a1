// Generated from the contract: `python3 tasks.py generate`.

/** Every reason for a refusal, with what happened and the gRPC status that it comes with. */
export const ErrorReason = {
  /**
   * Invalid request (INVALID_ARGUMENT). The request is not valid, whatever the stored data. A `google.rpc.BadRequest`
   * names every bad field, with the rule as the `reason` of the violation. Returned by every RPC except
   * `getStatistics`, `listFindings` and `listPausedActivities`.
   */
  INVALID_REQUEST: "INVALID_REQUEST",
  /**
   * Request id reused (ALREADY_EXISTS). A case with this `requestId` and other content exists. Returned by
   * `generateCallbackUrl`.
   */
  REQUEST_ID_REUSED: "REQUEST_ID_REUSED",
  /**
   * Request ids not supported (FAILED_PRECONDITION). The server has no `state_key`, so it cannot return the same URL
   * twice. Returned by `generateCallbackUrl`.
   */
  REQUEST_ID_UNSUPPORTED: "REQUEST_ID_UNSUPPORTED",
  /**
   * Callback not found (NOT_FOUND). There is no such case, or it belongs to another owner. Returned by `setResponse`,
   * `resolveCallback`, `closeCallback`, `extendCallback`, `getCallback`, `listCalls`, `eraseCalls` and `watchCalls`.
   */
  CALLBACK_NOT_FOUND: "CALLBACK_NOT_FOUND",
  /**
   * Call not found (NOT_FOUND). There is no such call, it belongs to another owner, or it is no longer kept. Returned
   * by `answerCall`, `getCall`, `replayCall` and `checkProfile`.
   */
  CALL_NOT_FOUND: "CALL_NOT_FOUND",
  /**
   * This link can no longer be used (FAILED_PRECONDITION). The case is closed. Facts: `close_reason`. Returned by
   * `setResponse`, `resolveCallback`, `extendCallback` and StreamInvocations.
   */
  CALLBACK_CLOSED: "CALLBACK_CLOSED",
  /**
   * Link not found (NOT_FOUND). There is no case with this state and kind of URL. Returned by StreamInvocations.
   */
  STATE_UNKNOWN: "STATE_UNKNOWN",
  /**
   * Already being processed (ABORTED). Another call runs on a single-use case, or too many repeats wait with one
   * call. Returned by StreamInvocations.
   */
  CALL_IN_PROGRESS: "CALL_IN_PROGRESS",
  /**
   * Could not be processed (INTERNAL). The handler returned an error. Facts: `call_id`, and `callback_open` (`true`)
   * if the callback can be called again. Returned by StreamInvocations.
   */
  HANDLER_FAILED: "HANDLER_FAILED",
  /**
   * No usable answer (INTERNAL). The response that the handler decided on cannot be rendered. Facts: `call_id`, and
   * `callback_open` as for HANDLER_FAILED. Returned by StreamInvocations.
   */
  RESPONSE_INVALID: "RESPONSE_INVALID",
  /**
   * No answer (DEADLINE_EXCEEDED). The handler missed its deadline. Facts: `call_id`, and `callback_open` as for
   * HANDLER_FAILED. Returned by StreamInvocations.
   */
  HANDLER_DEADLINE_EXCEEDED: "HANDLER_DEADLINE_EXCEEDED",
  /**
   * Temporarily unavailable (UNAVAILABLE). The handler never started, and the case is open again. Facts: `call_id`,
   * and `callback_open` as for HANDLER_FAILED. Returned by StreamInvocations.
   */
  HANDLER_NOT_STARTED: "HANDLER_NOT_STARTED",
  /**
   * No answer (UNAVAILABLE). The connection broke after the handler got the call, or the streams of two workers broke
   * before it began. Facts: `call_id`, and `callback_open` as for HANDLER_FAILED. Returned by StreamInvocations.
   */
  HANDLER_LOST: "HANDLER_LOST",
  /**
   * Temporarily unavailable (UNAVAILABLE). The store cannot be reached. An invocation has changed nothing; any other
   * request is safe to retry. Returned by every RPC except `listFindings` and Work.
   */
  STORE_UNAVAILABLE: "STORE_UNAVAILABLE",
  /**
   * No answer (UNAVAILABLE). The store did not respond in time, so it is unknown whether the call was made or its
   * result recorded. Returned by StreamInvocations.
   */
  OUTCOME_UNKNOWN: "OUTCOME_UNKNOWN",
  /**
   * Very busy (RESOURCE_EXHAUSTED). The server process runs its maximum number of calls, or has its maximum bytes of
   * request bodies in flight; or the store keeps as many bytes of the owner, or of all, as it may. Nothing has
   * changed. Returned by StreamInvocations.
   */
  TOO_MANY_CALLS: "TOO_MANY_CALLS",
  /**
   * Temporarily unavailable (UNAVAILABLE). The server process stops and accepts no new calls, workers or watchers.
   * Returned by StreamInvocations, `watchCalls` and Work.
   */
  SERVER_STOPPING: "SERVER_STOPPING",
  /**
   * Something went wrong (INTERNAL). An internal error; the server's log has the details. Returned by every RPC.
   */
  INTERNAL: "INTERNAL",
  /**
   * Not authenticated (UNAUTHENTICATED). There is no token and no known certificate, or the token is wrong or
   * expired. Returned by every RPC.
   */
  UNAUTHENTICATED: "UNAUTHENTICATED",
  /**
   * Role missing (PERMISSION_DENIED). The principal does not have the role that the request needs. Facts: `role`.
   * Returned by every RPC.
   */
  ROLE_MISSING: "ROLE_MISSING",
  /**
   * Too many open callbacks (RESOURCE_EXHAUSTED). The owner has its maximum number of cases that are not closed.
   * Facts: `limit`. Returned by `generateCallbackUrl`.
   */
  TOO_MANY_OPEN_CALLBACKS: "TOO_MANY_OPEN_CALLBACKS",
  /**
   * Not verified (FAILED_PRECONDITION). The request does not pass the verification profile of the case. Nothing has
   * changed. Facts: `challenge`, the value for `WWW-Authenticate`. Returned by StreamInvocations.
   */
  VERIFICATION_FAILED: "VERIFICATION_FAILED",
  /**
   * Temporarily unavailable (UNAVAILABLE). This server does not have the verification profile of the case, or not yet
   * the keys that it fetches for it. Nothing has changed. Returned by StreamInvocations.
   */
  VERIFICATION_UNAVAILABLE: "VERIFICATION_UNAVAILABLE",
  /**
   * Do you want to continue? (FAILED_PRECONDITION). A person must confirm first. Nothing has changed. The details
   * have the `Prompt` of the case, if it has one. Returned by StreamInvocations.
   */
  CONFIRMATION_REQUIRED: "CONFIRMATION_REQUIRED",
  /**
   * Open this link in a browser (FAILED_PRECONDITION). The request comes from a program that opens links. Nothing has
   * changed. Returned by StreamInvocations.
   */
  AGENT_DETECTED: "AGENT_DETECTED",
  /**
   * Too many requests (RESOURCE_EXHAUSTED). There are more calls on the case, or on all cases of its owner, than the
   * configured rate, or the owner has its maximum bytes of request bodies in flight. Nothing has changed. Returned by
   * StreamInvocations.
   */
  TOO_MANY_REQUESTS: "TOO_MANY_REQUESTS",
  /**
   * Call already answered (FAILED_PRECONDITION). The call already has another answer, or ended without one. Facts:
   * `status`. Returned by `answerCall`.
   */
  CALL_ANSWERED: "CALL_ANSWERED",
  /**
   * Call not held (FAILED_PRECONDITION). The handler of the case decides on the call; the case does not hold calls.
   * Returned by `answerCall` and `resolveCallback`.
   */
  CALL_NOT_HELD: "CALL_NOT_HELD",
  /**
   * Call cannot be replayed (FAILED_PRECONDITION). The call runs, its request is not kept whole or was erased, or its
   * activity has no handler. Returned by `replayCall`.
   */
  CALL_NOT_REPLAYABLE: "CALL_NOT_REPLAYABLE",
  /**
   * Watch position lost (OUT_OF_RANGE). The position of the resume token is lost: its events are no longer kept, the
   * store has lost it (a failover, or a restored backup), or a server of a later release made the token. List the
   * callbacks and their calls (`listCallbacks`, `listCalls`), then watch without a token. Returned by `watchCalls`.
   */
  WATCH_POSITION_LOST: "WATCH_POSITION_LOST",
  /**
   * Watcher too slow (RESOURCE_EXHAUSTED). The watcher reads more slowly than events come. Watch again with the last
   * resume token. Returned by `watchCalls`.
   */
  WATCHER_TOO_SLOW: "WATCHER_TOO_SLOW",
  /**
   * Activity not allowed (PERMISSION_DENIED). The principal may not serve an activity that the worker announces, or
   * may not generate callbacks of the activity. Facts: `activity`. Returned by Work and `generateCallbackUrl`.
   */
  ACTIVITY_NOT_ALLOWED: "ACTIVITY_NOT_ALLOWED",
  /**
   * Too many watchers (RESOURCE_EXHAUSTED). The server process has its maximum number of watchers, in total or of
   * this principal. Returned by `watchCalls`.
   */
  TOO_MANY_WATCHERS: "TOO_MANY_WATCHERS",
  /**
   * Your request was already processed (FAILED_PRECONDITION). The request is a repeat of an earlier one, and the
   * answer of that one is no longer kept, or must not be given twice. Nothing has changed. Returned by
   * StreamInvocations.
   */
  ANSWER_NOT_REPEATED: "ANSWER_NOT_REPEATED",
  /**
   * Callback already resolved (FAILED_PRECONDITION). The case already has another answer. Returned by
   * `resolveCallback`.
   */
  CALLBACK_RESOLVED: "CALLBACK_RESOLVED",
  /**
   * Make a choice (FAILED_PRECONDITION). The case has choices, and the request is none of them. Nothing has changed.
   * Returned by StreamInvocations.
   */
  CHOICE_REQUIRED: "CHOICE_REQUIRED",
  /**
   * Subject unknown (UNAUTHENTICATED). The token is a valid ID token of an issuer in the settings, and no principal
   * has its subject. Returned by every RPC.
   */
  SUBJECT_UNKNOWN: "SUBJECT_UNKNOWN",
  /**
   * Issuer unavailable (UNAVAILABLE). The server does not have the keys of the issuer of the ID token now, so it
   * neither accepts nor refuses the token. Nothing has changed. Returned by every RPC.
   */
  ISSUER_UNAVAILABLE: "ISSUER_UNAVAILABLE",
  /**
   * Not answered in time (DEADLINE_EXCEEDED). A held call was not answered within the `holdTimeMs` of its callback.
   * Facts: `call_id`, and `callback_open` as for HANDLER_FAILED. Returned by StreamInvocations.
   */
  CALL_NOT_ANSWERED: "CALL_NOT_ANSWERED",
  /**
   * Address too long (INVALID_ARGUMENT). The handler of the activity is a URL, and gets the query in a header that
   * has no room for this one. Nothing has changed. Returned by StreamInvocations.
   */
  QUERY_TOO_LONG: "QUERY_TOO_LONG",
  /**
   * Temporarily unavailable (FAILED_PRECONDITION). The callback needs a feature that a server of the store, of an
   * earlier release, does not know. A callback that needs it is generated some minutes after the last such server has
   * stopped. Nothing has changed. Facts: `feature`. Returned by `generateCallbackUrl` and StreamInvocations.
   */
  FEATURE_UNAVAILABLE: "FEATURE_UNAVAILABLE",
  /**
   * Profile not found (NOT_FOUND). The principal has no such verification profile. Returned by `getProfile`,
   * `updateProfile` and `checkProfile`.
   */
  PROFILE_NOT_FOUND: "PROFILE_NOT_FOUND",
  /**
   * Profile exists already (ALREADY_EXISTS). The principal has another verification profile of this name. Returned by
   * `createProfile`.
   */
  PROFILE_EXISTS: "PROFILE_EXISTS",
  /**
   * Too many profiles (RESOURCE_EXHAUSTED). The principal has its maximum number of verification profiles. Facts:
   * `limit`. Returned by `createProfile`.
   */
  TOO_MANY_PROFILES: "TOO_MANY_PROFILES",
  /**
   * Keyring missing (FAILED_PRECONDITION). The server has no `keyring_file`, so it cannot store a secret. Returned by
   * `createProfile` and `updateProfile`.
   */
  KEYRING_MISSING: "KEYRING_MISSING",
  /**
   * Too many checks (RESOURCE_EXHAUSTED). The principal has made as many checks as it can in a minute. Facts:
   * `limit`. Returned by `checkProfile`.
   */
  TOO_MANY_CHECKS: "TOO_MANY_CHECKS",
  /**
   * Profile unusable (FAILED_PRECONDITION). The server cannot use the profile; the text says why. Returned by
   * `checkProfile`.
   */
  PROFILE_UNUSABLE: "PROFILE_UNUSABLE",
  /**
   * Please check what you filled in (INVALID_ARGUMENT). What was filled in does not fit the fields of the prompt of
   * the case. Nothing has changed. The details have the `Prompt`, with what was entered as the defaults of its
   * fields, and a `BadRequest` with the name of each bad field and why it is: `required`, `form`, `too_small` or
   * `too_large`. Returned by StreamInvocations.
   */
  FIELDS_INVALID: "FIELDS_INVALID",
  /**
   * Correlation key in use (ALREADY_EXISTS). Another case with this `endpoint` and `correlationKey` is not closed.
   * Nothing has changed. Facts: `case_id`. Returned by `generateCallbackUrl`.
   */
  CORRELATION_KEY_IN_USE: "CORRELATION_KEY_IN_USE",
  /**
   * Endpoint not found (NOT_FOUND). There is no such endpoint, or it belongs to another owner. Nothing has changed.
   * Returned by `generateCallbackUrl`.
   */
  ENDPOINT_NOT_FOUND: "ENDPOINT_NOT_FOUND",
} as const;
export type ErrorReason = (typeof ErrorReason)[keyof typeof ErrorReason];

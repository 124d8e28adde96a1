// Generated from the contract: `python3 tasks.py generate`.

/** The kind of a change. */
export const AuditAction = {
  /** The response of a case was replaced (`setResponse`). */
  RESPONSE_SET: "RESPONSE_SET",
  /** A held call was answered (`answerCall`). */
  CALL_ANSWERED: "CALL_ANSWERED",
  /** A case got its answer (`resolveCallback`). */
  CALLBACK_RESOLVED: "CALLBACK_RESOLVED",
  /** A case was closed (`closeCallback`). */
  CALLBACK_CLOSED: "CALLBACK_CLOSED",
  /** The `expireTime` of a case was set (`extendCallback`). */
  CALLBACK_EXTENDED: "CALLBACK_EXTENDED",
  /** The recorded data of the calls of a case was erased (`eraseCalls`). */
  CALLS_ERASED: "CALLS_ERASED",
  /** A call or notification was replayed (`replayCall`). */
  CALL_REPLAYED: "CALL_REPLAYED",
  /** The deliveries of an activity were paused (`pauseActivity`). */
  ACTIVITY_PAUSED: "ACTIVITY_PAUSED",
  /** The deliveries of an activity were resumed (`resumeActivity`). */
  ACTIVITY_RESUMED: "ACTIVITY_RESUMED",
  /** A server has read a principals file that differs from the one that was read before. */
  PRINCIPALS_READ: "PRINCIPALS_READ",
  /** A server goes on under its own key behind an entry under the other one. */
  STATE_KEY_CHANGED: "STATE_KEY_CHANGED",
  /** A verification profile of an owner was created (`createProfile`). */
  PROFILE_CREATED: "PROFILE_CREATED",
  /** A verification profile of an owner was changed (`updateProfile`). */
  PROFILE_UPDATED: "PROFILE_UPDATED",
  /** A verification profile of an owner was deleted (`deleteProfile`). */
  PROFILE_DELETED: "PROFILE_DELETED",
  /** It was checked whether a request passes a verification profile of an owner (`checkProfile`). */
  PROFILE_CHECKED: "PROFILE_CHECKED",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type AuditAction = (typeof AuditAction)[keyof typeof AuditAction];

/** The kind of a problem with a chain. */
export const AuditProblemKind = {
  /**
   * An entry, or the record of where the chain begins, is not as a server has stored it. This is so for one without a
   * right HMAC behind one that has it.
   */
  ALTERED: "ALTERED",
  /** Entries between others, or before all others, were removed before their retention was over. */
  MISSING: "MISSING",
  /** An entry stands where another one was: entries were reordered, replaced or inserted. */
  MOVED: "MOVED",
  /**
   * The newest entries are not there any more, or are others than those of a known head. A failover or a restored
   * backup loses the newest entries together with their changes: compare with `callback losses`.
   */
  TRUNCATED: "TRUNCATED",
  /**
   * Entries, or the record of where the chain begins, name a key that this server does not have: its `state_key` was
   * changed, or they are forged.
   */
  UNKNOWN_KEY: "UNKNOWN_KEY",
  /**
   * Entries, or the record of where the chain begins, have no protection: the server had no `state_key`, or they are
   * forged.
   */
  UNPROTECTED: "UNPROTECTED",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type AuditProblemKind = (typeof AuditProblemKind)[keyof typeof AuditProblemKind];

/**
 * The reason why a handler is asked. REMINDER and EXPIRY are notifications: there is no request, and no caller gets
 * a response.
 */
export const CallReason = {
  /** A request reached the case. */
  CALL: "CALL",
  /** A time of `remindAfterMs` has passed, and the case is neither closed nor resolved. */
  REMINDER: "REMINDER",
  /** The case is closed with reason EXPIRED, and was not resolved before. */
  EXPIRY: "EXPIRY",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CallReason = (typeof CallReason)[keyof typeof CallReason];

/** Selects how a call gets its response: from a handler, from a person, or from the server. */
export const AnswerMode = {
  /** The handler of the activity decides while the caller waits. */
  HANDLER: "HANDLER",
  /**
   * The call waits in the store for `answerCall`, by a person or another service. No handler gets it: the handler of
   * the activity gets notifications alone (`notify`). The call fails if it is not answered within the `holdTimeMs` of
   * its case. At most 100 calls of a case are held at a time.
   */
  HOLD: "HOLD",
  /**
   * The caller gets the response of the case as soon as the call is stored. The call has then succeeded, and a
   * single-use case is CONSUMED. The handler runs afterwards, with retries, at least once.
   */
  ACK: "ACK",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type AnswerMode = (typeof AnswerMode)[keyof typeof AnswerMode];

/**
 * Selects how a GET on a case is handled, because it may come from a program that opens links. POST, PUT, PATCH and
 * DELETE are always calls. HEAD, OPTIONS and prefetches never are.
 */
export const GetGuard = {
  /** Every GET is a call, except a browser's prefetch. The return from a payment needs this. */
  OFF: "OFF",
  /**
   * A program that is known to open links (preview, mail scanner) gets a page without content. Its GET is not a call.
   */
  DETECT: "DETECT",
  /**
   * A GET gets a page with one button. The button posts the form `callback_confirm=1` to the same URL, and that POST
   * is the call. The handler sees the original GET, with its query and an empty body. No state parameter can have the
   * name `callback_confirm`. A `prompt` changes what the page asks, and can add choices.
   */
  CONFIRM: "CONFIRM",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type GetGuard = (typeof GetGuard)[keyof typeof GetGuard];

/** What a person enters into a field, and the type of its value in `fieldsJson`. */
export const FieldKind = {
  /** One line of text. */
  TEXT: "TEXT",
  /** Text of several lines, with `\n` as the line break. */
  LONG_TEXT: "LONG_TEXT",
  /** A whole number from -(2^53 - 1) to 2^53 - 1: a number in JSON. */
  INTEGER: "INTEGER",
  /** A number, with a point before its decimals: a number in JSON. */
  NUMBER: "NUMBER",
  /** A box to tick: true or false. One that is required must be ticked. */
  BOOLEAN: "BOOLEAN",
  /** A day, as in `2026-12-31`. */
  DATE: "DATE",
  /**
   * A time in UTC, as in `2026-12-31T23:59:00Z`. The page says that it is in UTC. A program can send a time with
   * another offset.
   */
  DATE_TIME: "DATE_TIME",
  /** An e-mail address. */
  EMAIL: "EMAIL",
  /** An absolute `http` or `https` URL. */
  URL: "URL",
  /** The value of one of `choices`. */
  CHOICE: "CHOICE",
  /** Any number of the values of `choices`: an array of texts in JSON. */
  CHOICES: "CHOICES",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type FieldKind = (typeof FieldKind)[keyof typeof FieldKind];

/** The state of a case in its life. */
export const CallbackStatus = {
  /** The case can be called. */
  OPEN: "OPEN",
  /** A call runs on a single-use case. Another call gets a 409. */
  IN_PROGRESS: "IN_PROGRESS",
  /**
   * The case cannot be called any more. A request gets the `closedResponse`, else a 410, or a 404 on `/cbq/`.
   */
  CLOSED: "CLOSED",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CallbackStatus = (typeof CallbackStatus)[keyof typeof CallbackStatus];

/** The reason why a case closed. */
export const CloseReason = {
  /** A call on a single-use case succeeded, or a handler closed the case. */
  CONSUMED: "CONSUMED",
  /** A call on a single-use case that is not retryable was rejected or failed. */
  FAILED: "FAILED",
  /**
   * The server process that ran a call on such a case died or lost the store before the result was recorded. The call
   * is not run again.
   */
  INTERRUPTED: "INTERRUPTED",
  /** The owner called `closeCallback`. */
  CLOSED_BY_OWNER: "CLOSED_BY_OWNER",
  /** The `expireTime` has passed. */
  EXPIRED: "EXPIRED",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CloseReason = (typeof CloseReason)[keyof typeof CloseReason];

/** The kind of response that a caller gets. */
export const ResponseType = {
  /** Redirects the browser to `redirectUrl`: 302 after GET, 303 after any other method. */
  REDIRECT: "REDIRECT",
  /** Sends `code`, `body` and `headers`. */
  RESPONSE: "RESPONSE",
  /**
   * Sends `code` with a page in the style of the operator: `heading`, `text` and a link. A caller whose `Accept` does
   * not prefer HTML gets the same as `text/plain`.
   */
  PAGE: "PAGE",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type ResponseType = (typeof ResponseType)[keyof typeof ResponseType];

/** The state of a delivery. */
export const DeliveryStatus = {
  /**
   * The delivery waits for the time of its next attempt, for an earlier call of an ordered case, or for its activity
   * to be resumed.
   */
  PENDING: "PENDING",
  /** The handler runs, or the server looks for one. */
  RUNNING: "RUNNING",
  /** The handler accepted. */
  DELIVERED: "DELIVERED",
  /** The handler rejected, or every attempt failed. `replayCall` starts new attempts. */
  DEAD: "DEAD",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type DeliveryStatus = (typeof DeliveryStatus)[keyof typeof DeliveryStatus];

/** The state or result of a call. */
export const CallStatus = {
  /** The call has claimed the case, and its end is not recorded yet. */
  RUNNING: "RUNNING",
  /** The handler accepted. */
  SUCCEEDED: "SUCCEEDED",
  /** The handler said that incorrect data was sent. */
  REJECTED: "REJECTED",
  /**
   * The handler failed, was lost, missed its deadline, or decided on a response that cannot be rendered.
   */
  FAILED: "FAILED",
  /** The lease ended before a result was recorded: the server process died or lost the store. */
  INTERRUPTED: "INTERRUPTED",
  /** The handler provably never started. The case is open again. */
  NOT_STARTED: "NOT_STARTED",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CallStatus = (typeof CallStatus)[keyof typeof CallStatus];

/** The reason why a call has no result of its handler. */
export const CallFailure = {
  /** The handler returned an error. The caller gets a 502. */
  HANDLER_ERROR: "HANDLER_ERROR",
  /** The connection broke after the handler got the call. The caller gets a 503. */
  HANDLER_LOST: "HANDLER_LOST",
  /** The handler missed its deadline. The caller gets a 504. */
  DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
  /** The response that the handler decided on cannot be rendered. The caller gets a 502. */
  INVALID_RESPONSE: "INVALID_RESPONSE",
  /**
   * There was no connection to the handler, or no worker accepted the call before the deadline, so the handler never
   * started. The caller gets a 503 with `Retry-After`.
   */
  HANDLER_UNREACHABLE: "HANDLER_UNREACHABLE",
  /** No handler of the activity takes notifications. Only an attempt to deliver one fails so. */
  NO_HANDLER: "NO_HANDLER",
  /**
   * Workers serve the activity, and none that is connected takes a message as large as the call (`max_message_bytes`
   * of Hello); or the handler is a URL, and what it is told in a header is too large. The handler never started. The
   * caller gets a 503 with `Retry-After`.
   */
  TOO_LARGE: "TOO_LARGE",
  /**
   * The streams of two workers were lost while the call was offered to them, before it began. It is offered to no
   * other worker: it may be the cause. The caller gets a 503. A delivery is DEAD at once.
   */
  WORKERS_LOST: "WORKERS_LOST",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CallFailure = (typeof CallFailure)[keyof typeof CallFailure];

/** The kind of a warning. */
export const WarningReason = {
  /**
   * No worker serves the activity now, and no target is configured for it. Until a worker does, a caller gets a 503,
   * and a delivery of an ACK case waits.
   */
  ACTIVITY_NOT_SERVED: "ACTIVITY_NOT_SERVED",
  /**
   * The case has `notify`, no worker takes the notifications of the activity now, and no target is configured for it,
   * or one that is a URL without `notifications`. Until a handler takes them, its notifications wait.
   */
  NOTIFICATIONS_NOT_SERVED: "NOTIFICATIONS_NOT_SERVED",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type WarningReason = (typeof WarningReason)[keyof typeof WarningReason];

/** Selects calls of all cases of an owner. */
export const CallFilter = {
  /** Selects held calls that wait for their answer. */
  WAITING: "WAITING",
  /**
   * Selects calls and notifications whose delivery is DEAD, except erased ones, which cannot be replayed.
   */
  DEAD: "DEAD",
  /**
   * Selects calls and notifications whose delivery waits for its next attempt, those of an ordered case only if they
   * are first. It requires an activity, and the latest next attempt comes first.
   */
  PENDING: "PENDING",
  /**
   * Selects calls that have ended and have no delivery to run, those whose delivery is DEAD among them. The call that
   * ended last comes first.
   */
  ENDED: "ENDED",
} as const;
export type CallFilter = (typeof CallFilter)[keyof typeof CallFilter];

/** The kind of a change. */
export const CallEventType = {
  /** A URL was generated. */
  CASE_CREATED: "CASE_CREATED",
  /** The response of the case was replaced. */
  RESPONSE_SET: "RESPONSE_SET",
  /** The case closed for another reason than the end of a call. */
  CASE_CLOSED: "CASE_CLOSED",
  /**
   * A call claimed the case; a held call now waits for its answer. A call that the server itself responds to
   * (`record`, ACK) has only a CALL_ENDED event.
   */
  CALL_STARTED: "CALL_STARTED",
  /** A call ended. */
  CALL_ENDED: "CALL_ENDED",
  /**
   * A delivery became due, was attempted, or ended. A REMINDER that is dropped because its case closes or is resolved
   * has no event of its own.
   */
  DELIVERY_CHANGED: "DELIVERY_CHANGED",
  /** The caller of a call did not get its response. */
  CALLER_GONE: "CALLER_GONE",
  /** The `expireTime` of the case was set. */
  CASE_EXTENDED: "CASE_EXTENDED",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CallEventType = (typeof CallEventType)[keyof typeof CallEventType];

/** How an activity is served. */
export const ActivityKind = {
  /** The server answers (`record`), or holds the calls for a person (`form`). */
  BUILT_IN: "BUILT_IN",
  /** The server sends the calls to the target in its configuration. */
  PUSH: "PUSH",
  /** The workers that serve it take the calls. There may be none. */
  WORKERS: "WORKERS",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type ActivityKind = (typeof ActivityKind)[keyof typeof ActivityKind];

/** How severe a finding is. */
export const FindingLevel = {
  /** The check passed. */
  OK: "OK",
  /** It works, but needs attention. */
  WARNING: "WARNING",
  /** It does not work, or breaks a promise. */
  PROBLEM: "PROBLEM",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type FindingLevel = (typeof FindingLevel)[keyof typeof FindingLevel];

/** The outcome of a check. */
export const CheckOutcome = {
  /** It passes. */
  PASSES: "PASSES",
  /** It is a handshake, which is answered without a call. */
  HANDSHAKE: "HANDSHAKE",
  /** It does not pass. */
  FAILS: "FAILS",
  /**
   * It cannot be told, because not all of the request was recorded: servers leave out secrets that are sent in plain
   * text, and what their settings or an owner have erased.
   */
  REDACTED: "REDACTED",
  /** A value that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CheckOutcome = (typeof CheckOutcome)[keyof typeof CheckOutcome];

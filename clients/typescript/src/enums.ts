/** The words of the contract, without their prefixes: `CALLBACK_STATUS_OPEN` is `OPEN`. Each is a plain string. */

/** Status of a case. */
export const CallbackStatus = {
  /** The case accepts calls. */
  OPEN: "OPEN",
  /** A call is running on a single-use case (a case without `allowMultipleCalls`). Another call gets a 409. */
  IN_PROGRESS: "IN_PROGRESS",
  /** The case accepts no more calls. */
  CLOSED: "CLOSED",
  /** A status that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CallbackStatus = (typeof CallbackStatus)[keyof typeof CallbackStatus];

/** Reason for which a case closed. A closed case never opens again. */
export const CloseReason = {
  /** A call on a single-use case succeeded. */
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
  /** The time to live of the case passed. */
  EXPIRED: "EXPIRED",
  /** A reason that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CloseReason = (typeof CloseReason)[keyof typeof CloseReason];

/** Status of a call. */
export const CallStatus = {
  /** The call has claimed the case, and its end is not recorded yet. */
  RUNNING: "RUNNING",
  /** The handler accepted the call. */
  SUCCEEDED: "SUCCEEDED",
  /** The handler rejected the call because of incorrect data. */
  REJECTED: "REJECTED",
  /**
   * The handler raised an exception, was lost, missed its deadline, or decided on a response that cannot be rendered.
   */
  FAILED: "FAILED",
  /** No result was recorded in time, because the server process died or lost the store. */
  INTERRUPTED: "INTERRUPTED",
  /** The handler provably never started. The case is open again. */
  NOT_STARTED: "NOT_STARTED",
  /** A status that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CallStatus = (typeof CallStatus)[keyof typeof CallStatus];

/** Reason for which a call has no decision of its handler. */
export const CallFailure = {
  /** The handler returned an error. */
  HANDLER_ERROR: "HANDLER_ERROR",
  /** The connection broke after the handler received the call. */
  HANDLER_LOST: "HANDLER_LOST",
  /** The handler missed its deadline. */
  DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
  /** The response that the handler decided on cannot be rendered. */
  INVALID_RESPONSE: "INVALID_RESPONSE",
  /**
   * There was no connection to the handler, or no worker accepted the call before the deadline, so the handler never
   * started.
   */
  HANDLER_UNREACHABLE: "HANDLER_UNREACHABLE",
  /** No handler of the activity takes notifications. Only the delivery of one fails so. */
  NO_HANDLER: "NO_HANDLER",
  /** No worker that is connected takes a message as large as the call, so the handler never started. */
  TOO_LARGE: "TOO_LARGE",
  /** Two workers lost their streams when they were offered the call, before it began. No other worker gets it. */
  WORKERS_LOST: "WORKERS_LOST",
  /** A failure that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CallFailure = (typeof CallFailure)[keyof typeof CallFailure];

/** Reason for which a handler is asked. REMINDER and EXPIRY are notifications, without a caller. */
export const CallReason = {
  /** A request reached the case. */
  CALL: "CALL",
  /** A time of `remindAfter` has passed, and the case is neither closed nor resolved. */
  REMINDER: "REMINDER",
  /** The case is closed with the reason EXPIRED, and was not resolved before. */
  EXPIRY: "EXPIRY",
  /** A reason that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type CallReason = (typeof CallReason)[keyof typeof CallReason];

/** Type of a response. */
export const ResponseType = {
  /** A redirect to the redirect URL: 302 after GET, 303 after any other method. */
  REDIRECT: "REDIRECT",
  /** The code, body and headers. */
  RESPONSE: "RESPONSE",
  /** The code, and a page in the style of the operator: heading, text and link. */
  PAGE: "PAGE",
} as const;
export type ResponseType = (typeof ResponseType)[keyof typeof ResponseType];

/**
 * Treatment of a GET that may not come from a person. POST, PUT, PATCH and DELETE are always calls. HEAD, OPTIONS and
 * prefetches never are.
 */
export const GetGuard = {
  /** Every GET is a call, except a browser's prefetch. The return from a payment needs this. */
  OFF: "OFF",
  /** A GET from a program that is known to open links, such as a preview or a mail scanner, is not a call. */
  DETECT: "DETECT",
  /** A GET shows a page with one button, which makes the call: the handler receives the GET, with its query. */
  CONFIRM: "CONFIRM",
  /** A guard that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type GetGuard = (typeof GetGuard)[keyof typeof GetGuard];

/** How a call gets its response. */
export const AnswerMode = {
  /** The handler of the activity decides, while the caller waits. */
  HANDLER: "HANDLER",
  /** The caller waits until a person or another service calls `answerCall`. No handler runs. */
  HOLD: "HOLD",
  /** The caller gets the case's response once the call is stored. The handler runs later, with retries. */
  ACK: "ACK",
  /** A mode that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type AnswerMode = (typeof AnswerMode)[keyof typeof AnswerMode];

/** Status of a delivery. */
export const DeliveryStatus = {
  /**
   * The delivery waits: for the time of its next attempt, for an earlier call of an ordered case, or for its paused
   * activity.
   */
  PENDING: "PENDING",
  /** The handler is running. */
  RUNNING: "RUNNING",
  /** The handler accepted the call. */
  DELIVERED: "DELIVERED",
  /** The handler rejected the call, or every attempt failed. `replayCall` tries again. */
  DEAD: "DEAD",
  /** A status that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type DeliveryStatus = (typeof DeliveryStatus)[keyof typeof DeliveryStatus];

/** Filter of calls across all cases. */
export const CallFilter = {
  /** Held calls that wait for an answer. */
  WAITING: "WAITING",
  /** Calls whose delivery is dead, except erased ones, which cannot be replayed. */
  DEAD: "DEAD",
} as const;
export type CallFilter = (typeof CallFilter)[keyof typeof CallFilter];

/** Type of an event. */
export const CallEventType = {
  /** A URL was generated. */
  CASE_CREATED: "CASE_CREATED",
  /** The case's response was replaced. */
  RESPONSE_SET: "RESPONSE_SET",
  /** The case closed for another reason than the end of a call. */
  CASE_CLOSED: "CASE_CLOSED",
  /**
   * A call claimed the case. A held call now waits for its answer. A call that the server itself responds to (`record`,
   * ACK) has only an event for its end.
   */
  CALL_STARTED: "CALL_STARTED",
  /** A call ended. */
  CALL_ENDED: "CALL_ENDED",
  /** A delivery became due, was attempted, or ended. */
  DELIVERY_CHANGED: "DELIVERY_CHANGED",
  /** The caller of a call did not get its response. */
  CALLER_GONE: "CALLER_GONE",
  /** The `expireTime` of the case was set. */
  CASE_EXTENDED: "CASE_EXTENDED",
  /** A type that this version of the client does not know. Ignore the event. */
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
  /** A kind that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type ActivityKind = (typeof ActivityKind)[keyof typeof ActivityKind];

/** Severity of a finding. */
export const FindingLevel = {
  /** The check passed. */
  OK: "OK",
  /** It works, but needs attention. */
  WARNING: "WARNING",
  /** It does not work, or breaks a promise. */
  PROBLEM: "PROBLEM",
  /** A level that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type FindingLevel = (typeof FindingLevel)[keyof typeof FindingLevel];

/** Kind of a warning about a request that was accepted. */
export const WarningReason = {
  /** No worker serves the activity now, and no target is configured for it. */
  ACTIVITY_NOT_SERVED: "ACTIVITY_NOT_SERVED",
  /** The callback has `notify`, no worker takes the notifications of the activity now, and no target is configured. */
  NOTIFICATIONS_NOT_SERVED: "NOTIFICATIONS_NOT_SERVED",
  /** A kind that this version of the client does not know. */
  UNKNOWN: "UNKNOWN",
} as const;
export type WarningReason = (typeof WarningReason)[keyof typeof WarningReason];

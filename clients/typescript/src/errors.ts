/**
 * The errors of this library, as one tree under `CallbackError`.
 *
 * Each error carries its reason and the metadata of the `ErrorInfo` as properties, so that a program never has to parse
 * a message or know gRPC. `ErrorReason`, the list of reasons, is generated from the contract.
 */

import { CallStatus, CloseReason } from "./contract/enums.js";
import type { ErrorReason } from "./contract/reasons.js";

/** The names of the gRPC status codes. */
export type StatusCode =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

/** One invalid field of a request. */
export interface FieldViolation {
  /** The path of the field in the contract, such as `response.response_redirect_url` or `labels["colour"]`. */
  readonly field: string;
  /** What is wrong with the value. */
  readonly description: string;
  /** The stable name of the rule, such as `string.max_len`. May be empty. */
  readonly rule: string;
}

/** What an error carries beside its message. */
export interface ErrorAttributes {
  readonly code: StatusCode;
  readonly reason?: ErrorReason | (string & {}) | undefined;
  readonly facts?: Readonly<Record<string, string>> | undefined;
  readonly violations?: readonly FieldViolation[] | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown | undefined;
}

/** Base class of every error of a request: the server refused it, or did not respond. */
export class CallbackError extends Error {
  /** The name of the class, also where a bundler has shortened that. */
  override readonly name: string = "CallbackError";
  /** The reason. Empty if the error does not come from the server. A later server can send a reason that is not listed. */
  readonly reason: ErrorReason | (string & {});
  /** The gRPC status code. */
  readonly code: StatusCode;
  /** Metadata of the `ErrorInfo`, such as `close_reason`. */
  readonly facts: Readonly<Record<string, string>>;
  /** Every invalid field. Empty unless the reason is INVALID_REQUEST. */
  readonly violations: readonly FieldViolation[];
  /** How long to wait before sending the same request again. Undefined if the server does not say. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, attributes: ErrorAttributes) {
    const { code, reason = "", facts = {}, violations = [], retryAfterMs, cause } = attributes;
    // The violations contain everything that the message says.
    const text = violations.map((each) => `${each.field}: ${each.description}`).join("; ") || message;
    super(`${reason || code}: ${text}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.reason = reason;
    this.facts = facts;
    this.violations = violations;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The request is not valid. `violations` names every invalid field. Nothing was stored. */
export class InvalidRequestError extends CallbackError {
  override readonly name = "InvalidRequestError";
}

/** The case or call does not exist, belongs to another owner, or is past its retention. */
export class NotFoundError extends CallbackError {
  override readonly name = "NotFoundError";
}

/** The case is closed, so its response cannot be changed, and no further call can arrive. */
export class CallbackClosedError extends CallbackError {
  override readonly name = "CallbackClosedError";
  /** The reason why the case closed. */
  get closeReason(): CloseReason {
    return wordOf(CloseReason, this.facts["close_reason"]);
  }
}

/** The call already has another answer, or ended without one. The request changed nothing. */
export class CallAnsweredError extends CallbackError {
  override readonly name = "CallAnsweredError";
  /** The status of the call. */
  get status(): CallStatus {
    return wordOf(CallStatus, this.facts["status"]);
  }
}

/** The handler decides on the calls: the answer mode of the case is not HOLD. */
export class CallNotHeldError extends CallbackError {
  override readonly name = "CallNotHeldError";
}

/** The case has been resolved with another answer. The request changed nothing. */
export class CallbackResolvedError extends CallbackError {
  override readonly name = "CallbackResolvedError";
}

/** The call cannot be replayed: it runs, its stored request is not complete, or its activity has no handler. */
export class CallNotReplayableError extends CallbackError {
  override readonly name = "CallNotReplayableError";
}

/** A case with the same request id and different content exists. */
export class RequestIdReusedError extends CallbackError {
  override readonly name = "RequestIdReusedError";
}

/** The server has no `state_key`, so it cannot return the same URL twice. Omit the `requestId`. */
export class RequestIdUnsupportedError extends CallbackError {
  override readonly name = "RequestIdUnsupportedError";
}

/** The request has no valid credentials: the token is missing, wrong or expired, or the certificate is unknown. */
export class UnauthenticatedError extends CallbackError {
  override readonly name = "UnauthenticatedError";
}

/** The principal lacks the role that this request needs, or may not handle one of the worker's activities. */
export class PermissionDeniedError extends CallbackError {
  override readonly name = "PermissionDeniedError";
  /** The missing role, such as `owner`. Empty if the server does not say. */
  get role(): string {
    return this.facts["role"] ?? "";
  }
}

/** The owner has reached its quota of open cases. Nothing was stored. */
export class TooManyOpenCallbacksError extends CallbackError {
  override readonly name = "TooManyOpenCallbacksError";
  /** The quota. Undefined if the server does not say. */
  get limit(): number | undefined {
    const limit = this.facts["limit"];
    return limit !== undefined && /^\d+$/.test(limit) ? Number(limit) : undefined;
  }
}

/** Events after the resume token are no longer stored. List the current state, then watch without a token. */
export class WatchPositionLostError extends CallbackError {
  override readonly name = "WatchPositionLostError";
}

/** The watcher reads events more slowly than they arrive. A client that retries resumes from its position. */
export class WatcherTooSlowError extends CallbackError {
  override readonly name = "WatcherTooSlowError";
}

/** The server has reached its limit of watchers, in total or for this principal. */
export class TooManyWatchersError extends CallbackError {
  override readonly name = "TooManyWatchersError";
}

/**
 * The server or its store is unreachable. Every request can be sent again. Send `generateCallbackUrl` with the same
 * `requestId`; otherwise the server may create a second case.
 */
export class UnavailableError extends CallbackError {
  override readonly name: "UnavailableError" | "DeadlineExceededError" = "UnavailableError";
}

/** No response arrived in time. The server may or may not have executed the request. */
export class DeadlineExceededError extends UnavailableError {
  override readonly name = "DeadlineExceededError";
}

function wordOf<Word extends string>(words: Readonly<Record<string, Word>>, word = ""): Word | "UNKNOWN" {
  return words[word] ?? "UNKNOWN";
}

/**
 * The errors of this library, as one tree under `CallbackError`: these by what a program can do, and one for each other
 * reason of a refusal, which are generated from the contract.
 *
 * Each error carries its reason and the metadata of the `ErrorInfo` as properties, so that a program never has to parse
 * a message or know gRPC.
 */

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

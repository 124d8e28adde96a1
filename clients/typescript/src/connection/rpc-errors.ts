/** Conversion of gRPC errors to those of this library. */

import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { type Any, anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import { type ServiceError, status } from "@grpc/grpc-js";
import * as reasons from "../contract/errors.js";
import * as errors from "../errors.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "../gen/google/rpc/status_pb.js";

/** The `ErrorInfo` domain of a Callback server. */
const DOMAIN = "callback";

/** The classes of reasons that have one of their own. Every other error has that of its code. */
const BY_REASON = new Map<string, typeof errors.CallbackError>(
  Object.values(reasons).map((each) => [each.reason, each]),
);

/** The classes of errors that a proxy between client and server can return, too, without a reason of the server. */
const OF_ANY_SERVER: Partial<Record<errors.StatusCode, typeof errors.CallbackError>> = {
  UNAVAILABLE: errors.UnavailableError,
  DEADLINE_EXCEEDED: errors.DeadlineExceededError,
  UNAUTHENTICATED: errors.UnauthenticatedError,
  PERMISSION_DENIED: errors.PermissionDeniedError,
};

const BY_CODE: Partial<Record<errors.StatusCode, typeof errors.CallbackError>> = {
  ...OF_ANY_SERVER,
  INVALID_ARGUMENT: errors.InvalidRequestError,
  NOT_FOUND: errors.NotFoundError,
};

/** Return the error for a gRPC error, with the address of the server, and whether the connection uses TLS, for the message. */
export function fromRpcError(error: ServiceError, target: string, encrypted: boolean): errors.CallbackError {
  const code = codeOf(error.code);
  return refusal(code, error.details, detailsOf(error), error) ?? foreign(code, error, target, encrypted);
}

/** Return the error for one in a response, which is of a Callback server. */
export function fromStatus({ code: number, message, details }: Status): errors.CallbackError {
  const code = codeOf(number);
  return refusal(code, message, details) ?? new errors.CallbackError(message, { code });
}

function codeOf(number: number): errors.StatusCode {
  return (status[number] ?? "UNKNOWN") as errors.StatusCode;
}

/** Return the error with these details. Undefined: it is not one of a Callback server. */
function refusal(
  code: errors.StatusCode,
  message: string,
  details: readonly Any[],
  cause?: ServiceError,
): errors.CallbackError | undefined {
  const info = unpacked(details, ErrorInfoSchema).find(({ domain }) => domain === DOMAIN);
  if (info === undefined) {
    return undefined;
  }
  const kind = BY_REASON.get(info.reason) ?? BY_CODE[code] ?? errors.CallbackError;
  const violations = unpacked(details, BadRequestSchema).flatMap((each) => each.fieldViolations);
  const delays = unpacked(details, RetryInfoSchema).flatMap(({ retryDelay }) => retryDelay ?? []);
  return new kind(message, {
    code,
    reason: info.reason,
    facts: { ...info.metadata },
    violations: violations.map(({ field, description, reason }) => ({ field, description, rule: reason })),
    retryAfterMs: delays[0] && durationMs(delays[0]),
    cause,
  });
}

/** Return whether the same request may succeed in a moment: the server or its store was unreachable. */
export function isRetryable(error: unknown): error is errors.UnavailableError {
  return error instanceof errors.UnavailableError && !(error instanceof errors.DeadlineExceededError);
}

/** What to change, by a part of a message of gRPC. */
const ADVICE = {
  "Protocol error":
    "the port may be one of HTTP/1.1, such as that of the edge or the console: use the gRPC port of the server",
  "wrong version number": "the server does not use TLS: connect without it",
};
const ADVICE_FOR_PLAIN_TEXT = {
  "Failed to connect": "a server that uses TLS closes a connection without it: if this one does, connect with TLS",
};

/** Return what to change, if a message of gRPC says that the target speaks something else. */
function adviceOn(message: string, encrypted: boolean): string {
  const advice = encrypted ? ADVICE : { ...ADVICE, ...ADVICE_FOR_PLAIN_TEXT };
  const [, found] = Object.entries<string>(advice).find(([part]) => message.includes(part)) ?? [];
  return found === undefined ? "" : ` (${found})`;
}

/** Return the error for a failure of gRPC, of the network, or of another program at the target. */
function foreign(
  code: errors.StatusCode,
  cause: ServiceError,
  target: string,
  encrypted: boolean,
): errors.CallbackError {
  // gRPC puts the cause between words about its own parts. The cause is null where it waits before it connects again
  // because another client of the process could not.
  const message = cause.details
    .replace(/^No connection established\. Last error: (?:Error: )?|[.\s]*Resolution note: *$/g, "")
    .replace(/^null$/, "a connection has just failed");
  const texts: Partial<Record<errors.StatusCode, string>> = {
    UNAVAILABLE: `cannot reach ${target}: ${message}${adviceOn(message, encrypted)}`,
    CANCELLED: `${target} cancelled the request: ${message}`,
    DEADLINE_EXCEEDED: `${target} did not respond in time`,
    UNIMPLEMENTED: `${target} is not a Callback server of a compatible version: ${message}`,
  };
  const text = texts[code] ?? `${target}: ${message}`;
  // A server that stops cancels requests. Those that this program cancels have no error of gRPC.
  const meant = code === "CANCELLED" ? "UNAVAILABLE" : code;
  return new (OF_ANY_SERVER[meant] ?? errors.CallbackError)(text, { code: meant, cause });
}

/** Return the details of an error. None if its `google.rpc.Status` is missing or malformed. */
function detailsOf(error: ServiceError): readonly Any[] {
  const [bytes] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!(bytes instanceof Uint8Array)) {
    return [];
  }
  try {
    return fromBinary(StatusSchema, bytes).details;
  } catch {
    return [];
  }
}

/** Return the details of a kind. None if one of them is malformed. */
function unpacked<Desc extends DescMessage>(details: readonly Any[], kind: Desc): MessageShape<Desc>[] {
  try {
    return details.flatMap((detail) => anyUnpack(detail, kind) ?? []);
  } catch {
    return [];
  }
}

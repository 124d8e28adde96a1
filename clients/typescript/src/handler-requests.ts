/**
 * Requests of a server to an HTTP handler: their signatures (Standard Webhooks), and the calls in them.
 *
 * The library `standardwebhooks` decodes a body as UTF-8 before it verifies it, so it refuses any other body. The
 * signatures are therefore verified here.
 */

import { createHmac, timingSafeEqual } from "node:crypto";
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { described } from "./checks.js";
import { incomingCallFrom } from "./contract/converters.js";
import type { IncomingCall } from "./contract/values.js";
import { HandleCallbackRequestSchema } from "./gen/callback/v1/callback_handler_service_pb.js";
import { CallReason } from "./gen/callback/v1/callback_pb.js";
import { bytesOf, messagesOf } from "./messages.js";
import { Headers, type PairsLike, Query } from "./pairs.js";

/** How far the time of a request may be from that of this machine, in seconds. */
const TOLERANCE_S = 300;
const SECRET = /^whsec_((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/;
/** The number of a reason that this version does not know. */
const UNKNOWN = -1;

/** A request is not one that a server has signed with this secret, or an old one. Answer it with a 401. */
export class UnverifiedRequestError extends Error {
  /** The name of the class, also where a bundler has shortened that. */
  override readonly name = "UnverifiedRequestError";
}

/**
 * Return the call, or the notification, in a request to an HTTP handler, once its signatures are verified.
 *
 * A notification, whose `reason` is REMINDER or EXPIRY and which has no request, comes only if the activity says
 * `notifications = true`. The headers of a call are those of the request: `content-type`, and what `request_headers` of the
 * activity names, are the caller's. `response` and `queryString` are always empty, because the request does not have them. So are
 * `labels` and `messageId` if they do not fit beside the query, which the caller chooses: do not rely on the absence of a label.
 *
 * @param secret The secret, `whsec_…`, or several while it is changed: one of them must have signed.
 * @param headers The headers of the request, as Node, `fetch` or a cloud function has them.
 * @param body Its body, byte for byte. Text is UTF-8.
 *
 * @throws UnverifiedRequestError: The request is not signed, not with these secrets, or more than five minutes old.
 * @throws TypeError: A secret is not valid, or the body is neither bytes nor text, because it was parsed.
 */
export function verifyHandlerRequest(
  secret: string | readonly string[],
  headers: PairsLike | Readonly<Record<string, string | readonly string[] | undefined>>,
  body: Uint8Array | string,
): IncomingCall {
  const keys = (typeof secret === "string" ? [secret] : secret).map(keyOf);
  if (typeof body !== "string" && !(body instanceof Uint8Array)) {
    throw new TypeError(`the body must be bytes or text, not ${described(body)}: pass it as it arrived, not parsed`);
  }
  const given = new Headers(present(headers));
  const header = (name: string): string => given.get(name) ?? "";
  const [callId, timestamp] = [header("webhook-id"), header("webhook-timestamp")];
  if (!/^\d{1,12}$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_S) {
    throw new UnverifiedRequestError("the request has no webhook-timestamp, or one of another time");
  }
  const metadata = header("callback-metadata");
  verify(keys, `${callId}.${timestamp}.`, body, header("webhook-signature"));
  verify(keys, `${callId}.metadata.${timestamp}.`, metadata, header("callback-metadata-signature"));
  return callFrom(JSON.parse(Buffer.from(metadata, "base64url").toString()), given, body);
}

function keyOf(secret: string): Buffer {
  const [, key = ""] = SECRET.exec(String(secret).trim()) ?? [];
  if (key === "") {
    throw new TypeError("the secret is not one of Standard Webhooks: whsec_ and base64");
  }
  return Buffer.from(key, "base64");
}

/** Return headers without those that are undefined. */
function present(headers: Parameters<typeof verifyHandlerRequest>[1]): PairsLike {
  if (typeof headers !== "object" || headers === null || Symbol.iterator in headers) {
    return headers as PairsLike; // what is none is an error of `Headers`
  }
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined)) as PairsLike;
}

function verify(keys: readonly Buffer[], before: string, signed: Uint8Array | string, signatures: string): void {
  const given = signatures.split(" ").map((each) => Buffer.from(each));
  for (const key of keys) {
    const code = createHmac("sha256", key).update(before).update(signed).digest("base64");
    const expected = Buffer.from(`v1,${code}`);
    if (given.some((each) => each.length === expected.length && timingSafeEqual(each, expected))) {
      return;
    }
  }
  throw new UnverifiedRequestError("no signature of the request is by this secret");
}

function callFrom(metadata: JsonObject, headers: Headers, body: Uint8Array | string): IncomingCall {
  const reason = CallReason[metadata["reason"] as keyof typeof CallReason] ?? UNKNOWN;
  const isCall = reason === CallReason.CALL;
  const fields = {
    ...metadata,
    reason,
    traceparent: headers.get("traceparent") ?? "",
    requestQuery: messagesOf(new Query(metadata["requestQuery"] as PairsLike | undefined)),
    requestHeaders: isCall ? messagesOf(headers).map(({ name, value }) => ({ name: name.toLowerCase(), value })) : [],
  };
  const message = fromJson(HandleCallbackRequestSchema, fields, { ignoreUnknownFields: true });
  if (isCall) {
    message.requestBody = bytesOf<never>(body);
  }
  return incomingCallFrom(message);
}

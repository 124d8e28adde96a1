/** The messages of requests, from their options. */

import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { MAX_MESSAGE_BYTES } from "./connection/channel.js";
import { decisionTo, responseTo } from "./converters.js";
import type { Answer, Reject } from "./decisions.js";
import * as enums from "./enums.js";
import { InvalidRequestError } from "./errors.js";
import * as pb from "./gen/callback/v1/callback_pb.js";
import * as service from "./gen/callback/v1/callbacks_service_pb.js";
import type {
  GenerateOptions,
  ListCallbacksOptions,
  ListOwnerCallsOptions,
  Resettable,
  WatchOptions,
} from "./options.js";
import { ErrorReason } from "./reasons.js";
import { Response } from "./response.js";

/** The largest body that is sent, in bytes. The server's own limit is lower, but it could not read a larger message. */
const LARGEST_BODY = MAX_MESSAGE_BYTES / 2;

const RESPONSE_FIELDS: Record<Resettable | "type", string> = {
  type: "response_type",
  redirectUrl: "response_redirect_url",
  body: "response_body",
  code: "response_code",
  headers: "response_headers",
  heading: "response_heading",
  text: "response_text",
  linkLabel: "response_link_label",
  linkUrl: "response_link_url",
};

export function generateRequest(
  activity: string,
  response: Response,
  options: GenerateOptions,
  requestId: string,
): service.GenerateCallbackUrlRequest {
  const { prompt, answerMode, getGuard } = options;
  return create(service.GenerateCallbackUrlRequestSchema, {
    callbackActivity: requireText("activity", activity),
    callbackActivityCase: requireText("activityCase", options.activityCase),
    stateQueryParameter: requireText("stateQueryParameter", options.stateQueryParameter),
    retryableAfterError: options.retryableAfterError,
    allowMultipleCalls: options.allowMultipleCalls,
    alternativeDomain: requireText("alternativeDomain", options.alternativeDomain),
    response: requireResponse(response),
    requestId: requireText("requestId", requestId),
    timeToLive: durationOf(options.timeToLiveMs),
    labels: labelsOf(options.labels),
    verificationProfile: requireText("verificationProfile", options.verificationProfile),
    getGuard: getGuard && pb.GetGuard[wordOf("getGuard", getGuard, enums.GetGuard)],
    answerMode: answerMode && pb.AnswerMode[wordOf("answerMode", answerMode, enums.AnswerMode)],
    answerDeadline: durationOf(options.answerDeadlineMs),
    fallback: options.fallback && requireResponse(options.fallback),
    ordered: options.ordered,
    holdTime: durationOf(options.holdTimeMs),
    repeatWindow: durationOf(options.repeatWindowMs),
    noRepeat: options.noRepeat,
    prompt: prompt && {
      title: requireText("prompt.title", prompt.title),
      text: requireText("prompt.text", prompt.text),
      choices: Object.entries(labelsOf(prompt.choices)).map(([value, label]) => ({ value, label })),
    },
    closedResponse: options.closedResponse && requireResponse(options.closedResponse),
    remindAfter: options.remindAfterMs?.map((each) => durationFromMs(each)) ?? [],
    notify: options.notify?.map((each) => pb.CallReason[wordOf("notify", each, enums.CallReason)]) ?? [],
  });
}

export function setResponseRequest(
  caseId: string,
  response: Response,
  reset: readonly Resettable[],
): service.SetResponseRequest {
  const message = requireResponse(response);
  const isGiven = (name: Resettable | "type"): boolean => response[name] !== undefined;
  for (const name of reset) {
    if (!(name in RESPONSE_FIELDS) || (name as string) === "type") {
      const others = Object.keys(RESPONSE_FIELDS).filter((each) => each !== "type");
      throw new TypeError(`reset cannot contain ${JSON.stringify(name)}: use ${others.join(", ")}`);
    }
    if (isGiven(name)) {
      throw new TypeError(`${name} is both set and reset: give it once`);
    }
  }
  const names = Object.keys(RESPONSE_FIELDS) as (Resettable | "type")[];
  const changed = names.filter((name) => isGiven(name) || reset.includes(name as Resettable));
  return create(service.SetResponseRequestSchema, {
    callbackCaseId: requireText("caseId", caseId),
    response: message,
    updateMask: { paths: changed.map((name) => RESPONSE_FIELDS[name]) },
  });
}

export function answerRequest(callId: string, answer: Answer | Reject): service.AnswerCallRequest {
  const { verdict, response, keepOpen, close, noRepeat } = decisionTo(answer);
  requireBody(response?.responseBody);
  const id = requireText("callId", callId);
  return create(service.AnswerCallRequestSchema, { callId: id, verdict, response, keepOpen, close, noRepeat });
}

export function resolveRequest(caseId: string, answer: Answer | Reject): service.ResolveCallbackRequest {
  const { verdict, response, keepOpen, close, noRepeat } = decisionTo(answer);
  if (keepOpen || close) {
    throw new TypeError("an answer to all calls of a callback cannot keep it open, or close it: use closeCallback");
  }
  requireBody(response?.responseBody);
  const id = requireText("caseId", caseId);
  return create(service.ResolveCallbackRequestSchema, { callbackCaseId: id, verdict, response, noRepeat });
}

export function extendRequest(caseId: string, expireTime: Date): service.ExtendCallbackRequest {
  return create(service.ExtendCallbackRequestSchema, {
    callbackCaseId: requireText("caseId", caseId),
    expireTime: timestampFromDate(requireDate("expireTime", expireTime)),
  });
}

export function listCallbacksRequest(options: ListCallbacksOptions): service.ListCallbacksRequest {
  const { status, lastCallStatus, createdAfter, createdBefore } = options;
  return create(service.ListCallbacksRequestSchema, {
    pageSize: options.pageSize,
    pageToken: requireText("pageToken", options.pageToken),
    callbackActivity: requireText("activity", options.activity),
    labels: labelsOf(options.labels),
    owner: requireText("owner", options.owner),
    status: status && pb.CallbackStatus[wordOf("status", status, enums.CallbackStatus)],
    lastCallStatus: lastCallStatus && pb.CallStatus[wordOf("lastCallStatus", lastCallStatus, enums.CallStatus)],
    createdAfter: createdAfter && timestampFromDate(requireDate("createdAfter", createdAfter)),
    createdBefore: createdBefore && timestampFromDate(requireDate("createdBefore", createdBefore)),
  });
}

export function listOwnerCallsRequest(
  only: enums.CallFilter,
  options: ListOwnerCallsOptions,
): service.ListOwnerCallsRequest {
  return create(service.ListOwnerCallsRequestSchema, {
    filter: service.CallFilter[wordOf("only", only, enums.CallFilter)],
    owner: requireText("owner", options.owner),
    callbackActivity: requireText("activity", options.activity),
    pageSize: options.pageSize,
    pageToken: requireText("pageToken", options.pageToken),
  });
}

export function watchRequest(options: WatchOptions): service.WatchCallsRequest {
  return create(service.WatchCallsRequestSchema, {
    callbackActivity: requireText("activity", options.activity),
    labels: labelsOf(options.labels),
    callbackCaseId: requireText("caseId", options.caseId),
    resumeToken: requireText("resumeToken", options.resumeToken),
    latestOnly: options.latestOnly,
  });
}

/** Return a unique request id. */
export function newRequestId(): string {
  return randomUUID();
}

/** Return the value, after checking that it is text. @throws TypeError: It is not text. */
export function requireText(name: string, value = ""): string {
  if (typeof value !== "string") {
    throw new TypeError(`${name} must be text, not ${value === null ? "null" : typeof value}`);
  }
  return value;
}

function requireResponse(response: Response): pb.Response {
  if (!(response instanceof Response)) {
    throw new TypeError(`response must be a Response, a Redirect or a PageResponse, not ${typeof response}`);
  }
  requireBody(response.body);
  return responseTo(response);
}

/** @throws InvalidRequestError: The body is too large to send. */
function requireBody(body: Uint8Array | undefined): void {
  if (body !== undefined && body.length > LARGEST_BODY) {
    const description = "is larger than a request can be";
    throw new InvalidRequestError(description, {
      code: "INVALID_ARGUMENT",
      reason: ErrorReason.INVALID_REQUEST,
      violations: [{ field: "response.response_body", description, rule: "bytes.max_len" }],
    });
  }
}

function requireDate(name: string, value: Date): Date {
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) {
    throw new TypeError(`${name} must be a valid Date`);
  }
  return value;
}

function labelsOf(labels: Readonly<Record<string, string>> = {}): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).map(([name, value]) => [name, requireText(`labels.${name}`, value)]),
  );
}

/** Return a word, after checking that it is one. @throws TypeError: It is not, or it is UNKNOWN. */
function wordOf<Word extends string>(
  name: string,
  word: Word,
  words: Readonly<Record<string, Word>>,
): Exclude<Word, "UNKNOWN"> {
  if (word === "UNKNOWN" || !Object.hasOwn(words, word)) {
    const others = Object.keys(words).filter((each) => each !== "UNKNOWN");
    throw new TypeError(`${name} must be ${others.join(", ")}, not ${String(word)}`);
  }
  return word as Exclude<Word, "UNKNOWN">;
}

function durationOf(milliseconds: number | undefined): ReturnType<typeof durationFromMs> | undefined {
  return milliseconds === undefined ? undefined : durationFromMs(milliseconds);
}

/** The messages of requests, from their options. */

import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Duration, durationFromMs as exactDurationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { checkOptions, date, text, wordOf } from "./checks.js";
import { MAX_MESSAGE_BYTES } from "./connection/channel.js";
import { decisionTo, responseTo } from "./converters.js";
import type { Answer, Reject } from "./decisions.js";
import * as enums from "./enums.js";
import { InvalidRequestError } from "./errors.js";
import * as pb from "./gen/callback/v1/callback_pb.js";
import * as service from "./gen/callback/v1/callbacks_service_pb.js";
import * as ops from "./gen/callback/v1/operations_service_pb.js";
import * as checks from "./option-checks.js";
import type {
  GenerateOptions,
  ListActivitiesOptions,
  ListCallbacksOptions,
  ListOptions,
  ListOwnerCallsOptions,
  PauseOptions,
  Resettable,
  SetResponseOptions,
  WatchOptions,
} from "./options.js";
import { ErrorReason } from "./reasons.js";
import { checkResponse, type Response } from "./response.js";

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
): service.GenerateCallbackUrlRequest {
  checkOptions("generateCallbackUrl", options, checks.GENERATE);
  const { prompt, answerMode, getGuard, fallback, closedResponse } = options;
  return create(service.GenerateCallbackUrlRequestSchema, {
    callbackActivity: requireText("activity", activity),
    callbackActivityCase: options.activityCase,
    stateQueryParameter: options.stateQueryParameter,
    retryableAfterError: options.retryableAfterError,
    allowMultipleCalls: options.allowMultipleCalls,
    alternativeDomain: options.alternativeDomain,
    response: requireResponse("response", response),
    requestId: options.requestId,
    timeToLive: durationOf(options.timeToLiveMs),
    labels: { ...options.labels },
    verificationProfile: options.verificationProfile,
    getGuard: getGuard && pb.GetGuard[getGuard],
    answerMode: answerMode && pb.AnswerMode[answerMode],
    answerDeadline: durationOf(options.answerDeadlineMs),
    fallback: fallback && requireResponse("fallback", fallback),
    ordered: options.ordered,
    holdTime: durationOf(options.holdTimeMs),
    repeatWindow: durationOf(options.repeatWindowMs),
    noRepeat: options.noRepeat,
    prompt: prompt && {
      title: requireText("prompt.title", prompt.title),
      text: prompt.text,
      choices: Object.entries(prompt.choices ?? {}).map(([value, label]) => ({ value, label })),
    },
    closedResponse: closedResponse && requireResponse("closedResponse", closedResponse),
    remindAfter: options.remindAfterMs?.map(durationFromMs) ?? [],
    notify: options.notify?.map((each) => pb.CallReason[each]) ?? [],
  });
}

export function setResponseRequest(
  caseId: string,
  response: Response,
  options: SetResponseOptions,
): service.SetResponseRequest {
  checkOptions("setResponse", options, checks.SET_RESPONSE);
  const { reset = [] } = options;
  const message = requireResponse("response", response);
  const isGiven = (name: Resettable | "type"): boolean => response[name] !== undefined;
  for (const name of reset) {
    if (!Object.hasOwn(RESPONSE_FIELDS, name) || (name as string) === "type") {
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
  date("expireTime", expireTime);
  return create(service.ExtendCallbackRequestSchema, {
    callbackCaseId: requireText("caseId", caseId),
    expireTime: timestampFromDate(expireTime),
  });
}

export function listCallbacksRequest(options: ListCallbacksOptions): service.ListCallbacksRequest {
  checkOptions("listCallbacks", options, checks.LIST_CALLBACKS);
  const { status, lastCallStatus, createdAfter, createdBefore } = options;
  return create(service.ListCallbacksRequestSchema, {
    pageSize: options.pageSize,
    pageToken: options.pageToken,
    callbackActivity: options.activity,
    labels: { ...options.labels },
    owner: options.owner,
    status: status && pb.CallbackStatus[status],
    lastCallStatus: lastCallStatus && pb.CallStatus[lastCallStatus],
    createdAfter: createdAfter && timestampFromDate(createdAfter),
    createdBefore: createdBefore && timestampFromDate(createdBefore),
  });
}

export function listOwnerCallsRequest(
  only: enums.CallFilter,
  options: ListOwnerCallsOptions,
): service.ListOwnerCallsRequest {
  wordOf(enums.CallFilter)("only", only);
  checkOptions("listOwnerCalls", options, checks.LIST_OWNER_CALLS);
  const { owner, activity: callbackActivity, pageSize, pageToken } = options;
  return create(service.ListOwnerCallsRequestSchema, {
    filter: service.CallFilter[only],
    owner,
    callbackActivity,
    pageSize,
    pageToken,
  });
}

export function listCallsRequest(caseId: string, options: ListOptions): service.ListCallsRequest {
  checkOptions("listCalls", options, checks.LIST);
  const { pageSize, pageToken } = options;
  return create(service.ListCallsRequestSchema, { callbackCaseId: requireText("caseId", caseId), pageSize, pageToken });
}

export function listActivitiesRequest(options: ListActivitiesOptions): ops.ListActivitiesRequest {
  checkOptions("listActivities", options, checks.LIST_ACTIVITIES);
  const { owner, pageSize, pageToken } = options;
  return create(ops.ListActivitiesRequestSchema, { owner, pageSize, pageToken });
}

export function pauseRequest(activity: string, options: PauseOptions): ops.PauseActivityRequest {
  checkOptions("pauseActivity", options, checks.PAUSE);
  const callbackActivity = requireText("activity", activity);
  return create(ops.PauseActivityRequestSchema, { callbackActivity, reason: options.reason });
}

export function watchRequest(options: WatchOptions): service.WatchCallsRequest {
  checkOptions("watchCalls", options, checks.WATCH);
  return create(service.WatchCallsRequestSchema, {
    callbackActivity: options.activity,
    labels: { ...options.labels },
    callbackCaseId: options.caseId,
    resumeToken: options.resumeToken,
    latestOnly: options.latestOnly,
  });
}

/** Return a unique request id. */
export function newRequestId(): string {
  return randomUUID();
}

/** Return the value, after checking that it is text. @throws TypeError: It is not text. */
export function requireText(name: string, value: string): string {
  text(name, value);
  return value;
}

function requireResponse(name: string, response: Response): pb.Response {
  checkResponse(name, response);
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

/** Return the duration of a time in milliseconds, which is rounded to whole ones. */
function durationFromMs(milliseconds: number): Duration {
  return exactDurationFromMs(Math.round(milliseconds));
}

function durationOf(milliseconds: number | undefined): Duration | undefined {
  return milliseconds === undefined ? undefined : durationFromMs(milliseconds);
}

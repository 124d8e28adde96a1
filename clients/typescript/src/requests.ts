/** The options of requests, and their messages. */

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
import { ErrorReason } from "./reasons.js";
import { Response, type ResponseAttributes } from "./response.js";

/** The options of every request. */
export interface RequestOptions {
  /** How long the request may take with all its attempts, in milliseconds. Default: the timeout of the client. */
  readonly timeoutMs?: number;
  /** Cancels the request. It then rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
}

/** The options of `generateCallbackUrl`. */
export interface GenerateOptions extends RequestOptions {
  /** Passed to the handler unchanged. */
  readonly activityCase?: string;
  /** Makes the URL `/cbq/{param}?{param}={state}`, for OAuth, SAML and similar protocols. */
  readonly stateQueryParameter?: string;
  /**
   * Leaves a single-use case (a case without `allowMultipleCalls`) open after a rejected, failed or interrupted call.
   */
  readonly retryableAfterError?: boolean;
  /**
   * Accepts any number of calls, whatever their results, until the case is closed or expires. Default: one call at a time.
   * A success closes the case; without `retryableAfterError`, so does a rejected, failed or interrupted call.
   */
  readonly allowMultipleCalls?: boolean;
  /** `https://host[:port]` of the URL, instead of the server's own. */
  readonly alternativeDomain?: string;
  /**
   * The same id and content return the same URL for as long as the case is stored. After that, they create a case with
   * another URL. Default: a new id.
   */
  readonly requestId?: string;
  /** Closes the case after this time. Default: the server's setting, otherwise never. */
  readonly timeToLiveMs?: number;
  /** Names and values of your choice, by which to find the case. */
  readonly labels?: Readonly<Record<string, string>>;
  /**
   * The profile, declared in the server's configuration, that every request must pass. Default: none, so that everyone
   * who knows the URL can make the call.
   */
  readonly verificationProfile?: string;
  /** How to treat a GET that may not come from a person. CONFIRM excludes a `verificationProfile`. Default: OFF. */
  readonly getGuard?: enums.GetGuard;
  /** How a call gets its response. Default: from the handler, while the caller waits; for `form`, HOLD. */
  readonly answerMode?: enums.AnswerMode;
  /**
   * The time after which the caller gets `fallback` while the call continues, or without one is told to wait. Default:
   * 2 seconds for a browser, 5 minutes for any other caller of a held call.
   */
  readonly answerDeadlineMs?: number;
  /** The response at the answer deadline. Requires `answerDeadlineMs`. */
  readonly fallback?: Response;
  /** Handles the calls of an ACK case one after the other, in their order. */
  readonly ordered?: boolean;
  /** How long a held call waits for its answer, before it fails. Only for HOLD. Default: 5 minutes. */
  readonly holdTimeMs?: number;
  /**
   * How long after the end of a call the same request (method, query and body) gets the answer of that call, in place of
   * making another call. Default: 2 minutes; none if `allowMultipleCalls` is set.
   */
  readonly repeatWindowMs?: number;
  /** Gives no answer twice: the same request again gets a 410. */
  readonly noRepeat?: boolean;
  /** What the page of the guard CONFIRM asks: a title, a text and choices. Default: whether to continue. */
  readonly prompt?: {
    readonly title: string;
    readonly text?: string;
    readonly choices?: Readonly<Record<string, string>>;
  };
  /**
   * The response to requests after the case is closed, such as a page "already done". Default: a 410, or a 404 on
   * `/cbq/`.
   */
  readonly closedResponse?: Response;
  /**
   * Up to 10 times after the creation of the case at which its handler of notifications gets a reminder, until the case
   * is closed or resolved. Requires REMINDER in `notify`.
   */
  readonly remindAfterMs?: readonly number[];
  /** The notifications that the handler gets: REMINDER, EXPIRY, or both. Default: none. */
  readonly notify?: readonly enums.CallReason[];
}

/** The names of attributes that `setResponse` can reset to their default. */
export type Resettable = Exclude<keyof ResponseAttributes, "type">;

/** The options of `setResponse`. */
export interface SetResponseOptions extends RequestOptions {
  /** Attributes to reset to their default. */
  readonly reset?: readonly Resettable[];
}

/** The options of lists. */
export interface ListOptions extends RequestOptions {
  /** The number of entries per page. Default: 50. The server returns at most 1,000 callbacks, and 100 of all else. */
  readonly pageSize?: number;
  /** `nextPageToken` of the previous page. All pages of one list take the same filters. Default: the first page. */
  readonly pageToken?: string;
}

/** The filters of `listCallbacks`. */
export interface ListCallbacksOptions extends ListOptions {
  /** Only cases in this status. */
  readonly status?: enums.CallbackStatus;
  /** Only cases of this activity. */
  readonly activity?: string;
  /** Only cases that have all of these labels. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Only cases of this owner. Default: your own callbacks. Other owners require the role admin. */
  readonly owner?: string;
  /**
   * Only cases whose newest recorded call has this status. No index helps here: the server looks at the calls of each
   * case.
   */
  readonly lastCallStatus?: enums.CallStatus;
  /** Only cases that were created at this time or later. */
  readonly createdAfter?: Date;
  /** Only cases that were created earlier than this time. */
  readonly createdBefore?: Date;
}

/** The filters of `listOwnerCalls`. */
export interface ListOwnerCallsOptions extends ListOptions {
  /**
   * Only calls of this owner. Default: your own. Other owners require the role admin, or a worker with `answers`, which
   * must name an owner.
   */
  readonly owner?: string;
  /** Only calls of this activity. Default: all. */
  readonly activity?: string;
}

/** The options of `watchCalls`. */
export interface WatchOptions {
  /** Only events of this activity. */
  readonly activity?: string;
  /** Only events of cases that have all of these labels. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Only events of this case. */
  readonly caseId?: string;
  /**
   * `resumeToken` of an event or of a watch with the same filter. The watch continues after it. A `caseId` that does not
   * exist is then not an error, because the case may have been deleted. Default: start now.
   */
  readonly resumeToken?: string;
  /**
   * Receive only the latest event, at most about one in 0.7 seconds. For a program that only needs to know that something
   * has changed.
   */
  readonly latestOnly?: boolean;
  /**
   * How long to try to reconnect after each lost connection, in milliseconds. Infinity never gives up. Default: the
   * timeout of the client.
   */
  readonly timeoutMs?: number;
  /** Ends the watch. The iteration then throws the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
}

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

/** The checks of the options of clients, workers and requests. The types are in `options.ts`. */

import {
  arrayOf,
  boolean,
  type Checks,
  count,
  date,
  endlessMs,
  file,
  func,
  logger,
  must,
  nested,
  positiveMs,
  signal,
  someMs,
  text,
  texts,
  wordOf,
} from "./checks.js";
import type { Tls } from "./connection/tls.js";
import * as enums from "./enums.js";
import type * as options from "./options.js";
import { checkResponse } from "./response.js";

const TLS = { caFile: file, certFile: file, keyFile: file, serverName: text } satisfies Checks<Tls>;

const PROMPT = { title: text, text, choices: texts } satisfies Checks<NonNullable<options.GenerateOptions["prompt"]>>;

/** The reasons of notifications. */
const { REMINDER, EXPIRY } = enums.CallReason;

/** The options with which a client or a worker connects. */
export const CONNECTION = {
  target: text,
  token: must("text or a function", (value) => typeof value === "string" || typeof value === "function"),
  tokenFile: file,
  tls: nested(TLS, '{ caFile: "ca.pem" }'),
  logger,
} satisfies Checks<Pick<options.ClientOptions, "target" | "token" | "tokenFile" | "tls" | "logger">>;

export const CLIENT = {
  ...CONNECTION,
  timeoutMs: positiveMs,
  retry: boolean,
  traceContext: func,
} satisfies Checks<options.ClientOptions>;

export const REQUEST = { timeoutMs: positiveMs, signal } satisfies Checks<options.RequestOptions>;

export const GENERATE = {
  ...REQUEST,
  activityCase: text,
  stateQueryParameter: text,
  retryableAfterError: boolean,
  allowMultipleCalls: boolean,
  alternativeDomain: text,
  requestId: text,
  timeToLiveMs: positiveMs,
  labels: texts,
  verificationProfile: text,
  getGuard: wordOf(enums.GetGuard),
  answerMode: wordOf(enums.AnswerMode),
  answerDeadlineMs: positiveMs,
  fallback: checkResponse,
  ordered: boolean,
  holdTimeMs: positiveMs,
  repeatWindowMs: someMs,
  noRepeat: boolean,
  prompt: nested(PROMPT, '{ title: "Pay?" }'),
  closedResponse: checkResponse,
  remindAfterMs: arrayOf("milliseconds", positiveMs),
  notify: arrayOf("REMINDER and EXPIRY", wordOf({ REMINDER, EXPIRY })),
} satisfies Checks<options.GenerateOptions>;

export const SET_RESPONSE = { ...REQUEST, reset: arrayOf("names", text) } satisfies Checks<options.SetResponseOptions>;

export const LIST = { ...REQUEST, pageSize: count, pageToken: text } satisfies Checks<options.ListOptions>;

export const LIST_CALLBACKS = {
  ...LIST,
  status: wordOf(enums.CallbackStatus),
  activity: text,
  labels: texts,
  owner: text,
  lastCallStatus: wordOf(enums.CallStatus),
  createdAfter: date,
  createdBefore: date,
} satisfies Checks<options.ListCallbacksOptions>;

export const LIST_OWNER_CALLS = {
  ...LIST,
  owner: text,
  activity: text,
} satisfies Checks<options.ListOwnerCallsOptions>;

export const LIST_ACTIVITIES = { ...LIST, owner: text } satisfies Checks<options.ListActivitiesOptions>;

export const PAUSE = { ...REQUEST, reason: text } satisfies Checks<options.PauseOptions>;

export const WATCH = {
  activity: text,
  labels: texts,
  caseId: text,
  resumeToken: text,
  latestOnly: boolean,
  timeoutMs: endlessMs,
  signal,
} satisfies Checks<options.WatchOptions>;

export const WAIT = { timeoutMs: endlessMs, after: count, signal } satisfies Checks<options.WaitOptions>;

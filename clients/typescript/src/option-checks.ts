/** The checks of the options that are not in the contract: of clients, workers, and all requests. */

import {
  arrayOf,
  boolean,
  type Checks,
  endlessMs,
  file,
  func,
  logger,
  must,
  nested,
  positiveMs,
  signal,
  text,
  whole64,
} from "./checks.js";
import type { Tls } from "./connection/tls.js";
import type * as options from "./options.js";

const TLS = { caFile: file, certFile: file, keyFile: file, serverName: text } satisfies Checks<Tls>;

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

export const SET_RESPONSE = { ...REQUEST, reset: arrayOf(text) } satisfies Checks<options.SetResponseOptions>;

export const WATCHING = { timeoutMs: endlessMs, signal } satisfies Checks<options.WatchingOptions>;

export const WAIT = { timeoutMs: endlessMs, after: whole64, signal } satisfies Checks<options.WaitOptions>;

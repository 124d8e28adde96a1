/**
 * Callback for Node: generate URLs that an outside system can call, and decide how each call is answered.
 *
 * `CallbackClient` is the client of a Callback server. `Handlers` holds the functions that decide on calls; a `Worker`
 * receives calls from the server and runs them. `@callback/client/testing` starts a system for tests.
 */

export { CallbackClient } from "./client.js";
export type { Tls } from "./connection/tls.js";
export { Accept, type AcceptAttributes, type Answer, Reject, type RejectAttributes } from "./decisions.js";
export * from "./enums.js";
export * from "./errors.js";
export {
  HandlerServer,
  type HandlerServerOptions,
  type RunningHandlerServer,
  type ServerTls,
} from "./handler-server.js";
export { type Handler, type HandlerContext, Handlers, type NotificationHandler } from "./handlers.js";
export type { Logger } from "./logger.js";
export type {
  ClientOptions,
  GenerateOptions,
  ListActivitiesOptions,
  ListCallbacksOptions,
  ListOptions,
  ListOwnerCallsOptions,
  PauseOptions,
  RequestOptions,
  Resettable,
  SetResponseOptions,
  TokenOptions,
  WaitOptions,
  WatchOptions,
} from "./options.js";
export { Headers, Pairs, type PairsLike, Query } from "./pairs.js";
export type { RunOptions } from "./process.js";
export { ErrorReason } from "./reasons.js";
export { Call, IncomingCall, Request, type RequestAttributes, type TraceContext } from "./request.js";
export { PageResponse, Redirect, Response, type ResponseAttributes } from "./response.js";
export * from "./values.js";
export type { CallWatch } from "./watch.js";
export { type RunningWorker, Worker, type WorkerOptions } from "./worker.js";

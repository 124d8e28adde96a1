/**
 * Callback for Node: generate URLs that an outside system can call, and decide how each call is answered.
 *
 * `CallbackClient` is the client of a Callback server. `Handlers` holds the functions that decide on calls; a `Worker`
 * receives calls from the server and runs them. `@callback/client/testing` starts a system for tests.
 */

export { CallbackClient } from "./client.js";
export type { Tls } from "./connection/tls.js";
export * from "./contract/enums.js";
export * from "./contract/errors.js";
export type * from "./contract/options.js";
export { ErrorReason } from "./contract/reasons.js";
export * from "./contract/values.js";
export { Accept, type AcceptAttributes, type Answer, Reject, type RejectAttributes } from "./decisions.js";
export * from "./errors.js";
export { Form, FormFile } from "./forms.js";
export { UnverifiedRequestError, verifyHandlerRequest } from "./handler-requests.js";
export {
  HandlerServer,
  type HandlerServerOptions,
  type RunningHandlerServer,
  type ServerTls,
} from "./handler-server.js";
export {
  type Handler,
  type HandlerContext,
  Handlers,
  type Notification,
  type NotificationHandler,
} from "./handlers.js";
export type { Logger } from "./logger.js";
export type {
  ClientOptions,
  NewCallback,
  RequestOptions,
  Resettable,
  SetResponseOptions,
  TokenOptions,
  WaitOptions,
  WatchingOptions,
} from "./options.js";
export type { Page } from "./paging.js";
export { Headers, Pairs, type PairsLike, Query } from "./pairs.js";
export type { RunOptions } from "./process.js";
export { Request, type RequestAttributes, type TraceContext } from "./request.js";
export { PageResponse, Redirect, Response, type ResponseAttributes } from "./response.js";
export type { CallWatch } from "./watch.js";
export { type RunningWorker, Worker, type WorkerOptions } from "./worker.js";

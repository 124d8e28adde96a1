/** The options of clients, and of all their requests. An option that is undefined is not given. */

import type { Tls } from "./connection/tls.js";
import type { GenerateOptions } from "./contract/options.js";
import type { Logger } from "./logger.js";
import type { TraceContext } from "./request.js";
import type { Response, ResponseAttributes } from "./response.js";

/** How a client proves who it is. */
export interface TokenOptions {
  /** The bearer token, or a function that returns it and is called with every request, or with every connection. */
  readonly token?: string | (() => string | Promise<string>) | undefined;
  /** A file with the bearer token. It is read again with every request, or with every connection. */
  readonly tokenFile?: string | URL | undefined;
}

/** The options of a client. */
export interface ClientOptions extends TokenOptions {
  /**
   * `host:port`, or another gRPC target such as `dns:///callback:50051` or `unix:/run/callback.sock`. Of several servers,
   * as in `a:50051,b:50051`, the first one that can be reached is used, and the next one after it is lost; of the
   * addresses of one name, any. While the client is in use, it looks the names up every 5 seconds, and after a failure.
   * Default: `127.0.0.1:50051`.
   */
  readonly target?: string | undefined;
  /**
   * The authorities to trust, and the client's certificate. Default: no TLS. A token then crosses the network in plain
   * text, which is logged once as a warning unless the target is on this machine.
   */
  readonly tls?: Tls | undefined;
  /** The timeout of each request in milliseconds, unless it is given another one. Default: 10,000. */
  readonly timeoutMs?: number | undefined;
  /** False sends every request once, and throws at once if the server is unreachable: for interactive programs. */
  readonly retry?: boolean | undefined;
  /** Returns the trace context to send with each request, such as what OpenTelemetry injects into an empty object. */
  readonly traceContext?: (() => TraceContext) | undefined;
  /** Where to log. Default: standard error. */
  readonly logger?: Logger | undefined;
}

/** The options of every request. */
export interface RequestOptions {
  /** How long the request may take with all its attempts, in milliseconds. Default: the timeout of the client. */
  readonly timeoutMs?: number | undefined;
  /** Cancels the request. It then rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
}

/** A callback of `generateCallbackUrls`: the arguments of `generateCallbackUrl`, and its options. */
export interface NewCallback extends Omit<GenerateOptions, keyof RequestOptions> {
  /** Decides what happens on a call. */
  readonly activity: string;
  /** The response to a call, unless its handler overrides it. */
  readonly response: Response;
}

/** The names of attributes that `setResponse` can reset to their default. */
export type Resettable = Exclude<keyof ResponseAttributes, "type">;

/** The options of `setResponse`. */
export interface SetResponseOptions extends RequestOptions {
  /** Attributes to reset to their default. */
  readonly reset?: readonly Resettable[] | undefined;
}

/** The options of `waitForCall`. */
export interface WaitOptions {
  /** How long to wait, in milliseconds. `Infinity` waits without a limit. */
  readonly timeoutMs: number;
  /**
   * Considers only calls with a greater `attempt`: 0 for the first call, `call.attempt` for the one after `call`. If
   * several have ended, the earliest one that is still stored is returned. Default: 0.
   */
  readonly after?: number | undefined;
  /** Ends the wait. It then rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
}

/** The options of `watchCalls` beside its filters. */
export interface WatchingOptions {
  /**
   * How long to try to reconnect after each lost connection, in milliseconds. Infinity never gives up. Default: the
   * timeout of the client.
   */
  readonly timeoutMs?: number | undefined;
  /** Ends the watch. The iteration then throws the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
}

/** The options of clients and of their requests. An option that is undefined is not given. */

import type { Tls } from "./connection/tls.js";
import type * as enums from "./enums.js";
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
   * as in `a:50051,b:50051`, the first one that can be reached is used, and the next one after it is lost; the names of a
   * list are looked up once. Default: `127.0.0.1:50051`.
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

/** The options of `generateCallbackUrl`. */
export interface GenerateOptions extends RequestOptions {
  /** Passed to the handler unchanged. */
  readonly activityCase?: string | undefined;
  /** Makes the URL `/cbq/{param}?{param}={state}`, for OAuth, SAML and similar protocols. */
  readonly stateQueryParameter?: string | undefined;
  /**
   * Leaves a single-use case (a case without `allowMultipleCalls`) open after a rejected, failed or interrupted call.
   */
  readonly retryableAfterError?: boolean | undefined;
  /**
   * Accepts any number of calls, whatever their results, until the case is closed or expires. Default: one call at a time.
   * A success closes the case; without `retryableAfterError`, so does a rejected, failed or interrupted call.
   */
  readonly allowMultipleCalls?: boolean | undefined;
  /** `https://host[:port]` of the URL, instead of the server's own. */
  readonly alternativeDomain?: string | undefined;
  /**
   * The same id and content return the same URL for as long as the case is stored. After that, they create a case with
   * another URL. Default: a new id.
   */
  readonly requestId?: string | undefined;
  /** Closes the case after this time. Default: the server's setting, otherwise never. */
  readonly timeToLiveMs?: number | undefined;
  /** Names and values of your choice, by which to find the case. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /**
   * The profile, declared in the server's configuration, that every request must pass. Default: none, so that everyone
   * who knows the URL can make the call.
   */
  readonly verificationProfile?: string | undefined;
  /** How to treat a GET that may not come from a person. CONFIRM excludes a `verificationProfile`. Default: OFF. */
  readonly getGuard?: Exclude<enums.GetGuard, "UNKNOWN"> | undefined;
  /** How a call gets its response. Default: from the handler, while the caller waits; for `form`, HOLD. */
  readonly answerMode?: Exclude<enums.AnswerMode, "UNKNOWN"> | undefined;
  /**
   * The time after which the caller gets `fallback` while the call continues, or without one is told to wait. Default:
   * 2 seconds for a browser, 5 minutes for any other caller of a held call.
   */
  readonly answerDeadlineMs?: number | undefined;
  /** The response at the answer deadline. Requires `answerDeadlineMs`. */
  readonly fallback?: Response | undefined;
  /** Handles the calls of an ACK case one after the other, in their order. */
  readonly ordered?: boolean | undefined;
  /** How long a held call waits for its answer, before it fails. Only for HOLD. Default: 5 minutes. */
  readonly holdTimeMs?: number | undefined;
  /**
   * How long after the end of a call the same request (method, query and body) gets the answer of that call, in place of
   * making another call. Default: 2 minutes; none if `allowMultipleCalls` is set.
   */
  readonly repeatWindowMs?: number | undefined;
  /** Gives no answer twice: the same request again gets a 410. */
  readonly noRepeat?: boolean | undefined;
  /** What the page of the guard CONFIRM asks: a title, a text and choices. Default: whether to continue. */
  readonly prompt?:
    | {
        readonly title: string;
        readonly text?: string | undefined;
        readonly choices?: Readonly<Record<string, string>> | undefined;
      }
    | undefined;
  /**
   * The response to requests after the case is closed, such as a page "already done". Default: a 410, or a 404 on
   * `/cbq/`.
   */
  readonly closedResponse?: Response | undefined;
  /**
   * Up to 10 times after the creation of the case at which its handler of notifications gets a reminder, until the case
   * is closed or resolved. Requires REMINDER in `notify`.
   */
  readonly remindAfterMs?: readonly number[] | undefined;
  /** The notifications that the handler gets: REMINDER, EXPIRY, or both. Default: none. */
  readonly notify?: readonly Exclude<enums.CallReason, "CALL" | "UNKNOWN">[] | undefined;
}

/** The names of attributes that `setResponse` can reset to their default. */
export type Resettable = Exclude<keyof ResponseAttributes, "type">;

/** The options of `setResponse`. */
export interface SetResponseOptions extends RequestOptions {
  /** Attributes to reset to their default. */
  readonly reset?: readonly Resettable[] | undefined;
}

/** The options of lists. */
export interface ListOptions extends RequestOptions {
  /** The number of entries per page. Default: 50. The server returns at most 1,000 callbacks, and 100 of all else. */
  readonly pageSize?: number | undefined;
  /** `nextPageToken` of the previous page. All pages of one list take the same filters. Default: the first page. */
  readonly pageToken?: string | undefined;
}

/** The filters of `listCallbacks`. */
export interface ListCallbacksOptions extends ListOptions {
  /** Only cases in this status. */
  readonly status?: Exclude<enums.CallbackStatus, "UNKNOWN"> | undefined;
  /** Only cases of this activity. */
  readonly activity?: string | undefined;
  /** Only cases that have all of these labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Only cases of this owner. Default: your own callbacks. Other owners require the role admin. */
  readonly owner?: string | undefined;
  /**
   * Only cases whose newest recorded call has this status. No index helps here: the server looks at the calls of each
   * case.
   */
  readonly lastCallStatus?: Exclude<enums.CallStatus, "UNKNOWN"> | undefined;
  /** Only cases that were created at this time or later. */
  readonly createdAfter?: Date | undefined;
  /** Only cases that were created earlier than this time. */
  readonly createdBefore?: Date | undefined;
}

/** The filters of `listOwnerCalls`. */
export interface ListOwnerCallsOptions extends ListOptions {
  /**
   * Only calls of this owner. Default: your own. Other owners require the role admin, or a worker with `answers`, which
   * must name an owner.
   */
  readonly owner?: string | undefined;
  /** Only calls of this activity. Default: all. */
  readonly activity?: string | undefined;
}

/** The options of `listActivities`. */
export interface ListActivitiesOptions extends ListOptions {
  /**
   * The owner whose open callbacks are counted. Default: your own. Other owners require the role admin, or a worker with
   * `answers`.
   */
  readonly owner?: string | undefined;
}

/** The options of `pauseActivity`. */
export interface PauseOptions extends RequestOptions {
  /** Why, for other administrators: one line of at most 200 characters. */
  readonly reason?: string | undefined;
}

/** The options of `waitForCall`. */
export interface WaitOptions {
  /** How long to wait, in milliseconds. `Infinity` waits without a limit. Default: the timeout of the client. */
  readonly timeoutMs?: number | undefined;
  /**
   * Considers only calls with a greater `attempt`: 0 for the first call, `call.attempt` for the one after `call`. If
   * several have ended, the earliest one that is still stored is returned. Default: 0.
   */
  readonly after?: number | undefined;
  /** Ends the wait. It then rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
}

/** The options of `watchCalls`. */
export interface WatchOptions {
  /** Only events of this activity. */
  readonly activity?: string | undefined;
  /** Only events of cases that have all of these labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Only events of this case. */
  readonly caseId?: string | undefined;
  /**
   * `resumeToken` of an event or of a watch with the same filter. The watch continues after it. A `caseId` that does not
   * exist is then not an error, because the case may have been deleted. Default: start now.
   */
  readonly resumeToken?: string | undefined;
  /**
   * Receive only the latest event, at most about one in 0.7 seconds. For a program that only needs to know that something
   * has changed.
   */
  readonly latestOnly?: boolean | undefined;
  /**
   * How long to try to reconnect after each lost connection, in milliseconds. Infinity never gives up. Default: the
   * timeout of the client.
   */
  readonly timeoutMs?: number | undefined;
  /** Ends the watch. The iteration then throws the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
}

/** Client of a server: generate URLs, set responses, answer calls, read and watch what arrived. */

import { randomUUID } from "node:crypto";
import { inspect } from "node:util";
import { create } from "@bufbuild/protobuf";
import { checkOptions } from "./checks.js";
import { Backoff, pause } from "./connection/backoff.js";
import { fromStatus, isRetryable } from "./connection/rpc-errors.js";
import { ContractClient } from "./contract/client.js";
import { callbackFrom, callFrom, generatedCallbackFrom } from "./contract/converters.js";
import { CallbackClosedError, RequestIdUnsupportedError, TooManyWatchersError } from "./contract/errors.js";
import type { GenerateOptions, WatchOptions } from "./contract/options.js";
import { ErrorReason } from "./contract/reasons.js";
import { generateCallbackUrlRequest, watchCallsRequest } from "./contract/requests.js";
import type { Call, Callback, GeneratedCallback } from "./contract/values.js";
import type { Answer, Reject } from "./decisions.js";
import { CallbackError, DeadlineExceededError, UnavailableError } from "./errors.js";
import {
  CallbacksService,
  type GenerateCallbackUrlRequest,
  type GenerateCallbackUrlResponse,
  GenerateCallbackUrlsRequestSchema,
  type GenerateCallbackUrlsResponse,
} from "./gen/callback/v1/callbacks_service_pb.js";
import { present } from "./messages.js";
import { WAIT } from "./option-checks.js";
import type { ClientOptions, NewCallback, RequestOptions, SetResponseOptions, WaitOptions } from "./options.js";
import {
  answerCallRequest,
  generateCallbackUrlRequests,
  resolveCallbackRequest,
  setResponseRequest,
} from "./requests.js";
import type { Response } from "./response.js";
import { Connection } from "./rpc.js";
import { type CallWatch, CaseWatch, openWatch } from "./watch.js";

const { method } = CallbacksService;

/**
 * A client of one Callback server.
 *
 * ```ts
 * using client = new CallbackClient({ target: "127.0.0.1:50051" });
 * const callback = await client.generateCallbackUrl("order-paid", new Redirect("/page/thankyou"));
 * console.log(callback.url);
 * ```
 *
 * The client connects with its first request, and reconnects by itself. It serves any number of concurrent requests.
 *
 * Every method rejects with a `CallbackError` or a subclass, never with an error of gRPC. While the server or its store
 * is unreachable, the client sends the request again with exponential backoff until the timeout; then it rejects with an
 * `UnavailableError`. All requests are safe to send twice (see `generateCallbackUrl` for its condition). A value of the
 * wrong type, and an option that does not exist, is a `TypeError` that names it; a number that is out of range is a
 * `RangeError`.
 */
export class CallbackClient extends ContractClient implements Disposable, AsyncDisposable {
  readonly #connection: Connection;

  /**
   * @param options The server, and how to connect to it.
   * @throws TypeError: An option does not exist or has the wrong type, the target is not valid or has no port, `token` and
   *   `tokenFile` are both given, the token is malformed, or a file of `tls` has no usable content. A request rejects with
   *   it if a token function returns a malformed token.
   * @throws RangeError: The timeout is not a positive, finite number.
   * @throws Error of Node: `tokenFile` or a file of `tls` cannot be read.
   */
  constructor(options: ClientOptions = {}) {
    const connection = new Connection(options);
    super(connection);
    this.#connection = connection;
  }

  /**
   * Close the connection. Requests in progress, and later ones, reject with a `CallbackError` with the code CANCELLED.
   * Closing twice has no effect.
   */
  close(): void {
    this.#connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** @internal */
  [inspect.custom](): string {
    return `CallbackClient ${inspect({ target: this.#connection.target })}`;
  }

  /**
   * Store a case durably, and return its URL.
   *
   * Without a `requestId` the client generates one, so that it can send the request again after a lost response without
   * creating a second case. That covers this one call of the method: to be safe across a restart of your program, give a
   * `requestId` of your own, such as the order number.
   *
   * A server without a `state_key` refuses request ids. The client then sends the request without one, once: if that
   * response is lost, a case may exist whose URL is lost too. A `timeToLiveMs` closes such a case.
   *
   * @param activity Decides what happens on a call: `record`, `form`, or an activity of your handlers.
   * @param response The response to a call, unless its handler overrides it.
   * @throws InvalidRequestError: A field is not valid. `violations` names every such field; nothing was stored.
   * @throws RequestIdReusedError: A case with this request id and different content exists.
   * @throws RequestIdUnsupportedError: A request id was given, and the server has no `state_key`.
   * @throws TooManyOpenCallbacksError: The owner has reached its quota of open cases.
   * @throws UnavailableError: No response arrived. Safe to send again with a `requestId`.
   */
  async generateCallbackUrl(
    activity: string,
    response: Response,
    options: GenerateOptions = {},
  ): Promise<GeneratedCallback> {
    const { retry } = this.#connection;
    const request = generateCallbackUrlRequest(activity, response, options);
    request.requestId ||= retry ? randomUUID() : "";
    const backoff = this.#connection.backoff(options);
    let reply: GenerateCallbackUrlResponse;
    try {
      reply = await this.#connection.request(method.generateCallbackUrl, request, options, { backoff });
    } catch (error) {
      if (options.requestId || !(error instanceof RequestIdUnsupportedError)) {
        throw error;
      }
      request.requestId = "";
      reply = await this.#connection.request(method.generateCallbackUrl, request, options, { backoff, once: true });
    }
    return this.#made(reply);
  }

  /**
   * Store up to 500 cases durably and return their URLs.
   *
   * ```ts
   * const callbacks = orders.map((requestId) => ({ activity: "order-paid", response: new Redirect(), requestId }));
   * for (const result of await client.generateCallbackUrls(callbacks)) {
   *   console.log(result instanceof CallbackError ? result.message : result.url);
   * }
   * ```
   *
   * A callback that fails does not keep the others from their URLs, so look at each result. Without a `requestId`, each
   * gets one, as in `generateCallbackUrl`.
   *
   * @param callbacks Together at most 4 MiB.
   * @returns A result for each callback, in their order: the generated callback, or the error that `generateCallbackUrl`
   *   rejects with. After an `UnavailableError` there, the case may exist: send it again with the same `requestId`.
   * @throws InvalidRequestError: There is no callback, or there are too many. No case was created.
   * @throws UnavailableError: No response arrived. Safe to send again with the same ids.
   */
  async generateCallbackUrls(
    callbacks: readonly NewCallback[],
    options: RequestOptions = {},
  ): Promise<(GeneratedCallback | CallbackError)[]> {
    const { retry } = this.#connection;
    const requests = generateCallbackUrlRequests(callbacks, options);
    const named = new Set(retry ? requests.filter(({ requestId }) => !requestId) : []);
    for (const request of named) {
      request.requestId = randomUUID();
    }
    const backoff = this.#connection.backoff(options);
    const results = new Map<GenerateCallbackUrlRequest, GeneratedCallback | CallbackError>();
    for (let waiting = requests; ; ) {
      const batch = create(GenerateCallbackUrlsRequestSchema, { requests: waiting });
      const once = waiting.some(({ requestId }) => !requestId);
      let reply: GenerateCallbackUrlsResponse;
      try {
        reply = await this.#connection.request(method.generateCallbackUrls, batch, options, { backoff, once });
      } catch (error) {
        if (results.size === 0 || !(error instanceof CallbackError)) {
          throw error;
        }
        for (const request of waiting) {
          results.set(request, error); // the others have their URLs
        }
        break;
      }
      for (const [index, request] of waiting.entries()) {
        const { case: kind, value } = present("result", reply.results[index]?.result);
        results.set(request, kind === "generated" ? this.#made(value) : fromStatus(present("result", value)));
      }
      waiting = [];
      let pauseMs = 0;
      for (const [request, result] of results) {
        if (result instanceof RequestIdUnsupportedError && named.delete(request)) {
          request.requestId = "";
          waiting.push(request);
        } else if (isRetryable(result) && request.requestId) {
          waiting.push(request);
          pauseMs ||= backoff.nextPauseMs(result.retryAfterMs);
        }
      }
      if (waiting.length === 0 || !retry || pauseMs >= backoff.remainingMs) {
        break;
      }
      await pause(pauseMs, options.signal);
    }
    return requests.map((request) => present("result", results.get(request)));
  }

  /**
   * Replace attributes of the response of a case that is not closed, and return the case.
   *
   * A call that runs or is held is answered with the new response, if it is accepted. So a handler can set the response of
   * its own call.
   *
   * @param response The attributes to replace: each one that is given, including the type. The type "CASE" keeps that of
   *   the case.
   * @throws InvalidRequestError: The resulting response is not valid.
   * @throws NotFoundError: The case does not exist.
   * @throws CallbackClosedError: The case is closed.
   * @throws UnavailableError: No response arrived. Safe to send again.
   * @throws TypeError: `reset` names another attribute, or one that `response` sets.
   */
  async setResponse(caseId: string, response: Response, options: SetResponseOptions = {}): Promise<Callback> {
    const request = setResponseRequest(caseId, response, options);
    const reply = await this.#connection.request(method.setResponse, request, options);
    return callbackFrom(present("callback", reply.callback));
  }

  /**
   * Answer a held call (answer mode HOLD, activity `form`), and return it.
   *
   * Sending the same answer again has no effect. A call can be answered after its case was closed.
   *
   * @param answer The decision, as a handler makes it: a `Response` overrides that of the case, attribute by attribute;
   *   undefined keeps it; `Accept` can keep the case open, or close it; `Reject` rejects the call.
   * @throws InvalidRequestError: The resulting response is not valid.
   * @throws NotFoundError: The call does not exist.
   * @throws CallAnsweredError: The call already has another answer, or ended without one.
   * @throws CallNotHeldError: The handler decides on the call.
   * @throws UnavailableError: No response arrived. Safe to send again.
   */
  async answerCall(callId: string, answer?: Answer | Reject, options: RequestOptions = {}): Promise<Call> {
    const request = answerCallRequest(callId, answer, options);
    const reply = await this.#connection.request(method.answerCall, request, options);
    return callFrom(present("call", reply.call));
  }

  /**
   * Give a case that holds calls (answer mode HOLD, activity `form`) its answer, and return the case.
   *
   * The calls that are held now get the answer, and so does each later call, at once. So a webhook can answer the visitor,
   * whichever of the two comes first. Sending the same answer again has no effect. A closed case still answers the calls
   * that it holds. A `Reject` of a case with `retryableAfterError` answers only the calls that are held now.
   *
   * @param answer As for `answerCall`.
   * @throws InvalidRequestError: The resulting response is not valid.
   * @throws NotFoundError: The case does not exist.
   * @throws CallNotHeldError: The handler decides on the calls of the case.
   * @throws CallbackResolvedError: The case already has another answer.
   * @throws CallbackClosedError: The case is closed and holds no calls.
   * @throws UnavailableError: No response arrived. Safe to send again, except that a `Reject` of a case with
   *   `retryableAfterError` rejects the call that is held then.
   * @throws TypeError: The answer keeps the case open, or closes it.
   */
  async resolveCallback(caseId: string, answer?: Answer | Reject, options: RequestOptions = {}): Promise<Callback> {
    const request = resolveCallbackRequest(caseId, answer, options);
    const reply = await this.#connection.request(method.resolveCallback, request, options);
    return callbackFrom(present("callback", reply.callback));
  }

  /**
   * Watch cases and calls: receive an event for each change, from the moment at which this promise resolves.
   *
   * A principal with the role admin receives the events of all owners, any other principal those of its own callbacks.
   *
   * ```ts
   * for await (const event of await client.watchCalls({ activity: "order-paid" })) {
   *   console.log(event.type, event.caseId);
   * }
   * ```
   *
   * @throws NotFoundError: The watched case does not exist.
   * @throws InvalidRequestError: An option is out of range.
   * @throws RangeError: The timeout is not a positive number.
   * @throws CallbackError: As for the iteration, see `CallWatch`.
   */
  async watchCalls(options: WatchOptions = {}): Promise<CallWatch> {
    return openWatch(this.#connection, watchCallsRequest(options), options);
  }

  /**
   * Wait for a call of a case to end, and return it with its body.
   *
   * ```ts
   * const made = await client.generateCallbackUrl("record", new Response("thank you"));
   * // … give made.url to the outside system
   * const call = await client.waitForCall(made.caseId, { timeoutMs: 3_600_000 });
   * ```
   *
   * No call is missed between generating the URL and waiting: a call that ended before is returned at once. To wait for the
   * next call, pass the number of the last one as `after`. While the server is away, the wait goes on. It is a watch:
   * while nothing happens to the case, nothing is requested. Only a wait that exceeds the number of watches that a server
   * allows looks again and again, about once a second.
   *
   * @throws DeadlineExceededError: No such call ended in time.
   * @throws CallbackClosedError: The case is closed, and has no such call.
   * @throws NotFoundError: The case does not exist.
   * @throws UnavailableError: The server is unreachable, and the client has `retry: false`.
   * @throws TooManyWatchersError: The server has its limit of watches, and the client has `retry: false`.
   */
  async waitForCall(caseId: string, options: WaitOptions): Promise<Call> {
    checkOptions("waitForCall", options, WAIT, "{ timeoutMs: 60_000 }");
    const { timeoutMs, after = 0, signal } = options;
    WAIT.timeoutMs("timeoutMs", timeoutMs);
    const backoff = new Backoff(timeoutMs, { longestMs: 1_000 });
    let watch: CaseWatch | undefined;
    try {
      for (;;) {
        const remainingMs = Math.max(backoff.remainingMs, 100);
        try {
          const requestOptions = { signal, timeoutMs: Math.min(this.#connection.timeoutMs, remainingMs) };
          const call = await this.#findEndedCall(caseId, after, requestOptions);
          if (call !== undefined) {
            return call;
          }
          watch ??= await CaseWatch.open(this.#connection, caseId, Math.min(remainingMs, 3_600_000), signal);
          await watch.change();
          continue;
        } catch (error) {
          // While the server is away the wait goes on, and at its end its own error says more.
          const isAway = error instanceof UnavailableError || error instanceof TooManyWatchersError;
          const isAtItsEnd =
            error instanceof DeadlineExceededError &&
            (watch !== undefined || remainingMs <= this.#connection.timeoutMs);
          // A watch that has begun, and ended: the next look says why, as with a token that was replaced.
          const hasEnded = watch?.hasEnded === true && !isAway && !this.#connection.isClosed;
          signal?.throwIfAborted();
          if (!isAtItsEnd && !hasEnded && !(isAway && this.#connection.retry)) {
            throw error;
          }
        }
        watch?.close();
        watch = undefined;
        if (backoff.remainingMs <= 0) {
          const text = `no call of the callback ${caseId} ended within ${timeoutMs} ms`;
          throw new DeadlineExceededError(text, { code: "DEADLINE_EXCEEDED" });
        }
        await pause(Math.min(backoff.nextPauseMs(), Math.max(backoff.remainingMs, 0)), signal);
      }
    } finally {
      watch?.close();
    }
  }

  /** Return the callback that a server has generated, and log its warnings. */
  #made(reply: GenerateCallbackUrlResponse): GeneratedCallback {
    const made = generatedCallbackFrom(reply);
    for (const { text } of made.warnings) {
      this.#connection.logger.warn({ caseId: made.caseId, text }, "callback_warning");
    }
    return made;
  }

  /** Return the earliest stored call after a number that has ended, with its body. Undefined if none has. */
  async #findEndedCall(caseId: string, after: number, options: RequestOptions): Promise<Call | undefined> {
    const callback = await this.getCallback(caseId, options);
    let earliest: Call | undefined;
    let isRunning = false;
    if (callback.callCount > after) {
      for await (const call of this.listCalls(caseId, { ...options, pageSize: 100 })) {
        if (call.attempt <= after) {
          break;
        }
        earliest = call.endTime === undefined ? earliest : call;
        isRunning ||= call.status === "RUNNING";
      }
    }
    if (earliest !== undefined) {
      return this.getCall(earliest.callId, options);
    }
    if (callback.status === "CLOSED" && !isRunning) {
      throw new CallbackClosedError(`the callback ${caseId} is closed, so no further call can arrive`, {
        code: "FAILED_PRECONDITION",
        reason: ErrorReason.CALLBACK_CLOSED,
        facts: { close_reason: callback.closeReason ?? "" },
      });
    }
    return undefined;
  }
}

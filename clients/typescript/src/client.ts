/** Client of the `CallbacksService`: generate URLs, set responses, answer calls, read and watch what arrived. */

import { inspect } from "node:util";
import { create, type DescMessage, type DescMethod, type MessageShape } from "@bufbuild/protobuf";
import { checkOptions } from "./checks.js";
import { Backoff, pause } from "./connection/backoff.js";
import * as converters from "./converters.js";
import type { Answer, Reject } from "./decisions.js";
import type { CallFilter } from "./enums.js";
import { CallbackClosedError, CallbackError, DeadlineExceededError, RequestIdUnsupportedError } from "./errors.js";
import * as pb from "./gen/callback/v1/callbacks_service_pb.js";
import * as ops from "./gen/callback/v1/operations_service_pb.js";
import { REQUEST, WAIT } from "./option-checks.js";
import type {
  ClientOptions,
  GenerateOptions,
  ListActivitiesOptions,
  ListCallbacksOptions,
  ListOptions,
  ListOwnerCallsOptions,
  PauseOptions,
  RequestOptions,
  SetResponseOptions,
  WaitOptions,
  WatchOptions,
} from "./options.js";
import { ErrorReason } from "./reasons.js";
import type { Call } from "./request.js";
import * as requests from "./requests.js";
import type { Response } from "./response.js";
import { Connection } from "./rpc.js";
import type { Activity, Callback, Finding, GeneratedCallback, Page, PausedActivity, Statistics } from "./values.js";
import { type CallWatch, openWatch } from "./watch.js";

const { method } = pb.CallbacksService;
const { method: operations } = ops.OperationsService;

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
export class CallbackClient implements Disposable, AsyncDisposable {
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
    this.#connection = new Connection(options);
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
    const { retry, logger } = this.#connection;
    const request = requests.generateRequest(activity, response, options);
    request.requestId ||= retry ? requests.newRequestId() : "";
    const backoff = this.#connection.backoff(options);
    let reply: pb.GenerateCallbackUrlResponse;
    try {
      reply = await this.#connection.request(method.generateCallbackUrl, request, options, { backoff });
    } catch (error) {
      if (options.requestId || !(error instanceof RequestIdUnsupportedError)) {
        throw error;
      }
      request.requestId = "";
      reply = await this.#connection.request(method.generateCallbackUrl, request, options, { backoff, once: true });
    }
    const made = converters.generatedFrom(reply);
    for (const { text } of made.warnings) {
      logger.warn({ caseId: made.caseId, text }, "callback_warning");
    }
    return made;
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
    const request = requests.setResponseRequest(caseId, response, options);
    return caseOf(await this.#connection.request(method.setResponse, request, options));
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
    const request = requests.answerRequest(callId, answer);
    return callOf(await this.#request(method.answerCall, request, options));
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
    const request = requests.resolveRequest(caseId, answer);
    return caseOf(await this.#request(method.resolveCallback, request, options));
  }

  /**
   * Close a case immediately, in any status, and return it.
   *
   * Running calls continue, and their callers get a response. Closing a closed case has no effect.
   *
   * @throws NotFoundError: The case does not exist.
   * @throws UnavailableError: No response arrived. Safe to send again.
   */
  async closeCallback(caseId: string, options: RequestOptions = {}): Promise<Callback> {
    const request = create(pb.CloseCallbackRequestSchema, { callbackCaseId: requests.requireText("caseId", caseId) });
    return caseOf(await this.#request(method.closeCallback, request, options));
  }

  /**
   * Set the time at which a case expires, later or earlier than before, and return the case.
   *
   * @param expireTime The time: later than now, and within the maximum of the server.
   * @throws InvalidRequestError: The time is not later than now, or too late.
   * @throws NotFoundError: The case does not exist.
   * @throws CallbackClosedError: The case is closed.
   * @throws UnavailableError: No response arrived. Safe to send again.
   */
  async extendCallback(caseId: string, expireTime: Date, options: RequestOptions = {}): Promise<Callback> {
    const request = requests.extendRequest(caseId, expireTime);
    return caseOf(await this.#request(method.extendCallback, request, options));
  }

  /**
   * Erase the recorded content of all calls of a case permanently, and return how many calls had content.
   *
   * The headers, query, body, client address, failure detail and response of each call are deleted. The case with its
   * response and labels stays, and so do the ids, times and status of the calls. One exception: a pending delivery becomes
   * DEAD, and after a fallback of 2xx or 3xx this ends its call and changes the case. Nothing will be recorded of a call
   * that is running. If the client sent the request again after a lost response, the number is that of the last attempt
   * and can be 0.
   *
   * @throws NotFoundError: The case does not exist.
   * @throws UnavailableError: No response arrived. Safe to send again.
   */
  async eraseCalls(caseId: string, options: RequestOptions = {}): Promise<number> {
    const request = create(pb.EraseCallsRequestSchema, { callbackCaseId: requests.requireText("caseId", caseId) });
    return Number((await this.#request(method.eraseCalls, request, options)).erasedCallCount);
  }

  /**
   * Return a case.
   *
   * @throws NotFoundError: The case does not exist.
   * @throws UnavailableError: No response arrived.
   */
  async getCallback(caseId: string, options: RequestOptions = {}): Promise<Callback> {
    const request = create(pb.GetCallbackRequestSchema, { callbackCaseId: requests.requireText("caseId", caseId) });
    return caseOf(await this.#request(method.getCallback, request, options));
  }

  /**
   * Yield cases, newest first, without their bodies. Pages are requested as needed.
   *
   * @throws InvalidRequestError: An option is out of range.
   * @throws PermissionDeniedError: The owner is another one, and the principal lacks the role admin.
   * @throws UnavailableError: No response arrived.
   */
  listCallbacks(options: ListCallbacksOptions = {}): AsyncGenerator<Callback, void, undefined> {
    return itemsOf((page) => this.listCallbacksPage(page), options);
  }

  /** Return one page of `listCallbacks`. */
  async listCallbacksPage(options: ListCallbacksOptions = {}): Promise<Page<Callback>> {
    const request = requests.listCallbacksRequest(options);
    const reply = await this.#connection.request(method.listCallbacks, request, options);
    const searchedTo = converters.dateOf(reply.searchedTo);
    return { items: reply.callbacks.map(converters.callbackFrom), nextPageToken: reply.nextPageToken, searchedTo };
  }

  /**
   * Return a recorded call, with its body.
   *
   * @throws NotFoundError: The call does not exist, or is past its retention.
   * @throws UnavailableError: No response arrived.
   */
  async getCall(callId: string, options: RequestOptions = {}): Promise<Call> {
    const request = create(pb.GetCallRequestSchema, { callId: requests.requireText("callId", callId) });
    return callOf(await this.#request(method.getCall, request, options));
  }

  /**
   * Yield the recorded calls of a case, newest first, without their bodies. Pages are requested as needed.
   *
   * @throws InvalidRequestError: An option is out of range.
   * @throws NotFoundError: The case does not exist.
   * @throws UnavailableError: No response arrived.
   */
  listCalls(caseId: string, options: ListOptions = {}): AsyncGenerator<Call, void, undefined> {
    return itemsOf((page) => this.listCallsPage(caseId, page), options);
  }

  /** Return one page of `listCalls`. */
  async listCallsPage(caseId: string, options: ListOptions = {}): Promise<Page<Call>> {
    const request = requests.listCallsRequest(caseId, options);
    const reply = await this.#connection.request(method.listCalls, request, options);
    return pageOf(reply.calls.map(converters.callFrom), reply);
  }

  /**
   * Yield calls of all cases of an owner, newest first, without their bodies. Pages are requested as needed.
   *
   * @param only The calls to list: held calls that wait for their answer, or those whose delivery is dead.
   * @throws InvalidRequestError: An option is out of range.
   * @throws PermissionDeniedError: The principal may not list for the owner.
   * @throws UnavailableError: No response arrived.
   */
  listOwnerCalls(only: CallFilter, options: ListOwnerCallsOptions = {}): AsyncGenerator<Call, void, undefined> {
    return itemsOf((page) => this.listOwnerCallsPage(only, page), options);
  }

  /** Return one page of `listOwnerCalls`. */
  async listOwnerCallsPage(only: CallFilter, options: ListOwnerCallsOptions = {}): Promise<Page<Call>> {
    const request = requests.listOwnerCallsRequest(only, options);
    const reply = await this.#connection.request(method.listOwnerCalls, request, options);
    return pageOf(reply.calls.map(converters.callFrom), reply);
  }

  /**
   * Run the handler of a recorded call again in the background, and return the call in its current state.
   *
   * The replay does not change what the caller got, nor the case unless the handler closes it. `delivery` shows its
   * progress: as in ACK mode, the server retries until the handler succeeds. A delivery that waits for its next attempt is
   * attempted now; after a fallback of 2xx or 3xx, that attempt can end the call and change the case.
   *
   * @throws NotFoundError: The call does not exist, or is past its retention.
   * @throws CallNotReplayableError: The call is running, its stored request is not complete or was erased, or its activity
   *   has no handler.
   * @throws UnavailableError: No response arrived. Safe to send again, but the call may then be handled twice.
   */
  async replayCall(callId: string, options: RequestOptions = {}): Promise<Call> {
    const request = create(pb.ReplayCallRequestSchema, { callId: requests.requireText("callId", callId) });
    return callOf(await this.#request(method.replayCall, request, options));
  }

  /**
   * Pause the deliveries of an activity (ACK mode and replays), until it is resumed. Requires the role admin.
   *
   * No delivery starts after this; running ones finish. Calls with a waiting caller are not affected.
   *
   * @throws InvalidRequestError: The activity never has deliveries, or the reason is too long.
   * @throws PermissionDeniedError: The principal lacks the role admin.
   * @throws UnavailableError: No response arrived. Safe to send again.
   */
  async pauseActivity(activity: string, options: PauseOptions = {}): Promise<void> {
    const request = requests.pauseRequest(activity, options);
    await this.#connection.request(operations.pauseActivity, request, options);
  }

  /**
   * Resume the deliveries of an activity after `pauseActivity`. Requires the role admin.
   *
   * @throws PermissionDeniedError: The principal lacks the role admin.
   * @throws UnavailableError: No response arrived. Safe to send again.
   */
  async resumeActivity(activity: string, options: RequestOptions = {}): Promise<void> {
    const callbackActivity = requests.requireText("activity", activity);
    const request = create(ops.ResumeActivityRequestSchema, { callbackActivity });
    await this.#request(operations.resumeActivity, request, options);
  }

  /**
   * Yield the activities that are served, by name, with what waits for each. Pages are requested as needed.
   *
   * Activities that nothing serves are yielded, too, if a callback of the owner for them is open or, for an administrator,
   * if a delivery waits.
   *
   * @throws InvalidRequestError: An option is out of range.
   * @throws PermissionDeniedError: The principal may not list for the owner.
   * @throws UnavailableError: No response arrived.
   */
  listActivities(options: ListActivitiesOptions = {}): AsyncGenerator<Activity, void, undefined> {
    return itemsOf((page) => this.listActivitiesPage(page), options);
  }

  /** Return one page of `listActivities`. */
  async listActivitiesPage(options: ListActivitiesOptions = {}): Promise<Page<Activity>> {
    const request = requests.listActivitiesRequest(options);
    const reply = await this.#connection.request(operations.listActivities, request, options);
    return pageOf(reply.activities.map(converters.activityFrom), reply);
  }

  /**
   * Return the paused activities, sorted by name, with who paused each, and why. Requires the role admin.
   *
   * @throws PermissionDeniedError: The principal lacks the role admin.
   * @throws UnavailableError: No response arrived.
   */
  async listPausedActivities(options: RequestOptions = {}): Promise<PausedActivity[]> {
    const request = create(ops.ListPausedActivitiesRequestSchema);
    const reply = await this.#request(operations.listPausedActivities, request, options);
    return reply.pausedActivities.map(converters.pausedFrom);
  }

  /**
   * Return what the servers have done in the last hour, and what waits now. Requires the role admin.
   *
   * @throws PermissionDeniedError: The principal lacks the role admin.
   * @throws UnavailableError: No response arrived.
   */
  async getStatistics(options: RequestOptions = {}): Promise<Statistics> {
    const request = create(ops.GetStatisticsRequestSchema);
    return converters.statisticsFrom(await this.#request(operations.getStatistics, request, options));
  }

  /**
   * Return what the server that responds finds in a check of itself, its store and its targets.
   *
   * The findings are at most a minute old. Requires the role admin.
   *
   * @throws PermissionDeniedError: The principal lacks the role admin.
   * @throws UnavailableError: No response arrived.
   */
  async listFindings(options: RequestOptions = {}): Promise<Finding[]> {
    const request = create(ops.ListFindingsRequestSchema);
    const reply = await this.#request(operations.listFindings, request, options);
    return reply.findings.map(converters.findingFrom);
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
    return openWatch(this.#connection, requests.watchRequest(options), options);
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
   * next call, pass the number of the last one as `after`.
   *
   * @throws DeadlineExceededError: No such call ended in time.
   * @throws CallbackClosedError: The case is closed, and has no such call.
   * @throws NotFoundError: The case does not exist.
   * @throws UnavailableError: No response arrived within the timeout of the client.
   */
  async waitForCall(caseId: string, options: WaitOptions = {}): Promise<Call> {
    checkOptions("waitForCall", options, WAIT);
    const { timeoutMs = this.#connection.timeoutMs, after = 0, signal } = options;
    const backoff = new Backoff(timeoutMs, { longestMs: 1_000 });
    for (;;) {
      const remainingMs = Math.max(backoff.remainingMs, 100);
      try {
        const requestOptions = { signal, timeoutMs: Math.min(this.#connection.timeoutMs, remainingMs) };
        const call = await this.#findEndedCall(caseId, after, requestOptions);
        if (call !== undefined) {
          return call;
        }
      } catch (error) {
        // At the end of the wait, its own error says more.
        if (!(error instanceof DeadlineExceededError) || remainingMs > this.#connection.timeoutMs) {
          throw error;
        }
      }
      if (backoff.remainingMs <= 0) {
        const text = `no call of the callback ${caseId} ended within ${timeoutMs} ms`;
        throw new DeadlineExceededError(text, { code: "DEADLINE_EXCEEDED" });
      }
      await pause(Math.min(backoff.nextPauseMs(), Math.max(backoff.remainingMs, 0)), signal);
    }
  }

  /** Send a request whose options are those of every request. */
  async #request<Input extends DescMessage, Output extends DescMessage>(
    called: DescMethod & { input: Input; output: Output },
    message: MessageShape<Input>,
    options: RequestOptions,
  ): Promise<MessageShape<Output>> {
    checkOptions(called.localName, options, REQUEST);
    return this.#connection.request(called, message, options);
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

/** Yield the items of all pages, from the page of the options on. */
async function* itemsOf<Item, Options extends ListOptions>(
  fetch: (options: Options) => Promise<Page<Item>>,
  options: Options,
): AsyncGenerator<Item, void, undefined> {
  let page = await fetch(options);
  yield* page.items;
  while (page.nextPageToken !== "") {
    page = await fetch({ ...options, pageToken: page.nextPageToken });
    yield* page.items;
  }
}

function pageOf<Item>(items: readonly Item[], { nextPageToken }: { nextPageToken: string }): Page<Item> {
  return { items, nextPageToken, searchedTo: undefined };
}

function caseOf({ callback }: { callback?: Parameters<typeof converters.callbackFrom>[0] | undefined }): Callback {
  return converters.callbackFrom(present("callback", callback));
}

function callOf({ call }: { call?: Parameters<typeof converters.callFrom>[0] | undefined }): Call {
  return converters.callFrom(present("call", call));
}

/** Return a part of a reply that every server sends. */
function present<Message>(name: string, message: Message | undefined): Message {
  if (message === undefined) {
    throw new CallbackError(`the reply of the server has no ${name}`, { code: "UNKNOWN" });
  }
  return message;
}

/** Watches: the events of callbacks and calls, without a gap. */

import { create } from "@bufbuild/protobuf";
import type { ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import { Backoff, pause } from "./connection/backoff.js";
import { fromRpcError, isRetryable } from "./connection/rpc-errors.js";
import { callEventFrom } from "./contract/converters.js";
import { WatcherTooSlowError } from "./contract/errors.js";
import type { WatchOptions } from "./contract/options.js";
import type { CallEvent } from "./contract/values.js";
import { CallbackError, UnavailableError } from "./errors.js";
import {
  CallbacksService,
  type WatchCallsRequest,
  WatchCallsRequestSchema,
  type WatchCallsResponse,
} from "./gen/callback/v1/callbacks_service_pb.js";
import type { Connection } from "./rpc.js";

/**
 * The events of a watch, in order for each case. `watchCalls` returns it.
 *
 * The watch misses no event that happens after `watchCalls` has resolved. If the connection breaks, or the watch is too
 * slow for the server, it reconnects and continues from its position without a gap. The end of a `for await` closes it.
 *
 * The iteration throws:
 * - WatchPositionLostError: The watch was disconnected for too long, and the missed events are no longer stored. List the
 *   current state with `listCallbacks` and `listCalls`, then watch without a token.
 * - TooManyWatchersError: The server has reached its limit of watchers.
 * - UnavailableError: No server was reachable in time.
 */
export interface CallWatch extends AsyncIterableIterator<CallEvent>, AsyncDisposable {
  /**
   * The position of the watch: after the last returned event, and after later events that the filter excludes.
   */
  readonly resumeToken: string;
  /**
   * Return the next events, as an alternative to iteration. The array is empty if only `resumeToken` advanced, because no
   * event matched the filter, and after the watch is closed.
   */
  receive(): Promise<CallEvent[]>;
  /** End the watch: it yields no more events. Closing twice has no effect. */
  close(): void;
  [Symbol.asyncIterator](): CallWatch;
}

/** Open a watch: it misses no event from now on. @internal */
export async function openWatch(
  connection: Connection,
  request: WatchCallsRequest,
  { timeoutMs = connection.timeoutMs, signal }: WatchOptions,
): Promise<CallWatch> {
  const watch = new Watch(connection, request, timeoutMs, signal);
  await watch.fetch();
  return watch;
}

class Watch implements CallWatch {
  readonly #connection: Connection;
  readonly #request: WatchCallsRequest;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal | undefined;
  #stream: ClientReadableStream<WatchCallsResponse> | undefined;
  #messages: AsyncIterator<WatchCallsResponse> | undefined;
  #events: CallEvent[] = [];
  #isClosed = false;
  /** The end of the last request for events: concurrent ones wait for it, as those of a generator do. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #abort = (): void => this.close();

  constructor(connection: Connection, request: WatchCallsRequest, timeoutMs: number, signal: AbortSignal | undefined) {
    this.#connection = connection;
    this.#request = request;
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
    signal?.throwIfAborted();
    signal?.addEventListener("abort", this.#abort);
    connection.onClose(this.#abort);
  }

  get resumeToken(): string {
    return this.#request.resumeToken;
  }

  [Symbol.asyncIterator](): CallWatch {
    return this;
  }

  next(): Promise<IteratorResult<CallEvent, undefined>> {
    return this.#inTurn(() => this.#next());
  }

  async #next(): Promise<IteratorResult<CallEvent, undefined>> {
    for (;;) {
      const event = this.#nextEvent();
      if (event !== undefined) {
        return { done: false, value: event };
      }
      if (this.#isClosed) {
        this.#throwIfEnded();
        return { done: true, value: undefined };
      }
      await this.fetch();
    }
  }

  async return(): Promise<IteratorResult<CallEvent, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  receive(): Promise<CallEvent[]> {
    return this.#inTurn(() => this.#receive());
  }

  async #receive(): Promise<CallEvent[]> {
    if (this.#events.length === 0) {
      await this.fetch();
    }
    const events: CallEvent[] = [];
    for (let event = this.#nextEvent(); event !== undefined; event = this.#nextEvent()) {
      events.push(event);
    }
    return events;
  }

  close(): void {
    this.#isClosed = true;
    this.#events = [];
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#connection.offClose(this.#abort);
    this.#stream?.cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** Receive the next message. If the stream breaks, open another one from the current position. */
  async fetch(): Promise<void> {
    let backoff: Backoff | undefined; // from the loss of the connection
    while (!this.#isClosed) {
      try {
        const { done, value } = await (await this.#open()).next();
        if (!done) {
          this.#take(value);
          return;
        }
        throw new UnavailableError("the server ended the watch", { code: "UNAVAILABLE" });
      } catch (cause) {
        this.#stream = undefined;
        this.#messages = undefined;
        this.#throwIfEnded();
        if (this.#isClosed) {
          return;
        }
        const error = isServiceError(cause)
          ? fromRpcError(cause, this.#connection.target, this.#connection.encrypted)
          : cause;
        backoff ??= new Backoff(this.#timeoutMs, { longestMs: 1_000 });
        const canResume = isRetryable(error) || error instanceof WatcherTooSlowError;
        const wait = backoff.nextPauseMs(error instanceof CallbackError ? error.retryAfterMs : 0);
        if (!this.#connection.retry || !canResume || wait >= backoff.remainingMs) {
          this.close();
          throw error;
        }
        await pause(wait, this.#signal);
      }
    }
    this.#throwIfEnded();
  }

  #inTurn<T>(take: () => Promise<T>): Promise<T> {
    const taken = this.#turn.then(take);
    this.#turn = taken.catch(() => {}); // its caller gets the error
    return taken;
  }

  async #open(): Promise<AsyncIterator<WatchCallsResponse>> {
    if (this.#messages === undefined) {
      const stream = await this.#connection.stream(CallbacksService.method.watchCalls, this.#request);
      stream.on("error", () => {}); // the iterator throws it, once it is asked
      if (this.#isClosed) {
        stream.cancel();
      }
      this.#stream = stream;
      this.#messages = stream[Symbol.asyncIterator]();
    }
    return this.#messages;
  }

  #take(message: WatchCallsResponse): void {
    this.#events.push(...message.events.map(callEventFrom));
    if (this.#events.length === 0) {
      this.#request.resumeToken = message.resumeToken;
    }
  }

  #nextEvent(): CallEvent | undefined {
    const event = this.#events.shift();
    if (event?.resumeToken) {
      this.#request.resumeToken = event.resumeToken;
    }
    return event;
  }

  /** Throw if the watch ended by its signal, or because the client was closed. */
  #throwIfEnded(): void {
    this.#signal?.throwIfAborted();
    if (this.#connection.isClosed) {
      throw this.#connection.closedError();
    }
  }
}

/** A watch of a case for one that only needs to know that something has changed. It does not reconnect. @internal */
export class CaseWatch {
  readonly #connection: Connection;
  readonly #signal: AbortSignal | undefined;
  readonly #stream: ClientReadableStream<WatchCallsResponse>;
  readonly #messages: AsyncIterator<WatchCallsResponse>;
  readonly #cancel = (): void => this.#stream.cancel();
  #hasBegun = false;
  #isOver = false;

  private constructor(
    connection: Connection,
    stream: ClientReadableStream<WatchCallsResponse>,
    signal: AbortSignal | undefined,
  ) {
    this.#connection = connection;
    this.#signal = signal;
    this.#stream = stream;
    stream.on("error", () => {}); // the iterator throws it, once it is asked
    this.#messages = stream[Symbol.asyncIterator]();
    signal?.addEventListener("abort", this.#cancel);
    connection.onClose(this.#cancel);
  }

  /** Open a watch that ends after so many milliseconds with a DeadlineExceededError. */
  static async open(
    connection: Connection,
    caseId: string,
    endsInMs: number,
    signal: AbortSignal | undefined,
  ): Promise<CaseWatch> {
    signal?.throwIfAborted();
    const deadline = Date.now() + endsInMs;
    const request = create(WatchCallsRequestSchema, { callbackCaseId: caseId });
    const stream = await connection.stream(CallbacksService.method.watchCalls, request, { deadline });
    return new CaseWatch(connection, stream, signal);
  }

  /** Whether the watch has begun, and then ended. */
  get hasEnded(): boolean {
    return this.#hasBegun && this.#isOver;
  }

  /** Resolve when the watch has begun, and later when there are events. */
  async change(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#messages.next();
        if (done) {
          throw new UnavailableError("the server ended the watch", { code: "UNAVAILABLE" });
        }
        if (!this.#hasBegun || value.events.length > 0) {
          this.#hasBegun = true;
          return;
        }
      }
    } catch (error) {
      this.#isOver = true;
      this.#signal?.throwIfAborted();
      if (this.#connection.isClosed) {
        throw this.#connection.closedError();
      }
      throw isServiceError(error) ? fromRpcError(error, this.#connection.target, this.#connection.encrypted) : error;
    }
  }

  /** End the watch. */
  close(): void {
    this.#signal?.removeEventListener("abort", this.#cancel);
    this.#connection.offClose(this.#cancel);
    this.#stream.cancel();
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error;
}

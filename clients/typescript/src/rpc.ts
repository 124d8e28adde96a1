/** Requests over one connection to a server, with retries until their timeout. */

import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf";
import {
  type Client,
  type ClientReadableStream,
  type ClientUnaryCall,
  type Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { checkOptions } from "./checks.js";
import { Addresses } from "./connection/addresses.js";
import { Backoff, DEFAULT_TIMEOUT_MS, pause } from "./connection/backoff.js";
import { tokenMetadata, warnOfPlainText } from "./connection/bearer-token.js";
import { CHANNEL_OPTIONS, openChannel, pathOf, readerOf, writerOf } from "./connection/channel.js";
import { fromRpcError, isRetryable } from "./connection/rpc-errors.js";
import { checkTarget, DEFAULT_TARGET } from "./connection/targets.js";
import { PemFiles } from "./connection/tls.js";
import { CallbackError } from "./errors.js";
import { type Logger, standardErrorLogger } from "./logger.js";
import { CLIENT } from "./option-checks.js";
import type { ClientOptions, RequestOptions } from "./options.js";
import type { TraceContext } from "./request.js";

type Method<Input extends DescMessage, Output extends DescMessage> = DescMethod & { input: Input; output: Output };

/** A connection to a server. */
export class Connection {
  readonly target: string;
  readonly timeoutMs: number;
  readonly retry: boolean;
  readonly logger: Logger;
  readonly #tls: { readonly files: PemFiles; readonly serverName: string | undefined } | undefined;
  readonly #token: () => Promise<Metadata>;
  readonly #traceContext: (() => TraceContext) | undefined;
  readonly #onClose = new Set<() => void>();
  readonly #addresses: Addresses;
  #openedFor = "";
  #channel: Client | undefined;
  #isClosed = false;

  constructor(options: ClientOptions) {
    checkOptions("CallbackClient", options, CLIENT, `new CallbackClient({ target: "${DEFAULT_TARGET}" })`);
    const { target = DEFAULT_TARGET, tls, timeoutMs = DEFAULT_TIMEOUT_MS, retry = true } = options;
    const { logger = standardErrorLogger } = options;
    checkTarget(target, tls);
    this.target = target;
    this.#addresses = new Addresses(target);
    this.timeoutMs = timeoutMs;
    this.retry = retry;
    this.logger = logger;
    this.#tls = tls && { files: new PemFiles(tls, logger), serverName: tls.serverName };
    this.#token = tokenMetadata(options, logger);
    this.#traceContext = options.traceContext;
    warnOfPlainText(target, options, logger);
  }

  /** Whether the connection was closed. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Close the connection. Requests in progress end. Closing twice has no effect. */
  close(): void {
    this.#isClosed = true;
    for (const end of this.#onClose) {
      end();
    }
    this.#channel?.close();
  }

  /** Call a function when the connection is closed. */
  onClose(end: () => void): void {
    this.#onClose.add(end);
  }

  /** Do not call a function any more. */
  offClose(end: () => void): void {
    this.#onClose.delete(end);
  }

  /** Return the time that a request has. */
  backoff({ timeoutMs }: RequestOptions): Backoff {
    return new Backoff(timeoutMs ?? this.timeoutMs);
  }

  /** Send a request, with retries until its timeout. Every gRPC error becomes a `CallbackError`. */
  async request<Input extends DescMessage, Output extends DescMessage>(
    method: Method<Input, Output>,
    request: MessageShape<Input>,
    options: RequestOptions,
    { backoff = this.backoff(options), once = false } = {},
  ): Promise<MessageShape<Output>> {
    for (;;) {
      let wait: number;
      try {
        return await this.#send(method, request, backoff.remainingMs, options.signal);
      } catch (error) {
        wait = backoff.nextPauseMs(error instanceof CallbackError ? error.retryAfterMs : 0);
        if (once || !this.retry || !isRetryable(error) || wait >= backoff.remainingMs) {
          throw error;
        }
      }
      await pause(wait, options.signal);
    }
  }

  /** Open a stream of messages. */
  async stream<Input extends DescMessage, Output extends DescMessage>(
    method: Method<Input, Output>,
    request: MessageShape<Input>,
    options: { readonly deadline?: number } = {},
  ): Promise<ClientReadableStream<MessageShape<Output>>> {
    const metadata = await this.#metadata();
    const [write, read] = [writerOf(method.input), readerOf(method.output)];
    return (await this.#open()).makeServerStreamRequest(pathOf(method), write, read, request, metadata, options);
  }

  /** Return the error of a request after `close`. */
  closedError(): CallbackError {
    return new CallbackError("this client is closed", { code: "CANCELLED" });
  }

  async #send<Input extends DescMessage, Output extends DescMessage>(
    method: Method<Input, Output>,
    request: MessageShape<Input>,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<MessageShape<Output>> {
    const deadline = Date.now() + timeoutMs;
    signal?.throwIfAborted();
    const metadata = await this.#metadata();
    const channel = await this.#open();
    signal?.throwIfAborted();
    const [write, read] = [writerOf(method.input), readerOf(method.output)];
    let call!: ClientUnaryCall;
    const abort = (): void => call.cancel();
    try {
      return await new Promise((resolve, reject) => {
        const done = (error: ServiceError | null, reply?: MessageShape<Output>): void => {
          if (error === null && reply !== undefined) {
            resolve(reply);
          } else {
            reject(error);
          }
        };
        call = channel.makeUnaryRequest(pathOf(method), write, read, request, metadata, { deadline }, done);
        this.#onClose.add(abort);
        signal?.addEventListener("abort", abort);
      });
    } catch (error) {
      signal?.throwIfAborted();
      if ((error as ServiceError).code === status.UNAVAILABLE) {
        this.#addresses.failed();
      }
      throw this.#isClosed ? this.closedError() : fromRpcError(error as ServiceError, this.target, this.encrypted);
    } finally {
      this.#onClose.delete(abort);
      signal?.removeEventListener("abort", abort);
    }
  }

  async #metadata(): Promise<Metadata> {
    const metadata = await this.#token();
    for (const [name, value] of Object.entries(this.#traceContext?.() ?? {})) {
      if (value !== undefined) {
        metadata.set(name, String(value));
      }
    }
    return metadata;
  }

  /** Whether the connection uses TLS. */
  get encrypted(): boolean {
    return this.#tls !== undefined;
  }

  /** Return the channel. The first request creates it; changed addresses, and changed files of `tls`, replace it. */
  async #open(): Promise<Client> {
    const target = await this.#addresses.current();
    if (this.#isClosed) {
      throw this.closedError();
    }
    if (this.#channel !== undefined && (this.#tls?.files.reloadIfChanged() || target !== this.#openedFor)) {
      this.#channel.close(); // its requests end first
      this.#channel = undefined;
    }
    this.#openedFor = target;
    this.#channel ??= openChannel(this.#addresses, this.#tls, CHANNEL_OPTIONS);
    return this.#channel;
  }
}

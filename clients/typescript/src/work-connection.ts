/** The connection of a worker: a stream to a server, and another one when it ends or the server is draining. */

import { create } from "@bufbuild/protobuf";
import type { Client, Metadata } from "@grpc/grpc-js";
import { Backoff, pause } from "./connection/backoff.js";
import { MAX_MESSAGE_BYTES } from "./connection/channel.js";
import { fromRpcError } from "./connection/rpc-errors.js";
import type { StatusCode } from "./errors.js";
import { HelloSchema } from "./gen/callback/v1/worker_service_pb.js";
import type { Handlers } from "./handlers.js";
import type { Logger } from "./logger.js";
import { Slots } from "./slots.js";
import { callAfter } from "./timer.js";
import { WorkStream } from "./work-stream.js";

/**
 * How long a server may take to end a stream without calls, in milliseconds, once the grace has ended. The last results
 * are on their way to it.
 */
const CLOSE_MS = 2_000;

/** How often a connected worker looks whether its token file or its TLS files have changed, in milliseconds. */
const LOOK_AT_FILES_MS = 1_000;

const BACKOFF = { firstMs: 200, longestMs: 5_000 };

/** The codes of an error that ends a worker which had no welcome yet: its configuration is wrong. */
const CONFIGURATION_CODES: readonly StatusCode[] = [
  "INVALID_ARGUMENT",
  "UNAUTHENTICATED",
  "PERMISSION_DENIED",
  "UNIMPLEMENTED",
];

/** What a connection gets from its worker. */
export interface ConnectionOptions {
  readonly target: string;
  /** Whether the connection uses TLS. */
  readonly encrypted: boolean;
  readonly maxCalls: number;
  readonly graceMs: number;
  readonly name: string;
  readonly logger: Logger;
  /** Returns the metadata of the next stream. */
  readonly metadata: () => Promise<Metadata>;
  /** Opens the channel of the next stream. */
  readonly openChannel: () => Promise<Client>;
  /** Returns whether the token file or the files for TLS have changed since they were last read. */
  readonly haveFilesChanged: () => boolean;
  /** Called when the connection has stopped. */
  readonly onStopped: () => void;
}

/** The connection of a worker, from its start until `stop`. */
export class WorkConnection {
  /** Resolves when a server has welcomed the worker for the first time. */
  readonly welcomed: Promise<void>;
  /** Rejects if the first server refuses the worker. It never resolves. */
  readonly failed: Promise<never>;

  readonly #handlers: Handlers;
  readonly #options: ConnectionOptions;
  readonly #slots: Slots;
  readonly #streams = new Set<WorkStream>();
  readonly #stopping = new AbortController();
  #isWelcome = false;
  /** The stream of the last welcome. */
  #serving: WorkStream | undefined;
  #onWelcome!: () => void;
  #onFailed!: (error: unknown) => void;
  /** Rejects when the worker stops. */
  readonly #gone: Promise<never>;
  #stopped: Promise<number> | undefined;
  /** What the last server knows of its store, for the next one. It is not read here. */
  #storeEpochs: Uint8Array = new Uint8Array();

  constructor(handlers: Handlers, options: ConnectionOptions) {
    this.#handlers = handlers;
    this.#options = options;
    this.#slots = new Slots(options.maxCalls); // shared, because a draining stream runs beside its successor
    this.welcomed = new Promise((resolve) => {
      this.#onWelcome = resolve;
    });
    this.failed = new Promise((_, reject) => {
      this.#onFailed = reject;
    });
    this.#gone = new Promise((_, reject) => {
      const stopped = (): void => reject(new Error("the worker has stopped, and was never connected"));
      this.#stopping.signal.addEventListener("abort", stopped, { once: true });
    });
    for (const each of [this.failed, this.#gone]) {
      each.catch(() => {}); // it may reject when nothing waits for it any more
    }
    void this.#stayConnected().catch((error: unknown) => this.#onFailed(error));
  }

  /** Resolves when a server has welcomed the worker for the first time, and rejects if none can do so any more. */
  get connected(): Promise<void> {
    return Promise.race([this.welcomed, this.failed, this.#gone]);
  }

  /** Whether a server has welcomed the worker, and is not stopping. */
  get isConnected(): boolean {
    return this.#serving?.isLeaving === false && !this.#isStopping;
  }

  /** Accept no new calls, let running calls finish, and disconnect. Return how many still ran when the grace ended. */
  stop(): Promise<number> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<number> {
    const { graceMs, logger } = this.#options;
    let lost = 0;
    this.#stopping.abort();
    const streams = [...this.#streams];
    const ended = Promise.all(streams.map((stream) => stream.ended));
    for (const stream of streams) {
      stream.drain();
    }
    const cancel = (): void => {
      for (const stream of streams) {
        stream.cancel(`the worker has stopped, and its grace of ${graceMs} ms has ended`);
      }
    };
    let late = callAfter(graceMs, () => {
      lost = streams.reduce((sum, stream) => sum + stream.runningCalls, 0);
      if (lost === 0) {
        late = setTimeout(cancel, CLOSE_MS);
        return;
      }
      logger.warn({ graceMs, calls: lost }, "grace_exceeded");
      cancel();
    });
    await ended;
    clearTimeout(late);
    this.#options.onStopped();
    return lost;
  }

  async #stayConnected(): Promise<void> {
    const { logger, target } = this.#options;
    let backoff = new Backoff(Number.POSITIVE_INFINITY, BACKOFF);
    while (!this.#isStopping) {
      const stream = await this.#open();
      if (stream !== undefined) {
        await stream.answered;
        if (stream.isWelcome) {
          if (this.#serving?.isLeaving === false) {
            this.#serving.drain(); // files have changed
          }
          this.#serving = stream;
          this.#isWelcome = true;
          this.#onWelcome();
          backoff = new Backoff(Number.POSITIVE_INFINITY, BACKOFF);
          const activities = this.#served().filter((each) => !stream.unroutableActivities.includes(each));
          logger.info({ target, activities: activities.join(",") || "none" }, "worker_connected");
        }
        await this.#untilLeaving(stream);
        this.#logEnd(stream);
      }
      await pause(backoff.nextPauseMs(), this.#stopping.signal).catch(() => {});
    }
  }

  /** Wait until the worker needs another stream than this one. */
  async #untilLeaving(stream: WorkStream): Promise<void> {
    let look: NodeJS.Timeout | undefined;
    const changed = new Promise<void>((resolve) => {
      look = setInterval(() => this.#options.haveFilesChanged() && resolve(), LOOK_AT_FILES_MS);
    });
    await Promise.race([stream.leaving, changed]);
    clearInterval(look);
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Open a stream. Return undefined if the token is unusable, or the worker stops. */
  async #open(): Promise<WorkStream | undefined> {
    const { logger, openChannel, metadata, maxCalls, name } = this.#options;
    try {
      const given = await metadata();
      const channel = await openChannel();
      if (this.#isStopping) {
        channel.close();
        return undefined;
      }
      const hello = create(HelloSchema, {
        callbackActivities: [...this.#handlers.activities],
        notificationActivities: [...this.#handlers.notificationActivities],
        maxCalls,
        name,
        storeEpochs: this.#storeEpochs,
        maxMessageBytes: MAX_MESSAGE_BYTES,
      });
      const stream = new WorkStream({
        channel,
        metadata: given,
        hello,
        handlers: this.#handlers,
        slots: this.#slots,
        logger,
        keepStoreEpochs: (epochs) => {
          this.#storeEpochs = epochs.length > 0 ? epochs : this.#storeEpochs;
        },
      });
      this.#streams.add(stream);
      void stream.ended.then(() => this.#streams.delete(stream));
      return stream;
    } catch (error) {
      // A token function failed, or returned a malformed token.
      if (!this.#isWelcome) {
        throw error;
      }
      logger.error({ problem: String(error) }, "token_unusable");
      return undefined;
    }
  }

  /**
   * Log why the worker needs another stream.
   *
   * @throws CallbackError: The server refused the first connection of this worker.
   */
  #logEnd({ failure, isLeaving }: WorkStream): void {
    const { logger, target, encrypted } = this.#options;
    if (this.#isStopping) {
      return;
    }
    if (failure === undefined) {
      logger.info({ target }, isLeaving ? "server_draining" : "files_changed");
      return;
    }
    const error = fromRpcError(failure, target, encrypted);
    if (!this.#isWelcome && CONFIGURATION_CODES.includes(error.code)) {
      throw error;
    }
    logger.warn({ problem: error.message }, "worker_disconnected");
  }

  /** Return the activities whose calls or notifications the worker handles. */
  #served(): string[] {
    return [...new Set([...this.#handlers.activities, ...this.#handlers.notificationActivities])];
  }
}

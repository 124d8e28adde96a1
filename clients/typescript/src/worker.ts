/**
 * A worker: handlers without a listening port. It connects to a server and receives calls from it.
 *
 * ```ts
 * await new Worker(handlers, { target: "callback:50051", tokenFile: "worker.token" }).run();
 * ```
 *
 * The result of a call is described at `Handlers`. In addition:
 *
 * 1. A worker keeps one stream to one server, and receives the calls of every server of the deployment through it. If the
 *    target has several addresses, it connects to any of them, and to another one when that server is lost or stops. Run
 *    at least two workers; they share the calls.
 * 2. A worker starts a call only after the server has confirmed it, and the server confirms it to one worker only. If a
 *    worker is lost before that, nothing is lost: the server offers the call to another worker. If the stream is lost
 *    during a call, the signal of the handler aborts, because no server would accept its result, and the server ends the
 *    call with HANDLER_LOST.
 * 3. A handler occupies a slot of the worker until it has ended, also after its signal has aborted.
 * 4. The worker reconnects by itself, with exponential backoff and jitter. It detects a server that vanished within ten
 *    seconds.
 * 5. The worker logs which of its activities get no calls from the server, because its configuration has a handler server
 *    for them. It keeps running, because another server may have some.
 * 6. At SIGTERM the worker requests no more calls, and finishes those that it started. A server that stops asks its
 *    workers to connect to another server. The worker does so, and meanwhile finishes the calls of the first one.
 * 7. When its token file or its TLS files have changed, which the worker looks for every second, it opens another stream
 *    with them. Once that is welcome, it finishes the calls of the old stream and leaves that. Until then it keeps the old
 *    one: the server may not know the new token yet.
 */

import { hostname } from "node:os";
import { inspect } from "node:util";
import { type Checks, checkOptions, graceMs as grace, mustBeNumber, text } from "./checks.js";
import { Addresses } from "./connection/addresses.js";
import { type TokenMetadata, tokenMetadata, warnOfPlainText } from "./connection/bearer-token.js";
import { CHANNEL_OPTIONS, openChannel } from "./connection/channel.js";
import { checkTarget, DEFAULT_TARGET } from "./connection/targets.js";
import { PemFiles, type Tls } from "./connection/tls.js";
import { type Handlers, requireHandlers } from "./handlers.js";
import { type Logger, standardErrorLogger } from "./logger.js";
import { CONNECTION } from "./option-checks.js";
import type { TokenOptions } from "./options.js";
import { callsOf, RUN, type RunOptions, stopSignal } from "./process.js";
import { WorkConnection } from "./work-connection.js";

/** How long running calls may continue after a stop, in milliseconds, unless another time is given. */
export const DEFAULT_GRACE_MS = 10_000;

const DEFAULT_MAX_CALLS = 100;

const OPTIONS = {
  ...CHANNEL_OPTIONS,
  // Each stream has its own connection, to any address of the target, so that workers spread over the servers.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ pick_first: { shuffleAddressList: true } }] }),
};

/** The options of a worker. */
export interface WorkerOptions extends TokenOptions {
  /**
   * `host:port`, several servers as `a:50051,b:50051`, or another gRPC target such as `dns:///callback:50051`. Names are
   * looked up with each connection. Default: `127.0.0.1:50051`.
   */
  readonly target?: string | undefined;
  /**
   * The authorities to trust, and the worker's certificate. Default: no TLS. A token then crosses the network in plain
   * text, which is logged as a warning unless the target is on this machine.
   */
  readonly tls?: Tls | undefined;
  /** The number of concurrent calls, 1 to 1,000. Default: 100. */
  readonly maxCalls?: number | undefined;
  /** How long running calls may continue after a stop, in milliseconds. Later their signals abort. Default: 10,000. */
  readonly graceMs?: number | undefined;
  /** The name of the worker in the server's log. Default: the host name and the process id. */
  readonly name?: string | undefined;
  /** Where to log. Default: standard error. */
  readonly logger?: Logger | undefined;
}

const CHECKS = {
  ...CONNECTION,
  maxCalls: mustBeNumber(
    "a whole number, 1 to 1,000",
    (value) => Number.isInteger(value) && value >= 1 && value <= 1_000,
  ),
  graceMs: grace,
  name: text,
} satisfies Checks<WorkerOptions>;

/** A worker that serves, or connects in the background. */
export interface RunningWorker extends AsyncDisposable {
  /** Whether a server has welcomed the worker, and is not stopping: for a readiness probe. */
  readonly isConnected: boolean;
  /**
   * Wait until a server has welcomed the worker for the first time, such as in a test.
   *
   * @throws CallbackError: As for `run`. It is logged, too.
   * @throws Error: The worker has stopped, and was never connected.
   */
  connected(): Promise<void>;
  /**
   * Accept no new calls, let running calls finish, and disconnect. Calls that still run after `graceMs` are lost: their
   * signals abort, which is logged. A second call has no other effect.
   */
  stop(): Promise<void>;
}

/** A worker that connects to a server, and runs the handlers of the calls that it receives. */
export class Worker {
  readonly #handlers: Handlers;
  readonly #options: Required<Pick<WorkerOptions, "target" | "maxCalls" | "graceMs" | "name" | "logger">>;
  readonly #tls: { readonly files: PemFiles; readonly serverName: string | undefined } | undefined;
  readonly #metadata: TokenMetadata;
  #isRunning = false;

  /**
   * @param handlers The handlers. The worker announces their activities to the server when it connects.
   * @param options The server, and how to connect to it.
   * @throws TypeError: There are no handlers, an option does not exist or has the wrong type, the target is not valid or
   *   has no port, `token` and `tokenFile` are both given, the token is malformed, or a file of `tls` has no usable content.
   * @throws RangeError: `maxCalls` or `graceMs` is out of range.
   * @throws Error of Node: `tokenFile` or a file of `tls` cannot be read.
   */
  constructor(handlers: Handlers, options: WorkerOptions = {}) {
    requireHandlers("a Worker", handlers);
    checkOptions("Worker", options, CHECKS, `new Worker(handlers, { target: "${DEFAULT_TARGET}" })`);
    const {
      target = DEFAULT_TARGET,
      tls,
      maxCalls = DEFAULT_MAX_CALLS,
      graceMs = DEFAULT_GRACE_MS,
      name = `${hostname()}-${process.pid}`,
      logger = standardErrorLogger,
    } = options;
    checkTarget(target, tls);
    this.#handlers = handlers;
    this.#options = { target, maxCalls, graceMs, name, logger };
    this.#tls = tls && { files: new PemFiles(tls, logger), serverName: tls.serverName };
    this.#metadata = tokenMetadata(options, logger);
    warnOfPlainText(target, options, logger);
  }

  /**
   * Serve until SIGTERM, SIGINT, or the abort of a signal. Then accept no new calls, and let running calls finish. A
   * second SIGTERM or SIGINT has its usual effect.
   *
   * @throws CallbackError: The server refuses the first connection of this worker: the token is wrong, or the principal
   *   may not handle one of the activities. A later refusal, such as during the replacement of a token, is logged, and the
   *   worker tries again.
   * @throws Error: Calls still ran when `graceMs` was over, and are lost. Or the worker runs already.
   */
  async run(options: RunOptions = {}): Promise<void> {
    checkOptions("run", options, RUN);
    const { signal } = options;
    const connection = this.#connect();
    const stop = stopSignal(signal);
    let lost: number;
    try {
      await Promise.race([connection.failed, stop.requested]);
      this.#options.logger.info({ graceMs: this.#options.graceMs }, "stopping");
    } finally {
      lost = await connection.stop();
      stop.release();
    }
    if (lost > 0) {
      throw new Error(`the grace of the worker, ${this.#options.graceMs} ms, ended before ${callsOf(lost)}`);
    }
  }

  /**
   * Serve beside other work of this process, such as a web application. It handles no signals of the process.
   *
   * ```ts
   * await using worker = await new Worker(handlers).start();
   * ```
   *
   * The worker connects in the background: a server that is away keeps no program from starting or stopping. `connected`
   * of the running worker waits for it.
   *
   * @throws Error: The worker runs already.
   */
  async start(): Promise<RunningWorker> {
    const connection = this.#connect();
    connection.failed.catch((error) => this.#options.logger.error({ problem: String(error) }, "worker_ended"));
    const stop = async (): Promise<void> => void (await connection.stop());
    return {
      get isConnected() {
        return connection.isConnected;
      },
      connected: () => connection.connected,
      stop,
      [Symbol.asyncDispose]: stop,
    };
  }

  /** @internal */
  [inspect.custom](): string {
    return `Worker ${inspect({ target: this.#options.target, activities: this.#handlers.activities })}`;
  }

  /** @throws Error: The worker runs already. */
  #connect(): WorkConnection {
    if (this.#isRunning) {
      throw new Error("this worker runs already: stop it first, or create another Worker");
    }
    this.#isRunning = true;
    const channel = async (): Promise<ReturnType<typeof openChannel>> => {
      const addresses = new Addresses(this.#options.target); // looked up for each stream
      await addresses.current();
      this.#tls?.files.reloadIfChanged(); // each stream has its own channel, with the current files
      return openChannel(addresses, this.#tls, OPTIONS);
    };
    return new WorkConnection(this.#handlers, {
      ...this.#options,
      encrypted: this.#tls !== undefined,
      metadata: this.#metadata,
      openChannel: channel,
      haveFilesChanged: () => this.#metadata.hasChanged?.() || (this.#tls?.files.reloadIfChanged() ?? false),
      onStopped: () => {
        this.#isRunning = false;
      },
    });
  }
}

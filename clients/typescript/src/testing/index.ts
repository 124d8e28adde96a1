/**
 * Callback for tests: a running system with the handlers under test, and requests of outside systems to it.
 *
 * ```ts
 * const system = await startSystem({ handlers });
 * after(() => system.stop());
 *
 * test("a visitor who paid is redirected", async () => {
 *   const made = await system.client.generateCallbackUrl("order-paid", new Redirect());
 *   const reply = await system.visit(made.url, { query: { status: "paid" } });
 *   assert.equal(reply.location, "https://shop.example/thankyou");
 * });
 * ```
 *
 * `system.advance(3 * 24 * 3600 * 1000)` moves the time of all callbacks forward, so a reminder after three days is a matter
 * of milliseconds.
 *
 * It runs `callback up`, the same store, server and edge as production, on loopback, with free ports and a temporary
 * directory. `CALLBACK_COMMAND` is the command to run, such as `python3 -m callback_cli`; its words are separated by
 * spaces. Default: `callback`. Other `CALLBACK_…` environment variables have no effect. The system stops with `stop`, and
 * when this process ends, for any reason.
 */

import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Checks, checkOptions, logger as someLogger, text } from "../checks.js";
import { CallbackClient } from "../client.js";
import { type Handlers, requireHandlers } from "../handlers.js";
import { type Logger, standardErrorLogger } from "../logger.js";
import { type RunningWorker, Worker } from "../worker.js";
import { type Reply, type SendOptions, send, type VisitOptions, visit } from "./http.js";

export { Reply, type SendOptions, type VisitOptions } from "./http.js";

/** How long a system may take to start, in milliseconds. It usually takes one second. */
const START_MS = 60_000;
/** How long a system may take to stop, in milliseconds. It usually takes less than one second, plus running handlers. */
const STOP_MS = 40_000;
const LAST_LINES = 20;

/** The options of a system. */
export interface SystemOptions {
  /** The handlers under test. A worker in this process runs them. Default: none. */
  readonly handlers?: Handlers | undefined;
  /** Settings as the text of a server's TOML file. Default: none. */
  readonly config?: string | undefined;
  /** Where the worker and the client log. Default: standard error. */
  readonly logger?: Logger | undefined;
}

const CHECKS = {
  handlers: (_, value) => requireHandlers("a system", value),
  config: text,
  logger: someLogger,
} satisfies Checks<SystemOptions>;

/** A running system. */
export interface System extends AsyncDisposable {
  /** The URL of the edge, `http://127.0.0.1:PORT`. Callback URLs begin with it. */
  readonly url: string;
  /** The target of the server for clients and workers, `127.0.0.1:PORT`. */
  readonly target: string;
  /** A client. It is closed together with the system. */
  readonly client: CallbackClient;
  /** Call a URL as the sender of a webhook does, by default with POST. */
  send(url: string, options?: SendOptions): Promise<Reply>;
  /** Call a URL as a browser does. Redirects are not followed. */
  visit(url: string, options?: VisitOptions): Promise<Reply>;
  /**
   * Move the time of all callbacks forward by some milliseconds, at least one.
   *
   * What is due by then has happened when this is done: callbacks have expired, the windows of repeats are over, and
   * reminders are handed out. Wait for what their handlers do. A delivery that is due is tried again, and data past its
   * retention will be deleted. A call that runs ends as INTERRUPTED if its lease is over by then. The time cannot
   * be moved back. Signatures, tokens and certificates keep to the real time.
   *
   * @throws RangeError: It is not a whole number of milliseconds, or less than one.
   */
  advance(byMs: number): Promise<void>;
  /** Stop the system, and remove its data. A second call has no other effect. */
  stop(): Promise<void>;
}

/**
 * Start a system, and return it when it is ready.
 *
 * @throws Error: The system did not start. The message has the last lines of its log.
 * @throws TypeError: An option does not exist or has the wrong type.
 */
export async function startSystem(options: SystemOptions = {}): Promise<System> {
  checkOptions("startSystem", options, CHECKS);
  const { handlers, config = "", logger = standardErrorLogger } = options;
  const directory = await mkdtemp(join(tmpdir(), "callback-"));
  const up = await start(directory, config).catch(async (error: unknown) => {
    await rm(directory, { recursive: true, force: true });
    throw error;
  });
  const client = new CallbackClient({ target: up.target, logger });
  let worker: RunningWorker | undefined;
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= (async () => {
      await worker?.stop(); // first, so that no running handler delays the stop
      client.close();
      await up.stop();
      await rm(directory, { recursive: true, force: true });
    })();
    return stopped;
  };
  if (handlers !== undefined) {
    worker = await new Worker(handlers, { target: up.target, graceMs: 0, logger }).start();
    await worker.connected().catch(async (error) => {
      await stop();
      throw error;
    });
  }
  return {
    url: up.url,
    target: up.target,
    client,
    send: (url, given = {}) => send(up.url, url, given),
    visit: (url, given = {}) => visit(up.url, url, given),
    advance: up.advance,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Run `callback up`, and return its addresses when it is ready. */
async function start(
  directory: string,
  config: string,
): Promise<{ url: string; target: string; advance: (byMs: number) => Promise<void>; stop: () => Promise<void> }> {
  const [program = "callback", ...words] = (process.env["CALLBACK_COMMAND"] ?? "callback").split(" ").filter(Boolean);
  const [configFile, log] = [join(directory, "callback.toml"), join(directory, "callback.log")];
  await writeFile(configFile, config);
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("CALLBACK_"));
  const child = spawn(
    program,
    [...words, "up", "--test-clock", "--no-console", "--edge=127.0.0.1:0", "--grpc=127.0.0.1:0"].concat(
      `--data-dir=${join(directory, "data")}`,
      `--config=${configFile}`,
    ),
    // In a session of its own: Ctrl-C then reaches only the tests, which stop the system.
    { stdio: ["pipe", "pipe", "pipe"], env: Object.fromEntries(own), detached: true },
  );
  child.stderr.pipe(createWriteStream(log));
  const ended = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", () => resolve());
  });
  const late = setTimeout(() => child.kill("SIGKILL"), START_MS);
  const stop = async (): Promise<void> => {
    const slow = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    child.stdin.end();
    await ended;
    clearTimeout(slow);
  };
  let problem = "";
  child.once("error", (error) => {
    problem = `cannot run ${JSON.stringify(program)} (${error.message}): set CALLBACK_COMMAND to the command of Callback`;
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  let advancing: Promise<unknown> = Promise.resolve();
  const advance = (byMs: number): Promise<void> => {
    if (!Number.isSafeInteger(byMs) || byMs < 1) {
      throw new RangeError(`the time is moved by whole milliseconds, at least one, not by ${byMs}`);
    }
    const advanced = advancing.then(async () => {
      child.stdin.write(`advance ${byMs}\n`);
      const { value = "not advanced: the system has stopped" } = await lines.next();
      if (value !== "advanced") {
        throw new Error(`the time of the system was ${value}`);
      }
    });
    advancing = advanced.catch(() => undefined);
    return advanced;
  };
  const [, edge, target] = /^ready edge=(\S+) grpc=(\S+)$/.exec((await lines.next()).value ?? "") ?? [];
  if (edge !== undefined && target !== undefined) {
    clearTimeout(late);
    return { url: `http://${edge}`, target, advance, stop };
  }
  clearTimeout(late);
  await ended;
  const lastLines = (await readFile(log, "utf8").catch(() => "")).trimEnd().split("\n").slice(-LAST_LINES);
  throw new Error(
    problem === ""
      ? ["the system did not start. The last lines of its log:", ...lastLines].join("\n")
      : `the system did not start: ${problem}`,
  );
}

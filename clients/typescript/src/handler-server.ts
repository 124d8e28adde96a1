/** A handler server: a gRPC server to which the Callback server connects, at an address of its configuration. */

import { inspect } from "node:util";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  experimental,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { arrayOf, type Checks, checkOptions, file, graceMs as grace, logger, must, nested, text } from "./checks.js";
import { bufferOf, pathOf, SERVER_OPTIONS } from "./connection/channel.js";
import { PemFiles } from "./connection/tls.js";
import { answerTooLarge, executionOf, logAnswerRefused, MAX_ANSWER_BYTES } from "./execution.js";
import {
  CallbackHandlerService,
  type HandleCallbackRequest,
  HandleCallbackRequestSchema,
  HandleCallbackResponseSchema,
  HandleNotificationRequestSchema,
  HandleNotificationResponseSchema,
  RefuseAnswerRequestSchema,
} from "./gen/callback/v1/callback_handler_service_pb.js";
import { type Handlers, requireHandlers } from "./handlers.js";
import { type Logger, standardErrorLogger } from "./logger.js";
import { callsOf, RUN, type RunOptions, stopSignal } from "./process.js";
import { callAfter } from "./timer.js";
import { DEFAULT_GRACE_MS } from "./worker.js";

/** TLS of a handler server: its certificate, and the Callback servers that it accepts. */
export interface ServerTls {
  /** PEM file of the server's certificate, with its intermediate certificates. */
  readonly certFile: string | URL;
  /** PEM file of its private key, without a password. */
  readonly keyFile: string | URL;
  /**
   * PEM file of certificate authorities. Every client must present a certificate of one of them (mutual TLS). Default:
   * clients need no certificate.
   */
  readonly clientCaFile?: string | URL | undefined;
  /**
   * URIs or DNS names of the accepted clients. One of them must be among the subject alternative names of the client's
   * certificate, exactly. Requires `clientCaFile`. Default: every client with a certificate of these authorities.
   */
  readonly clientNames?: readonly string[] | undefined;
}

/** The options of a handler server. */
export interface HandlerServerOptions {
  /** The certificate of this server, and the Callback servers that it accepts. Default: no TLS. */
  readonly tls?: ServerTls | undefined;
  /** How long running calls may continue after a stop, in milliseconds. Later their signals abort. Default: 10,000. */
  readonly graceMs?: number | undefined;
  /** Where to log. Default: standard error. */
  readonly logger?: Logger | undefined;
}

const TLS = {
  certFile: file,
  keyFile: file,
  clientCaFile: file,
  clientNames: arrayOf(text),
} satisfies Checks<ServerTls>;

const CHECKS = {
  tls: nested(TLS, '{ certFile: "server.pem", keyFile: "server.key" }'),
  graceMs: grace,
  logger,
} satisfies Checks<HandlerServerOptions>;

const checkAddress = must("HOST:PORT or unix:/path, such as 127.0.0.1:50061", (value) => typeof value === "string");

/** A handler server that listens. */
export interface RunningHandlerServer extends AsyncDisposable {
  /** `host:port` with the actual port. A Unix socket is returned as given. */
  readonly address: string;
  /** The actual port. 0 for a Unix socket. */
  readonly port: number;
  /** Accept no new calls, and let running calls finish. A second call has no other effect. */
  stop(): Promise<void>;
}

/** How often files of TLS are checked for changes, in milliseconds. */
const FILES_INTERVAL_MS = 1_000;

/** How long connections without calls may hold up a stop, in milliseconds, once the grace has ended. */
const CLOSE_MS = 2_000;

/** A gRPC server that offers handlers. */
export class HandlerServer {
  readonly #handlers: Handlers;
  readonly #address: string;
  readonly #tls: ServerTls | undefined;
  readonly #graceMs: number;
  readonly #logger: Logger;
  #run: Run | undefined;

  /**
   * @param handlers The handlers.
   * @param address `host:port` (`[::1]:50061` for IPv6; port 0 selects a free one) or `unix:/path`.
   * @throws TypeError: There are no handlers, the address is malformed, an option does not exist or has the wrong type, or
   *   `clientNames` is given without `clientCaFile`.
   * @throws RangeError: `graceMs` is negative or NaN.
   */
  constructor(handlers: Handlers, address: string, options: HandlerServerOptions = {}) {
    requireHandlers("a HandlerServer", handlers);
    checkAddress("the address of a HandlerServer", address);
    checkOptions(
      "HandlerServer",
      options,
      CHECKS,
      'new HandlerServer(handlers, "127.0.0.1:50061", { graceMs: 5_000 })',
    );
    const { tls, graceMs = DEFAULT_GRACE_MS, logger = standardErrorLogger } = options;
    if (!/^(?:unix:.+|(?:\[[^\]]+\]|[^\][:/]+):\d{1,5})$/.test(address)) {
      throw new TypeError(`cannot listen on ${JSON.stringify(address)}: use HOST:PORT or unix:/path`);
    }
    if (tls?.clientNames !== undefined && tls.clientCaFile === undefined) {
      throw new TypeError("clientNames requires clientCaFile: without it, clients present no certificate");
    }
    this.#handlers = handlers;
    this.#address = address;
    this.#tls = tls;
    this.#graceMs = graceMs;
    this.#logger = logger;
  }

  /**
   * Serve until SIGTERM, SIGINT, or the abort of a signal. Then accept no new calls, and let running calls finish. A second
   * SIGTERM or SIGINT has its usual effect.
   *
   * @throws Error: As for `start`, or calls still ran when `graceMs` was over, and are lost.
   */
  async run(options: RunOptions = {}): Promise<void> {
    checkOptions("run", options, RUN);
    const { signal } = options;
    const running = await this.#listen();
    const stop = stopSignal(signal);
    const activities = this.#handlers.activities.join(",") || "none";
    this.#logger.info({ address: running.address, activities }, "handlers_listening");
    await stop.requested;
    this.#logger.info({ graceMs: this.#graceMs }, "stopping");
    const lost = await running.stop();
    stop.release();
    if (lost > 0) {
      throw new Error(`the grace of the handler server, ${this.#graceMs} ms, ended before ${callsOf(lost)}`);
    }
  }

  /**
   * Serve beside other work of this process, such as a test. It handles no signals of the process.
   *
   * @throws Error: The handler server runs already.
   * @throws Error of Node: The server cannot listen on the address, or a file of `tls` cannot be read.
   * @throws TypeError: A file of `tls` has no usable content.
   */
  async start(): Promise<RunningHandlerServer> {
    const { address, port, stop } = await this.#listen();
    const end = async (): Promise<void> => void (await stop());
    return { address, port, stop: end, [Symbol.asyncDispose]: end };
  }

  /** Listen. `stop` returns how many calls still ran when the grace ended. */
  async #listen(): Promise<{ address: string; port: number; stop: () => Promise<number> }> {
    if (this.#run !== undefined) {
      throw new Error("this handler server runs already: stop it first, or create another HandlerServer");
    }
    const server = new Server(SERVER_OPTIONS);
    const service = CallbackHandlerService.typeName;
    const health = new HealthImplementation({ [service]: "SERVING" });
    health.addToServer(server);
    const [credentials, release] = credentialsOf(this.#tls, this.#logger);
    const run: Run = { calls: 0, ended: "the server has cancelled the call" };
    this.#run = run;
    server.addService(DEFINITION, this.#implementation(run));
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(this.#address, credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
    }).catch((error: unknown) => {
      this.#run = undefined;
      release();
      throw error;
    });
    const isUnix = this.#address.startsWith("unix:");
    let stopped: Promise<number> | undefined;
    const stop = (): Promise<number> => {
      stopped ??= new Promise((resolve) => {
        health.setStatus(service, "NOT_SERVING");
        const end = (lost: number): void => {
          clearTimeout(late);
          release();
          this.#run = undefined;
          resolve(lost);
        };
        const force = (lost: number): void => {
          run.ended = `the handler server has stopped, and its grace of ${this.#graceMs} ms has ended`;
          server.forceShutdown();
          end(lost); // a connection without a handshake would hold up the shutdown without end
        };
        let late = callAfter(this.#graceMs, () => {
          const lost = run.calls;
          if (lost === 0) {
            late = setTimeout(() => force(0), CLOSE_MS); // the last answers are on their way
            return;
          }
          this.#logger.warn({ graceMs: this.#graceMs, calls: lost }, "grace_exceeded");
          force(lost);
        });
        server.tryShutdown(() => end(0));
      });
      return stopped;
    };
    return {
      address: isUnix ? this.#address : this.#address.replace(/\d+$/, String(port)),
      port: isUnix ? 0 : port,
      stop,
    };
  }

  /** @internal */
  [inspect.custom](): string {
    return `HandlerServer ${inspect({ address: this.#address, activities: this.#handlers.activities })}`;
  }

  /** Return the methods of the service. Their messages are bytes: each answer is then written once. */
  #implementation(run: Run): UntypedServiceImplementation {
    return {
      handleCallback: this.#authorized(async (call) => {
        const request = fromBinary(HandleCallbackRequestSchema, call.request);
        return this.#decide(run, call, request, "", (decision) => toBinary(HandleCallbackResponseSchema, decision));
      }),
      handleNotification: this.#authorized(async (call) => {
        const { notification } = fromBinary(HandleNotificationRequestSchema, call.request);
        if (notification === undefined) {
          throw refusal(status.INVALID_ARGUMENT, "the request has no notification");
        }
        return this.#decide(run, call, notification, "the notifications of ", (decision) =>
          toBinary(HandleNotificationResponseSchema, {
            $typeName: HandleNotificationResponseSchema.typeName,
            decision,
          }),
        );
      }),
      refuseAnswer: this.#authorized(async (call) => {
        logAnswerRefused(fromBinary(RefuseAnswerRequestSchema, call.request), this.#logger);
        return new Uint8Array();
      }),
    };
  }

  /** Run the handler of a request, and return the bytes of its decision. */
  async #decide(
    run: Run,
    call: Call,
    request: HandleCallbackRequest,
    what: string,
    write: (decision: Exclude<Awaited<ReturnType<NonNullable<ReturnType<typeof executionOf>>>>, string>) => Uint8Array,
  ): Promise<Uint8Array> {
    const execution = executionOf(request, this.#handlers, this.#logger);
    if (execution === undefined) {
      const { callbackActivity: activity, callId } = request;
      this.#logger.error({ activity, callId }, "handler_missing");
      throw refusal(status.UNIMPLEMENTED, `no handler for ${what}the activity ${JSON.stringify(activity)} here`);
    }
    const withdrawal = new AbortController();
    call.on("cancelled", () => withdrawal.abort(new Error(run.ended)));
    run.calls += 1;
    const outcome = await execution(withdrawal.signal);
    run.calls -= 1;
    if (typeof outcome === "string") {
      throw refusal(status.INTERNAL, outcome);
    }
    const bytes = write(outcome);
    if (bytes.length > MAX_ANSWER_BYTES) {
      throw refusal(status.INTERNAL, answerTooLarge(request, bytes.length, this.#logger));
    }
    return bytes;
  }

  /** Return a method that refuses a client whose certificate has none of the accepted names. */
  #authorized(run: (call: Call) => Promise<Uint8Array>): (call: Call, done: sendUnaryData<Uint8Array>) => void {
    return (call, done) => {
      const accepted = this.#tls?.clientNames;
      const names = accepted === undefined ? [] : namesOf(call.getAuthContext()?.sslPeerCertificate?.subjectaltname);
      if (accepted !== undefined && !names.some((name) => accepted.includes(name))) {
        this.#logger.warn({ names: names.join(",") || "none" }, "caller_refused");
        done(refusal(status.PERMISSION_DENIED, "the certificate has none of the accepted names"));
        return;
      }
      run(call).then(
        (reply) => done(null, reply),
        (error: ServiceError) => done(error),
      );
    };
  }
}

/** A run of a handler server, from its start to its stop. */
interface Run {
  /** The number of calls whose handlers have not ended. */
  calls: number;
  /** Why calls are cancelled. */
  ended: string;
}

type Call = ServerUnaryCall<Uint8Array, Uint8Array>;

const DEFINITION = Object.fromEntries(
  CallbackHandlerService.methods.map((method) => [
    method.localName,
    {
      path: pathOf(method),
      requestStream: false,
      responseStream: false,
      requestSerialize: bufferOf,
      requestDeserialize: (bytes: Buffer): Uint8Array => bytes,
      responseSerialize: bufferOf,
      responseDeserialize: (bytes: Buffer): Uint8Array => bytes,
    },
  ]),
);

function refusal(code: status, details: string): Pick<ServiceError, "code" | "details" | "name" | "message"> {
  return { code, details, name: "Error", message: details };
}

/** Return the DNS names and URIs of a certificate, from the text of its subject alternative names. */
function namesOf(subjectAltName = ""): string[] {
  const names: string[] = [];
  // Node quotes a name with characters that could be taken for another name.
  for (const [, kind, quoted, plain] of subjectAltName.matchAll(/(DNS|URI):(?:("(?:[^"\\]|\\.)*")|([^,]*))/g)) {
    if (kind !== undefined) {
      names.push(quoted === undefined ? (plain ?? "") : (JSON.parse(quoted) as string));
    }
  }
  return names;
}

/** Gives gRPC the contents of PEM files, and gives them again when usable ones have taken their place. */
class PemProvider implements experimental.CertificateProvider {
  readonly #files: PemFiles;
  readonly #authorityListeners = new Set<experimental.CaCertificateUpdateListener>();
  readonly #identityListeners = new Set<experimental.IdentityCertificateUpdateListener>();
  readonly #timer: NodeJS.Timeout;

  constructor(files: PemFiles) {
    this.#files = files;
    this.#timer = setInterval(() => {
      if (files.reloadIfChanged()) {
        this.#tell();
      }
    }, FILES_INTERVAL_MS).unref();
  }

  addCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#authorityListeners.add(listener);
    process.nextTick(() => this.#tell());
  }

  removeCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#authorityListeners.delete(listener);
  }

  addIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.add(listener);
    process.nextTick(() => this.#tell());
  }

  removeIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.delete(listener);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tell(): void {
    const { ca, cert, key } = this.#files.contents;
    for (const listener of this.#authorityListeners) {
      // Undefined: a client may present a certificate, which is not verified. Null would refuse every client.
      listener({ caCertificate: ca as Buffer });
    }
    for (const listener of this.#identityListeners) {
      listener(cert === undefined || key === undefined ? null : { certificate: cert, privateKey: key });
    }
  }
}

/** Return the credentials of a server, which follow their files, and the function that stops to follow them. */
function credentialsOf(tls: ServerTls | undefined, logger: Logger): [ServerCredentials, () => void] {
  if (tls === undefined) {
    return [ServerCredentials.createInsecure(), () => {}];
  }
  const { certFile, keyFile, clientCaFile } = tls;
  const provider = new PemProvider(new PemFiles({ caFile: clientCaFile, certFile, keyFile }, logger));
  const credentials = experimental.createCertificateProviderServerCredentials(
    provider,
    provider,
    clientCaFile !== undefined,
  );
  return [credentials, () => provider.stop()];
}

/** A Callback server of which each test is the script, for what a real one cannot be made to do. */

import { EventEmitter, once } from "node:events";
import { create, type DescService, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, Server, ServerCredentials, type ServerDuplexStream, type status } from "@grpc/grpc-js";
import {
  type ServerMessageSchema,
  type WorkerMessage,
  WorkerService,
  type WorkRequest,
  type WorkResponse,
  WorkResponseSchema,
} from "#gen/callback/v1/worker_service_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "#gen/google/rpc/status_pb.js";

type ToWorker = MessageInitShape<typeof ServerMessageSchema>["message"];
type FromWorker = WorkerMessage["message"];
type Kind = NonNullable<FromWorker["case"]>;
type Of<K extends Kind> = Extract<FromWorker, { case: K }>["value"];

/** A stream of a worker, as its server sees it. */
export class WorkerStream {
  /** How many messages each batch had. */
  readonly batches: number[] = [];
  readonly metadata: Metadata;
  readonly #stream: ServerDuplexStream<WorkRequest, WorkResponse>;
  readonly #received: FromWorker[] = [];
  readonly #news = new EventEmitter();

  constructor(stream: ServerDuplexStream<WorkRequest, WorkResponse>) {
    this.#stream = stream;
    this.metadata = stream.metadata;
    stream.on("data", (request: WorkRequest) => {
      this.batches.push(request.messages.length);
      this.#received.push(...request.messages.map(({ message }) => message));
      this.#news.emit("news");
    });
    stream.on("cancelled", () => this.#news.emit("cancelled"));
    stream.on("error", () => {});
  }

  /** Take the next message of a kind. Others stay. */
  async next<K extends Kind>(kind: K): Promise<Of<K>> {
    for (;;) {
      const index = this.#received.findIndex((each) => each.case === kind);
      if (index >= 0) {
        return this.#received.splice(index, 1)[0]?.value as Of<K>;
      }
      await once(this.#news, "news");
    }
  }

  /** Return how many messages of a kind have arrived and are not taken. */
  count(kind: Kind): number {
    return this.#received.filter((each) => each.case === kind).length;
  }

  /** Resolve when the worker has cancelled the stream. */
  async cancelled(): Promise<void> {
    if (!this.#stream.cancelled) {
      await once(this.#news, "cancelled");
    }
  }

  send(...messages: ToWorker[]): void {
    this.#stream.write(create(WorkResponseSchema, { messages: messages.map((message) => ({ message })) }));
  }

  welcome(): void {
    this.send({ case: "welcome", value: {} });
  }

  offer(...callIds: string[]): void {
    this.send(...callIds.map((callId): ToWorker => ({ case: "offer", value: { callId, callbackActivity: "act" } })));
  }

  /** Wait until the worker has handled all that was sent before: it declines a call without a handler at once. */
  async handled(): Promise<void> {
    this.send({ case: "offer", value: { callId: "none", callbackActivity: "no handler" } });
    const isNone = (each: FromWorker): boolean => each.case === "result" && each.value.callId === "none";
    while (!this.#received.some(isNone)) {
      await once(this.#news, "news");
    }
    this.#received.splice(this.#received.findIndex(isNone), 1);
  }

  confirm(callId: string): void {
    this.send({ case: "confirm", value: { callId } });
  }

  /** Offer a call, and confirm it once it is accepted. */
  async run(callId: string): Promise<void> {
    this.offer(callId);
    await this.next("accept");
    this.confirm(callId);
  }

  withdraw(callId: string): void {
    this.send({ case: "withdraw", value: { callId } });
  }

  /** End the stream as a server that has nothing more to send. */
  end(): void {
    this.#stream.end();
  }

  /** End the stream with an error. */
  fail(code: status, reason = ""): void {
    this.#stream.emit("error", refusalOf(code, reason));
  }
}

/** Return an error as gRPC sends it, with a reason and a pause as the server of Callback does. */
export function refusalOf(
  code: status,
  reason = "",
  retryAfterMs?: number,
): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  if (reason !== "") {
    const details = statusOf(code, reason, retryAfterMs);
    metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, details)));
  }
  return { code, details: "refused", metadata };
}

/** Return an error as a part of a message, with a reason and a pause. */
export function statusOf(code: status, reason: string, retryAfterMs?: number): Status {
  const info = create(ErrorInfoSchema, { domain: "callback", reason });
  const details = [anyPack(ErrorInfoSchema, info)];
  if (retryAfterMs !== undefined) {
    const retry = create(RetryInfoSchema, { retryDelay: durationFromMs(retryAfterMs) });
    details.push(anyPack(RetryInfoSchema, retry));
  }
  return create(StatusSchema, { code, message: "refused", details });
}

/** A server for workers. */
export class ScriptedServer implements AsyncDisposable {
  readonly target: string;
  readonly #server: Server;
  readonly #streams: WorkerStream[] = [];
  readonly #news = new EventEmitter();

  private constructor(server: Server, news: EventEmitter, streams: WorkerStream[], target: string) {
    this.#server = server;
    this.#news = news;
    this.#streams = streams;
    this.target = target;
  }

  static async start(): Promise<ScriptedServer> {
    const [server, news, streams] = [new Server(), new EventEmitter(), [] as WorkerStream[]];
    server.addService(definitionOf(WorkerService), {
      work: (stream: ServerDuplexStream<WorkRequest, WorkResponse>) => {
        streams.push(new WorkerStream(stream));
        news.emit("news");
      },
    });
    const bound = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, given) =>
        error === null ? resolve(given) : reject(error),
      );
    });
    return new ScriptedServer(server, news, streams, `127.0.0.1:${bound}`);
  }

  /** Take the next stream that a worker opens. */
  async stream(): Promise<WorkerStream> {
    for (;;) {
      const stream = this.#streams.shift();
      if (stream !== undefined) {
        return stream;
      }
      await once(this.#news, "news");
    }
  }

  /** Take the next stream, and welcome its worker. */
  async welcomed(): Promise<WorkerStream> {
    const stream = await this.stream();
    stream.welcome();
    return stream;
  }

  /** Break every connection, as a server that is killed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }
}

/** Return a service as gRPC takes it. */
export function definitionOf(service: DescService): Parameters<Server["addService"]>[0] {
  return Object.fromEntries(
    service.methods.map((method) => [
      method.localName,
      {
        path: `/${service.typeName}/${method.name}`,
        requestStream: method.methodKind === "bidi_streaming",
        responseStream: method.methodKind !== "unary",
        requestSerialize: (message: unknown) => Buffer.from(toBinary(method.input, message as never)),
        requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
        responseSerialize: (message: unknown) =>
          Buffer.from(toBinary(method.output, create(method.output, message as never))),
        responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
      },
    ]),
  );
}

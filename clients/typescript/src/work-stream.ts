/** A stream of a worker to a server, from Hello to its end. */

import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Client, type ClientDuplexStream, type Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { bufferOf, pathOf } from "./connection/channel.js";
import { answerTooLarge, type Execution, executionOf, logAnswerRefused, MAX_ANSWER_BYTES } from "./execution.js";
import type { HandleCallbackRequest } from "./gen/callback/v1/callback_handler_service_pb.js";
import {
  type Hello,
  type ServerMessage,
  type WorkerMessageSchema,
  WorkerService,
  WorkRequestSchema,
  type WorkResponse,
  WorkResponseSchema,
} from "./gen/callback/v1/worker_service_pb.js";
import type { Handlers } from "./handlers.js";
import type { Logger } from "./logger.js";
import type { Slots } from "./slots.js";

/** How long a server may take to welcome a worker, in milliseconds. The worker then tries another one. */
const WELCOME_TIMEOUT_MS = 10_000;
/** The largest number of messages in a batch. */
const MAX_BATCH_MESSAGES = 64;
/** The largest size of a batch, in bytes. A larger message is sent alone. */
const MAX_BATCH_BYTES = 256 * 1024;

type Message = MessageInitShape<typeof WorkerMessageSchema>["message"];
type Outcome = Extract<Message, { case: "result" }>["value"]["outcome"];

/** A call that the server offered. It ends with one Result. */
interface PendingCall {
  readonly request: HandleCallbackRequest;
  readonly execution: Execution;
  readonly withdrawal: AbortController;
  /** Sends Accept, once the call has a slot. */
  readonly accept: () => void;
  /** Waiting for a slot, accepted and waiting for Confirm, or running. */
  state: "waiting" | "accepted" | "running";
}

/** What a stream gets from its worker. */
export interface StreamOptions {
  readonly channel: Client;
  readonly metadata: Metadata;
  readonly hello: Hello;
  readonly handlers: Handlers;
  readonly slots: Slots;
  readonly logger: Logger;
  /** Called with what the server knows of its store, for the next server. */
  readonly keepStoreEpochs: (epochs: Uint8Array) => void;
}

/** A stream to a server. */
export class WorkStream {
  /** Resolves when the server has welcomed the worker, or the stream has ended. */
  readonly answered: Promise<void>;
  /** Resolves when the worker needs another stream: the server is draining, or the stream has ended. */
  readonly leaving: Promise<void>;
  /** Resolves when the stream has ended. */
  readonly ended: Promise<void>;
  /** Whether the server has welcomed the worker. */
  isWelcome = false;
  /** Whether `leaving` has resolved. */
  isLeaving = false;
  /** The activities whose calls this server does not send to workers. */
  unroutableActivities: readonly string[] = [];
  /** The gRPC error that ended the stream. Undefined if the server ended it regularly. */
  failure: ServiceError | undefined;

  readonly #options: StreamOptions;
  readonly #stream: ClientDuplexStream<Buffer, WorkResponse>;
  readonly #calls = new Map<string, PendingCall>();
  /** The messages to send, each as the bytes of a batch of one: batches are merged by joining their bytes. */
  #outgoing: Buffer[] = [];
  #isSending = false;
  #isStopping = false;
  #hasEnded = false;
  /** Why this side ended the stream. */
  #cancelled = "";
  #onAnswered!: () => void;
  #onLeaving!: () => void;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.answered = new Promise((resolve) => {
      this.#onAnswered = resolve;
    });
    this.leaving = new Promise((resolve) => {
      this.#onLeaving = () => {
        this.isLeaving = true;
        resolve();
      };
    });
    this.#stream = options.channel.makeBidiStreamRequest(
      pathOf(WorkerService.method.work),
      (batch: Buffer) => batch,
      (bytes) => fromBinary(WorkResponseSchema, bytes),
      options.metadata,
    );
    this.ended = this.#run();
    this.#send({ case: "hello", value: options.hello });
  }

  /** Request no more calls. Started calls continue; then the server ends the stream. */
  drain(): void {
    if (!this.isWelcome) {
      this.cancel("the worker has stopped");
      return;
    }
    this.#isStopping = true;
    for (const call of this.#calls.values()) {
      if (call.state === "waiting") {
        this.#decline(call);
      }
    }
    this.#send({ case: "drain", value: {} });
  }

  /** The number of calls whose handlers have not ended. */
  get runningCalls(): number {
    return [...this.#calls.values()].filter(({ state }) => state === "running").length;
  }

  /** End the stream now. Its calls are lost: the signals of their handlers abort with the reason. */
  cancel(reason: string): void {
    this.#cancelled = reason;
    this.#stream.cancel();
  }

  async #run(): Promise<void> {
    const late = setTimeout(() => {
      this.#options.logger.warn({ timeoutMs: WELCOME_TIMEOUT_MS }, "welcome_timed_out");
      this.cancel(`the server has sent no welcome for ${WELCOME_TIMEOUT_MS} ms`);
    }, WELCOME_TIMEOUT_MS);
    await new Promise<void>((resolve) => {
      this.#stream.on("data", (response: WorkResponse) => {
        if (this.#hasEnded) {
          return; // Node can hold messages back until after the status
        }
        clearTimeout(late);
        this.isWelcome = true;
        for (const message of response.messages) {
          this.#receive(message);
        }
        this.#onAnswered();
      });
      this.#stream.on("error", (failure: ServiceError) => {
        // gRPC says only that this side has cancelled the stream.
        const own = { code: status.UNAVAILABLE, details: this.#cancelled };
        this.failure = this.#cancelled === "" ? failure : Object.assign(failure, own);
      });
      // The last event of a stream, also after an error.
      this.#stream.on("status", () => resolve());
    });
    clearTimeout(late);
    this.#hasEnded = true;
    this.#outgoing = [];
    for (const call of this.#calls.values()) {
      this.#lose(call);
    }
    this.#options.channel.close();
    this.#onAnswered();
    this.#onLeaving();
  }

  #receive({ message }: ServerMessage): void {
    const { logger, keepStoreEpochs } = this.#options;
    switch (message.case) {
      case "welcome":
        this.unroutableActivities = message.value.unroutableActivities;
        keepStoreEpochs(message.value.storeEpochs);
        for (const notice of message.value.notices) {
          logger.warn({ notice }, "server_notice");
        }
        break;
      case "offer":
        this.#onOffer(message.value);
        break;
      case "confirm":
        this.#onConfirm(this.#calls.get(message.value.callId));
        break;
      case "withdraw":
        this.#onWithdraw(this.#calls.get(message.value.callId));
        break;
      case "drain":
        this.#onLeaving();
        break;
      case "storeEpochs":
        keepStoreEpochs(message.value);
        break;
      case "answerRefused":
        logAnswerRefused(message.value, logger);
        break;
      default: // a message of a later server
    }
  }

  #onOffer(request: HandleCallbackRequest): void {
    const { handlers, slots, logger } = this.#options;
    const execution = executionOf(request, handlers, logger);
    if (execution === undefined || this.#isStopping) {
      this.#sendResult(request.callId, { case: "declined", value: {} });
      return;
    }
    const call: PendingCall = {
      request,
      execution,
      withdrawal: new AbortController(),
      accept: () => {
        call.state = "accepted";
        this.#send({ case: "accept", value: { callId: request.callId } });
      },
      state: "waiting",
    };
    this.#calls.set(request.callId, call);
    slots.take(call.accept);
  }

  #onConfirm(call: PendingCall | undefined): void {
    if (call?.state === "accepted") {
      call.state = "running";
      void this.#handle(call);
    }
  }

  #onWithdraw(call: PendingCall | undefined): void {
    if (call?.state === "running") {
      call.withdrawal.abort(new Error("the server has withdrawn the call"));
    } else if (call !== undefined) {
      this.#decline(call);
    }
  }

  /** Run the handler, and send its result. The call occupies its slot until the handler has ended. */
  async #handle({ request, execution, withdrawal }: PendingCall): Promise<void> {
    const outcome = await execution(withdrawal.signal);
    this.#calls.delete(request.callId);
    this.#sendResult(
      request.callId,
      typeof outcome === "string" ? { case: "error", value: outcome } : { case: "response", value: outcome },
      (bytes) => ({ case: "error", value: answerTooLarge(request, bytes, this.#options.logger) }),
    );
    this.#options.slots.release();
  }

  /** End a call whose handler has not started. */
  #decline(call: PendingCall): void {
    this.#calls.delete(call.request.callId);
    this.#sendResult(call.request.callId, { case: "declined", value: {} });
    this.#leaveSlot(call);
  }

  /** End a call whose stream has ended: no server would accept its result. */
  #lose(call: PendingCall): void {
    if (call.state === "running") {
      call.withdrawal.abort(new Error(this.#cancelled || "the connection to the server was lost"));
    } else {
      this.#leaveSlot(call);
    }
  }

  #leaveSlot({ state, accept }: PendingCall): void {
    const { slots } = this.#options;
    if (state === "waiting") {
      slots.giveUp(accept);
    } else {
      slots.release();
    }
  }

  #sendResult(callId: string, outcome: Outcome, onTooLarge?: (bytes: number) => Outcome): void {
    const batch = batchOf({ case: "result", value: { callId, outcome } });
    if (onTooLarge !== undefined && batch.length > MAX_ANSWER_BYTES) {
      this.#sendResult(callId, onTooLarge(batch.length));
    } else {
      this.#sendBatch(batch);
    }
  }

  #send(message: Message): void {
    this.#sendBatch(batchOf(message));
  }

  /** Queue a message. All that is queued until the end of this turn of the event loop goes into few batches. */
  #sendBatch(batch: Buffer): void {
    if (this.#hasEnded) {
      return;
    }
    this.#outgoing.push(batch);
    if (!this.#isSending) {
      this.#isSending = true;
      setImmediate(() => this.#flush());
    }
  }

  #flush(): void {
    if (this.#outgoing.length === 0 || this.#hasEnded) {
      this.#isSending = false;
      return;
    }
    let [count, bytes] = [0, 0];
    for (const batch of this.#outgoing) {
      bytes += batch.length;
      if (count === MAX_BATCH_MESSAGES || (count > 0 && bytes > MAX_BATCH_BYTES)) {
        break;
      }
      count += 1;
    }
    const batches = this.#outgoing.splice(0, count);
    // gRPC calls back when the connection has taken the batch; meanwhile more messages gather.
    this.#stream.write(Buffer.concat(batches), () => this.#flush());
  }
}

/** Return the bytes of a batch with one message. */
function batchOf(message: Message): Buffer {
  return bufferOf(toBinary(WorkRequestSchema, create(WorkRequestSchema, { messages: [{ message }] })));
}

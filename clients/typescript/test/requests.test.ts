/** Requests with a server that a test controls: what is sent again, what is not, and what is sent with each request. */

import assert from "node:assert/strict";
import dns from "node:dns/promises";
import { EventEmitter, once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import {
  CallbackClient,
  CallbackError,
  type ClientOptions,
  DeadlineExceededError,
  type GeneratedCallback,
  IncomingCall,
  InvalidRequestError,
  NotFoundError,
  Query,
  Redirect,
  Reject,
  RequestIdUnsupportedError,
  Response,
  UnavailableError,
  WatchPositionLostError,
} from "@callback/client";
import * as v1 from "@callback/client/v1";
import {
  type Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
} from "@grpc/grpc-js";
import {
  CallbacksService,
  type GenerateCallbackUrlRequest,
  type GenerateCallbackUrlsRequest,
  type WatchCallsRequest,
} from "#gen/callback/v1/callbacks_service_pb.js";
import { Addresses } from "../src/connection/addresses.js";
import { checkTarget, isLocal } from "../src/connection/targets.js";
import { definitionOf, refusalOf, statusOf } from "./scripted-server.js";
import { Events, until } from "./support.js";

const CASE = "5f0c".repeat(8);
const MADE = { callbackUrl: "https://box.example/cb/s3cret", callbackState: "s3cret", callbackCaseId: CASE };

type Generate = ServerUnaryCall<GenerateCallbackUrlRequest, typeof MADE>;
type Batch = ServerUnaryCall<GenerateCallbackUrlsRequest, object>;
type Watch = ServerWritableStream<WatchCallsRequest, { events: unknown[]; resumeToken: string }>;

/** A server that keeps requests, and does with each what the next step of its script says. */
class Requests implements AsyncDisposable {
  readonly generated: GenerateCallbackUrlRequest[] = [];
  /** The request ids of each batch. */
  readonly batches: string[][] = [];
  /** What each batch gets: its results, or an error. */
  readonly replies: object[] = [];
  readonly metadata: Metadata[] = [];
  readonly script: (object | "hang")[] = [];
  /** How many requests for a callback there were, and its calls. */
  looks = 0;
  readonly calls: object[] = [];
  readonly events = new Events();
  readonly client: CallbackClient;
  readonly port: number;
  readonly #server: Server;
  readonly #watches: Watch[] = [];
  readonly #taken: Watch[] = [];
  readonly #news = new EventEmitter();

  private constructor(server: Server, port: number, options: ClientOptions) {
    this.#server = server;
    this.port = port;
    this.client = new CallbackClient({ target: `127.0.0.1:${port}`, logger: this.events, ...options });
  }

  static async start(options: ClientOptions = {}, address = "127.0.0.1:0"): Promise<Requests> {
    const server = new Server();
    let requests!: Requests;
    server.addService(definitionOf(CallbacksService), {
      generateCallbackUrl: (call: Generate, done: (error: object | null, reply?: typeof MADE) => void) => {
        requests.generated.push(call.request);
        requests.metadata.push(call.metadata);
        const next = requests.script.shift();
        requests.#news.emit("news");
        if (next !== "hang") {
          done(next ?? null, MADE);
        }
      },
      generateCallbackUrls: (call: Batch, done: (error: object | null, reply?: object) => void) => {
        requests.batches.push(call.request.requests.map(({ requestId }) => requestId));
        const next = requests.replies.shift();
        if (Array.isArray(next)) {
          done(null, { results: next });
        } else {
          done(next ?? null);
        }
      },
      getCallback: (_: unknown, done: (error: null, reply: object) => void) => {
        requests.looks += 1;
        done(null, { callback: { callbackCaseId: CASE, callCount: BigInt(requests.calls.length) } });
      },
      listCalls: (_: unknown, done: (error: null, reply: object) => void) => done(null, { calls: requests.calls }),
      getCall: (_: unknown, done: (error: null, reply: object) => void) => done(null, { call: requests.calls[0] }),
      watchCalls: (call: Watch) => {
        requests.#watches.push(call);
        requests.#news.emit("news");
      },
    });
    const port = await new Promise<number>((resolve) => {
      server.bindAsync(address, ServerCredentials.createInsecure(), (_, bound) => resolve(bound));
    });
    requests = new Requests(server, port, options);
    return requests;
  }

  /** Take the next watch. */
  async watch(): Promise<Watch> {
    while (this.#watches.length === 0) {
      await once(this.#news, "news");
    }
    const watch = this.#watches.shift() as Watch;
    this.#taken.push(watch);
    return watch;
  }

  /** End each watch that was taken with an error. */
  endWatches(error: object): void {
    for (const watch of this.#taken) {
      watch.emit("error", error);
    }
  }

  /** Resolve when a request arrives. */
  async arrival(): Promise<void> {
    await once(this.#news, "news");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    this.#server.forceShutdown();
  }
}

describe("a batch", () => {
  const made = { result: { case: "generated", value: MADE } };
  const problem = (code: status, reason: string): object => ({
    result: { case: "problem", value: statusOf(code, reason) },
  });
  const noStore = problem(status.UNAVAILABLE, "STORE_UNAVAILABLE");
  const noIds = problem(status.FAILED_PRECONDITION, "REQUEST_ID_UNSUPPORTED");
  const one = { activity: "record", response: new Response("x") };

  /** Return the id of each case that was made, and the class of each error. */
  const outcomes = (results: (GeneratedCallback | CallbackError)[]): unknown[] =>
    results.map((each) => (each instanceof CallbackError ? each.constructor : each.caseId));

  test("is sent again without the callbacks that have their results", async () => {
    await using server = await Requests.start();
    const bad = problem(status.INVALID_ARGUMENT, "INVALID_REQUEST");
    server.replies.push(refusalOf(status.UNAVAILABLE, "STORE_UNAVAILABLE"));
    server.replies.push([made, noStore, bad, noStore], [noStore, made], [made]);
    const results = await server.client.generateCallbackUrls([one, one, one, one]);
    assert.deepEqual(outcomes(results), [CASE, CASE, InvalidRequestError, CASE]);
    const [first = [], again, third, last] = server.batches;
    assert.equal(new Set([...first, ""]).size, 5);
    assert.deepEqual([again, third, last], [first, [first[1], first[3]], [first[1]]]);
  });

  test("is sent without the client's own request ids to a server that has none", async () => {
    await using server = await Requests.start();
    server.replies.push([noIds, noIds], [made]);
    const results = await server.client.generateCallbackUrls([{ ...one, requestId: "order 5" }, one]);
    assert.deepEqual(outcomes(results), [RequestIdUnsupportedError, CASE]);
    assert.deepEqual(server.batches[1], [""]);
  });

  test("keeps the URLs that it has if the rest fails, and sends no callback without an id twice", async () => {
    await using server = await Requests.start();
    server.replies.push([made, noIds], refusalOf(status.UNAVAILABLE));
    const results = await server.client.generateCallbackUrls([one, one]);
    assert.deepEqual(outcomes(results), [CASE, UnavailableError]);
    assert.equal(server.batches.length, 2);
  });

  test("is sent once by a client without retries", async () => {
    await using server = await Requests.start({ retry: false });
    server.replies.push([made, noStore], refusalOf(status.UNAVAILABLE));
    const results = await server.client.generateCallbackUrls([one, { ...one, requestId: "order 5" }]);
    assert.deepEqual(outcomes(results), [CASE, UnavailableError]);
    assert.deepEqual(server.batches, [["", "order 5"]]);
    await assert.rejects(server.client.generateCallbackUrls([one]), UnavailableError);
  });
});

describe("a request", () => {
  test("is sent once after a refusal, and without retries", async () => {
    await using server = await Requests.start({ retry: false });
    server.script.push(refusalOf(status.INTERNAL, "INTERNAL"), refusalOf(status.UNAVAILABLE));
    const refused = server.client.generateCallbackUrl("record", new Response("x"));
    await assert.rejects(refused, (error) => error instanceof CallbackError && error.reason === "INTERNAL");
    await assert.rejects(server.client.generateCallbackUrl("record", new Response("x")), UnavailableError);
    assert.deepEqual(
      server.generated.map(({ requestId }) => requestId),
      ["", ""],
    );
  });

  test("is sent without a request id to a server that has none, unless the program gave one", async () => {
    await using server = await Requests.start();
    const refusal = refusalOf(status.FAILED_PRECONDITION, "REQUEST_ID_UNSUPPORTED");
    server.script.push(refusal);
    await server.client.generateCallbackUrl("record", new Response("x"));
    assert.deepEqual([server.generated.length, server.generated[1]?.requestId], [2, ""]);
    server.script.push(refusal);
    const given = server.client.generateCallbackUrl("record", new Response("x"), { requestId: "order 5" });
    await assert.rejects(given, RequestIdUnsupportedError);
  });

  test("ends at its timeout, at the abort of its signal, and when its client is closed", async () => {
    await using server = await Requests.start();
    server.script.push("hang", "hang", "hang");
    const late = server.client.generateCallbackUrl("record", new Response("x"), { timeoutMs: 50 });
    await assert.rejects(late, DeadlineExceededError);
    const abort = new AbortController();
    const arrival = server.arrival();
    const options = { signal: abort.signal, timeoutMs: 3_600_000 };
    const aborted = server.client.generateCallbackUrl("record", new Response("x"), options);
    const rejected = assert.rejects(aborted, /enough/);
    await arrival;
    abort.abort(new Error("enough"));
    await rejected;
    const second = server.arrival();
    const closed = server.client.generateCallbackUrl("record", new Response("x"), { timeoutMs: 3_600_000 });
    const ended = assert.rejects(closed, (error) => error instanceof CallbackError && error.code === "CANCELLED");
    await second;
    server.client.close();
    await ended;
    await assert.rejects(server.client.getCallback(CASE), /closed/);
  });

  test("carries the token, which is read again from its file, and the trace context", async () => {
    const folder = await mkdtemp(join(tmpdir(), "callback-test-"));
    const tokenFile = join(folder, "token");
    await writeFile(tokenFile, "first");
    const traceContext = { traceparent: "00-1-2-01" };
    await using server = await Requests.start({ tokenFile, traceContext: () => traceContext });
    await server.client.generateCallbackUrl("record", new Response("x"));
    await writeFile(tokenFile, "second");
    await server.client.generateCallbackUrl("record", new Response("x"));
    const sent = server.metadata.map((each) => [each.get("authorization")[0], each.get("traceparent")[0]]);
    assert.deepEqual(sent, [
      ["Bearer first", "00-1-2-01"],
      ["Bearer second", "00-1-2-01"],
    ]);
    await rm(folder, { recursive: true });
  });

  test("of a wait for a call is not sent while nothing happens, and the wait goes on when its watch ends", async () => {
    await using server = await Requests.start();
    const waiting = server.client.waitForCall(CASE, { timeoutMs: 120_000 });
    const late = server.client.waitForCall(CASE, { timeoutMs: 1_500 });
    for (let watches = 0; watches < 2; watches += 1) {
      (await server.watch()).write({ events: [], resumeToken: "start" });
    }
    await assert.rejects(late, /ended within 1500 ms/);
    assert(server.looks <= 5, String(server.looks)); // each wait before its watch and after its start, and one at the end
    server.endWatches(refusalOf(status.UNAVAILABLE));
    (await server.watch()).emit("error", refusalOf(status.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHERS"));
    const begun = await server.watch();
    begun.write({ events: [], resumeToken: "start" });
    server.calls.push({ callId: "1", attempt: 1n, status: 2, startTime: { seconds: 1n }, endTime: { seconds: 2n } });
    begun.write({ events: [{ callId: "1" }], resumeToken: "next" });
    assert.equal((await waiting).callId, "1");
  });

  test("of a wait for a call may fail, but the wait outlasts a server that is away", async () => {
    const away = { target: "127.0.0.1:1", timeoutMs: 10 };
    const [client, once] = [new CallbackClient(away), new CallbackClient({ ...away, timeoutMs: 60_000, retry: false })];
    await assert.rejects(
      client.waitForCall("5f0c", { timeoutMs: 300 }),
      /no call of the callback 5f0c ended within 300 ms/,
    );
    await assert.rejects(once.waitForCall("5f0c", { timeoutMs: 60_000 }), UnavailableError);
    client.close();
    once.close();
  });

  test("to a port of HTTP/1.1 fails with advice", async () => {
    const web = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end("HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n"));
    }).listen(0, "127.0.0.1");
    await once(web, "listening");
    const client = new CallbackClient({ target: `127.0.0.1:${(web.address() as AddressInfo).port}`, retry: false });
    await assert.rejects(client.getCallback("5f0c"), /Protocol error.*: use the gRPC port of the server\)/);
    client.close();
    web.close();
  });

  test("says that there is no server, and names the target", async () => {
    const client = new CallbackClient({ target: "127.0.0.1:1", retry: false, logger: new Events() });
    await assert.rejects(client.getCallback(CASE), (error) => {
      assert(error instanceof UnavailableError);
      assert.match(error.message, /^UNAVAILABLE: cannot reach 127\.0\.0\.1:1: connect ECONNREFUSED 127\.0\.0\.1:1$/);
      return true;
    });
    // gRPC waits before it connects again, also for another client of the process, and does not say why.
    const another = new CallbackClient({ target: "127.0.0.1:1", retry: false, logger: new Events() });
    await assert.rejects(
      another.getCallback(CASE),
      /: (connect ECONNREFUSED 127\.0\.0\.1:1|a connection has just failed)$/,
    );
    another.close();
    client.close();
    for (const [options, problem] of [
      [{ target: "callback" }, /has no port/],
      [{ token: "a", tokenFile: "b" }, /exclude each other/],
      [{ tls: { certFile: "a" } }, /must be given together/],
    ] as const) {
      assert.throws(() => new CallbackClient(options), problem);
    }
  });
});

describe("a target with several servers", () => {
  test("is the first one that can be reached, and the next one after it is lost", async () => {
    await using second = await Requests.start();
    const first = await Requests.start();
    const target = `localhost:${first.port},no-such-host.invalid:1,127.0.0.1:${second.port}`;
    // gRPC tries the next server, too, if a connection takes 250 ms, as on a busy machine.
    const client = await until(async () => {
      const tried = new CallbackClient({ target, logger: new Events() });
      await tried.generateCallbackUrl("record", new Response("x"));
      if (first.generated.length === 1) {
        return tried;
      }
      tried.close();
      return undefined;
    });
    const before = second.generated.length;
    await first[Symbol.asyncDispose]();
    await client.generateCallbackUrl("record", new Response("x"));
    assert.equal(second.generated.length, before + 1);
    client.close();
  });

  for (const [target, taken] of [
    ["127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2"],
    ["[::1]:1,[::2]:2", "ipv6:[::1]:1,[::2]:2"],
    ["127.0.0.1:1,[::1]:2", "ipv6:[::ffff:127.0.0.1]:1,[::1]:2"],
    ["no-such-host.invalid:1,127.0.0.1:2", "ipv4:127.0.0.1:2"],
    ["no-such-host.invalid:1,neither.invalid:2", "dns:///no-such-host.invalid:1"],
    ["no-such-host.invalid:1", "no-such-host.invalid:1"],
    ["127.0.0.1:1", "127.0.0.1:1"],
    ["ipv4:127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2"],
    ["unix:/run/a,b.sock", "unix:/run/a,b.sock"],
  ] as const) {
    test(`as ${target} is ${taken} for gRPC`, async () => {
      checkTarget(target, undefined);
      assert.equal(await new Addresses(target).current(), taken);
    });
  }

  test("is followed to the new addresses of its names", async () => {
    const names = new Map([
      ["one.test", "127.0.0.2"],
      ["two.test", "127.0.0.3"],
    ]);
    const usual = dns.lookup;
    const lookup = async (name: string, options: object): Promise<unknown> => {
      const address = names.get(name);
      return address === undefined ? usual(name, options) : [{ address, family: 4 }];
    };
    Object.assign(dns, { lookup });
    syncBuiltinESMExports();
    try {
      await using first = await Requests.start({}, "127.0.0.2:0");
      await using second = await Requests.start({}, `127.0.0.4:${first.port}`);
      for (const target of [`one.test:${first.port},two.test:${first.port}`, `one.test:${first.port}`]) {
        names.set("one.test", "127.0.0.2").set("two.test", "127.0.0.3");
        using client = new CallbackClient({ target, logger: new Events() });
        const [had, before] = [first.generated.length, second.generated.length];
        await client.generateCallbackUrl("record", new Response("x"));
        assert.equal(first.generated.length, had + 1);
        names.set("one.test", "127.0.0.4").set("two.test", "127.0.0.4");
        await until(async () => {
          await client.generateCallbackUrl("record", new Response("x"));
          return second.generated.length > before;
        });
      }
    } finally {
      Object.assign(dns, { lookup: usual });
      syncBuiltinESMExports();
    }
  });

  test("needs the name in the certificates of all for TLS, and a port for each", () => {
    const target = "a:1,b:1";
    assert.throws(() => new CallbackClient({ target, tls: {} }), /several servers, so tls needs the serverName of all/);
    new CallbackClient({ target, tls: { serverName: "callback.example" } }).close();
    assert.throws(() => new CallbackClient({ target: "a:1,b" }), /has no port/);
    assert.deepEqual([isLocal("localhost:1,127.0.0.1:2"), isLocal("localhost:1,callback:2")], [true, false]);
  });
});

describe("a watch whose stream breaks", () => {
  test("continues from its position, also much later than its timeout", async (t) => {
    await using server = await Requests.start();
    const opening = server.client.watchCalls();
    const first = await server.watch();
    first.write({ events: [], resumeToken: "at start" });
    const watch = await opening;
    first.write({ events: [{ callbackCaseId: CASE, resumeToken: "one" }], resumeToken: "one" });
    assert.equal((await watch.next()).value?.caseId, CASE);
    const next = watch.next();
    const now = performance.now.bind(performance);
    t.mock.method(performance, "now", () => now() + 3_600_000); // the timeout is that of a reconnection
    first.emit("error", refusalOf(status.UNAVAILABLE));
    const second = await server.watch();
    assert.equal(second.request.resumeToken, "one");
    second.emit("error", refusalOf(status.RESOURCE_EXHAUSTED, "WATCHER_TOO_SLOW"));
    const third = await server.watch();
    third.write({ events: [], resumeToken: "two" });
    third.write({ events: [{ callbackCaseId: CASE, resumeToken: "three" }], resumeToken: "three" });
    assert.equal((await next).value?.resumeToken, "three");
    assert.equal(watch.resumeToken, "three");
    const lost = watch.next();
    third.emit("error", refusalOf(status.OUT_OF_RANGE, "WATCH_POSITION_LOST"));
    await assert.rejects(lost, WatchPositionLostError);
  });

  test("gives concurrent requests for events one event each, in their order", async () => {
    await using server = await Requests.start();
    const opening = server.client.watchCalls();
    const stream = await server.watch();
    stream.write({ events: [], resumeToken: "at start" });
    const watch = await opening;
    const taken = Promise.all([watch.next(), watch.next(), watch.next()]);
    stream.write({ events: [{ resumeToken: "1" }, { resumeToken: "2" }], resumeToken: "2" });
    stream.write({ events: [{ resumeToken: "3" }], resumeToken: "3" });
    assert.deepEqual(
      (await taken).map(({ value }) => value?.resumeToken),
      ["1", "2", "3"],
    );
    assert.equal(watch.resumeToken, "3");
    const ended = Promise.all([watch.next(), watch.receive()]);
    watch.close();
    assert.deepEqual(await ended, [{ done: true, value: undefined }, []]);
  });

  test("waits as long as the server says before it connects again", async () => {
    await using server = await Requests.start();
    const opening = server.client.watchCalls({ timeoutMs: 10_000 });
    const stream = await server.watch();
    stream.write({ events: [], resumeToken: "at start" });
    const watch = await opening;
    const lost = watch.next();
    // Longer than the timeout: it is given up at once, and not tried before.
    stream.emit("error", refusalOf(status.UNAVAILABLE, "SERVER_STOPPING", 60_000));
    const another = server.watch().then(() => assert.fail("it did not wait"));
    await assert.rejects(Promise.race([lost, another]), UnavailableError);
  });

  test("ends when its client is closed", async () => {
    await using server = await Requests.start();
    const opening = server.client.watchCalls();
    (await server.watch()).write({ events: [], resumeToken: "t" });
    const ended = assert.rejects((await opening).next(), /closed/);
    server.client.close();
    await ended;
  });
});

describe("an error", () => {
  test("has the name of its class, also where a bundler has shortened that", () => {
    const Short = class a extends NotFoundError {};
    const attributes = { code: "NOT_FOUND" } as const;
    assert.equal(`${new Short("none", attributes)}`, "NotFoundError: NOT_FOUND: none");
    const late = new DeadlineExceededError("late", attributes);
    assert.equal(`${late}`, "DeadlineExceededError: NOT_FOUND: late");
    assert(late instanceof UnavailableError);
  });
});

describe("a query", () => {
  test("is made of what URLSearchParams has, and of an object", () => {
    const query = new Query(new URLSearchParams("a=1&A=2&a=3"));
    assert.deepEqual([query.get("a"), query.getAll("A"), query.has("b")], ["1", ["2"], false]);
    assert.deepEqual(new Query({ a: ["1", "2"] }).asJson(), { a: ["1", "2"] });
  });
});

describe("the stubs of the contract", () => {
  test("are public, and those of the client", () => {
    assert.equal(v1.CallbacksService, CallbacksService);
    assert.equal(v1.OperationsService.typeName, "callback.v1.OperationsService");
    assert.equal(create(v1.GetCallRequestSchema, { callId: "c" }).callId, "c");
  });
});

describe("a body", () => {
  test("that is not JSON is a rejection of its call with a 400", () => {
    const call = (body: string) => new IncomingCall({ activity: "act", body: Buffer.from(body) });
    assert.deepEqual(call('{"id": 5}').json(), { id: 5 });
    for (const body of ["", "id=5", "{"]) {
      assert.throws(
        () => call(body).json(),
        (error) =>
          error instanceof Reject &&
          error.cause instanceof SyntaxError &&
          error.response?.code === 400 &&
          Buffer.from(error.response.body ?? []).toString() === "the body is not JSON",
      );
    }
  });
});

describe("a response", () => {
  test("has the type of its class, and rejects values of other types", () => {
    assert.equal(new Redirect("/x").type, "REDIRECT");
    assert.equal(new Response(undefined, { type: "CASE" }).type, undefined);
    assert.equal(Response.html("<p>").headers?.get("content-type"), "text/html; charset=utf-8");
    for (const wrong of [
      () => new Response(1 as never),
      () => new Response("", { code: "200" as never }),
      () => Response.json(undefined),
    ]) {
      assert.throws(wrong, TypeError);
    }
  });
});

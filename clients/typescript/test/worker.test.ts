/** The conversation of a worker with a server: what it runs, when, and what a loss of the connection does. */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import {
  type Handler,
  Handlers,
  PermissionDeniedError,
  Reject,
  Response,
  type RunningWorker,
  Worker,
  type WorkerOptions,
} from "@callback/client";
import { status } from "@grpc/grpc-js";
import { Verdict } from "#gen/callback/v1/callback_handler_service_pb.js";
import { ScriptedServer, type WorkerStream } from "./scripted-server.js";
import { Deferred, Events, until, untilAborted } from "./support.js";

interface Working extends AsyncDisposable {
  readonly server: ScriptedServer;
  readonly stream: WorkerStream;
  readonly worker: RunningWorker;
  readonly events: Events;
}

/** Run a worker whose only activity is "act", connected to a scripted server. */
async function working(handler: Handler, options: WorkerOptions = {}): Promise<Working> {
  const [server, events] = [await ScriptedServer.start(), new Events()];
  const starting = new Worker(new Handlers().activity("act", handler), {
    target: server.target,
    logger: events,
    ...options,
  }).start();
  const [stream, worker] = await Promise.all([server.welcomed(), starting]);
  await worker.connected();
  const dispose = async (): Promise<void> => {
    await server[Symbol.asyncDispose]();
    await worker.stop();
  };
  return { server, stream, worker, events, [Symbol.asyncDispose]: dispose };
}

describe("a worker", () => {
  test("announces its activities, its slots and its name", async () => {
    await using server = await ScriptedServer.start();
    const handlers = new Handlers().activity("act", () => {}).notification("told", () => {});
    const options = { target: server.target, maxCalls: 7, name: "w1", logger: new Events() };
    const starting = new Worker(handlers, options).start();
    const stream = await server.welcomed();
    const hello = await stream.next("hello");
    assert.deepEqual(hello.callbackActivities, ["act"]);
    assert.deepEqual(hello.notificationActivities, ["told"]);
    assert.deepEqual([hello.maxCalls, hello.name, hello.maxMessageBytes], [7, "w1", 2 ** 24]);
    const running = await starting;
    await running.connected();
    const stopping = running.stop();
    await stream.next("drain");
    stream.end();
    await stopping;
  });

  test("accepts no more calls than it has slots, and the next one when a slot is free", async () => {
    const ends = [new Deferred(), new Deferred()];
    const started: string[] = [];
    const handler: Handler = ({ callId }) => {
      started.push(callId);
      return ends[Number(callId)]?.promise;
    };
    await using up = await working(handler, { maxCalls: 1 });
    up.stream.offer("0", "1");
    assert.equal((await up.stream.next("accept")).callId, "0");
    up.stream.confirm("0");
    up.stream.confirm("1"); // a server never does: the call that waits for a slot does not run
    await up.stream.handled();
    assert.equal(up.stream.count("accept"), 0);
    assert.deepEqual(started, ["0"]);
    ends[0]?.resolve();
    assert.equal((await up.stream.next("result")).callId, "0");
    assert.equal((await up.stream.next("accept")).callId, "1");
    up.stream.confirm("1");
    ends[1]?.resolve();
    assert.equal((await up.stream.next("result")).callId, "1");
  });

  test("declines a call that is withdrawn before its handler runs, and frees the slot", async () => {
    await using up = await working(() => assert.fail("it ran"), { maxCalls: 1 });
    up.stream.offer("accepted", "waiting");
    await up.stream.next("accept");
    up.stream.withdraw("waiting");
    assert.deepEqual(await endOf(up.stream), ["waiting", "declined"]);
    up.stream.withdraw("accepted");
    up.stream.confirm("accepted"); // a call that was declined does not run
    assert.deepEqual(await endOf(up.stream), ["accepted", "declined"]);
    up.stream.offer("next");
    assert.equal((await up.stream.next("accept")).callId, "next");
  });

  test("aborts the signal of a handler when its call is withdrawn, and keeps the slot until it has ended", async () => {
    const [running, ended, aborted] = [new Deferred(), new Deferred(), new Deferred<unknown>()];
    const handler: Handler = async (call, { signal }) => {
      if (call.callId === "slow") {
        signal.addEventListener("abort", () => aborted.resolve(signal.reason));
        running.resolve();
        await ended.promise;
      }
    };
    await using up = await working(handler, { maxCalls: 1 });
    await up.stream.run("slow");
    await running.promise;
    up.stream.withdraw("slow");
    assert.match(String(await aborted.promise), /withdrawn/);
    up.stream.offer("next");
    await up.stream.handled();
    assert.equal(up.stream.count("accept") + up.stream.count("result"), 0);
    ended.resolve();
    assert.deepEqual(await endOf(up.stream), ["slow", "response"]);
    assert.equal((await up.stream.next("accept")).callId, "next");
  });

  test("sends the class and the message of the error of its handler to a server that records errors", async () => {
    await using up = await working(() => {
      throw new TypeError(`no order ${"7".repeat(500)}`);
    });
    up.stream.send({ case: "offer", value: { callId: "c", callbackActivity: "act", reportError: true } });
    await up.stream.next("accept");
    up.stream.confirm("c");
    const { outcome } = await up.stream.next("result");
    assert.deepEqual(outcome, { case: "error", value: `TypeError: no order ${"7".repeat(380)}` });
  });

  test("sends a sentence without the error if its handler fails, and logs the error", async () => {
    await using up = await working(() => {
      throw new Error("the password is 1234");
    });
    await up.stream.run("c");
    const { outcome } = await up.stream.next("result");
    assert.deepEqual(outcome, { case: "error", value: "the handler failed" });
    const logged = await up.events.of("handler_failed");
    assert.deepEqual([logged["callId"], String(logged["error"])], ["c", "Error: the password is 1234"]);
  });

  test("sends a thrown Reject as the verdict, and fails a call whose handler returns something else", async () => {
    await using up = await working((call) => {
      if (call.callId === "rejected") {
        throw new Reject(Response.json({ error: "no trxid" }, { code: 400 }));
      }
      return (call.callId === "returned" ? new Reject() : "text") as never;
    });
    for (const callId of ["rejected", "returned", "wrong"]) {
      await up.stream.run(callId);
    }
    const { outcome } = await up.stream.next("result");
    assert(outcome.case === "response");
    assert.equal(outcome.value.verdict, Verdict.REJECTED);
    assert.equal(outcome.value.response?.responseCode, 400);
    assert.deepEqual(
      [await endOf(up.stream), await endOf(up.stream)],
      [
        ["returned", "error"],
        ["wrong", "error"],
      ],
    );
  });

  test("fails a call whose handler throws what JSON cannot represent, or sets a code that is no whole number", async () => {
    const circular: { self?: unknown } = {};
    circular.self = circular;
    const handler: Handler = (call) => {
      if (call.callId === "circular") {
        throw circular;
      }
      return new Response("x", { code: 200.5 });
    };
    await using up = await working(handler, { maxCalls: 1, logger: undefined });
    for (const callId of ["circular", "code"]) {
      await up.stream.run(callId);
      assert.deepEqual(await endOf(up.stream), [callId, "error"]);
    }
  });

  test("sends what is ready in batches of at most 64 messages", async () => {
    await using up = await working(() => {}, { maxCalls: 200 });
    const callIds = Array.from({ length: 200 }, (_, index) => `c${index}`);
    up.stream.offer(...callIds);
    for (const callId of callIds) {
      assert.equal((await up.stream.next("accept")).callId, callId);
    }
    assert(Math.max(...up.stream.batches) <= 64);
    assert(up.stream.batches.length < 20, `batches: ${up.stream.batches}`);
  });

  test("that stops declines waiting calls, finishes running ones, and disconnects when the server ends the stream", async () => {
    const [running, end] = [new Deferred(), new Deferred()];
    await using up = await working(
      async () => {
        running.resolve();
        await end.promise;
      },
      { maxCalls: 1 },
    );
    up.stream.offer("running", "waiting");
    await up.stream.next("accept");
    up.stream.confirm("running");
    await running.promise;
    const stopping = up.worker.stop();
    await up.stream.next("drain");
    assert.deepEqual(await endOf(up.stream), ["waiting", "declined"]);
    up.stream.offer("crossed the drain");
    assert.deepEqual(await endOf(up.stream), ["crossed the drain", "declined"]);
    end.resolve();
    assert.deepEqual(await endOf(up.stream), ["running", "response"]);
    up.stream.end();
    await stopping;
  });

  test("that stops aborts the signals of calls that outlast its grace", async () => {
    const [running, aborted] = [new Deferred(), new Deferred<unknown>()];
    const handler: Handler = async (_, { signal }) => {
      running.resolve();
      await untilAborted(signal).catch(aborted.resolve);
    };
    await using up = await working(handler, { graceMs: 1 });
    await up.stream.run("c");
    await running.promise;
    await up.worker.stop();
    await up.stream.cancelled();
    assert.match(String(await aborted.promise), /the worker has stopped, and its grace of 1 ms has ended/);
    assert.deepEqual(await up.events.of("grace_exceeded"), { graceMs: 1, calls: 1 });
  });

  for (const graceMs of [0, 1]) {
    test(`that stops without calls with a grace of ${graceMs} ms waits for its server, and reports no calls`, async () => {
      const [end, stop, log] = [new Deferred(), new AbortController(), new Events()];
      await using server = await ScriptedServer.start();
      const handlers = new Handlers().activity("act", () => end.promise);
      const ended = new Worker(handlers, { target: server.target, graceMs, logger: log }).run({ signal: stop.signal });
      const stream = await server.welcomed();
      await stream.run("c");
      await stream.handled();
      end.resolve();
      assert.deepEqual(await endOf(stream), ["c", "response"]);
      stop.abort();
      await stream.next("drain");
      await new Promise((resolve) => setTimeout(resolve, 10)); // longer than the grace
      stream.end();
      await ended;
      assert.deepEqual(
        log.all.map(({ event }) => event).filter((event) => event.startsWith("grace")),
        [],
      );
    });
  }

  test("that stops without calls does not wait for a server that never ends its stream", async (t) => {
    await using up = await working(() => {}, { graceMs: 0 });
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const stopping = up.worker.stop();
    t.mock.timers.tick(0);
    t.mock.timers.tick(2_000);
    await up.stream.cancelled();
    await stopping;
    assert.equal(
      up.events.all.some(({ event }) => event.startsWith("grace")),
      false,
    );
  });

  test("that runs already is not started a second time, and can be started again after its stop", async () => {
    await using server = await ScriptedServer.start();
    const worker = new Worker(
      new Handlers().activity("act", () => {}),
      { target: server.target, logger: new Events() },
    );
    for (const _ of ["first", "again"]) {
      const starting = worker.start();
      await assert.rejects(worker.start(), /runs already: stop it first, or create another Worker/);
      const stream = await server.welcomed();
      const running = await starting;
      await running.connected();
      await assert.rejects(worker.run(), /runs already/);
      const stopping = running.stop();
      await stream.next("drain");
      stream.end();
      await stopping;
    }
  });

  test("that runs as the job of a program fails if calls outlast its grace", async () => {
    await using server = await ScriptedServer.start();
    const [running, stop] = [new Deferred(), new AbortController()];
    const handlers = new Handlers().activity("act", async (_, { signal }) => {
      running.resolve();
      await untilAborted(signal);
    });
    const options = { target: server.target, graceMs: 1, logger: new Events() };
    const ended = assert.rejects(
      new Worker(handlers, options).run({ signal: stop.signal }),
      /the grace of the worker, 1 ms, ended before one call did/,
    );
    const stream = await server.welcomed();
    await stream.run("c");
    await running.promise;
    stop.abort();
    await ended;
  });

  test("that stops with an infinite grace waits for running calls", async () => {
    const [running, end, signals] = [new Deferred(), new Deferred(), [] as AbortSignal[]];
    const handler: Handler = async (_, { signal }) => {
      signals.push(signal);
      running.resolve();
      await end.promise;
    };
    await using up = await working(handler, { graceMs: Number.POSITIVE_INFINITY });
    await up.stream.run("c");
    await running.promise;
    const stopping = up.worker.stop();
    await up.stream.next("drain");
    await new Promise((resolve) => setTimeout(resolve, 50)); // a timer that overflows ends after 1 ms
    end.resolve();
    assert.deepEqual(await endOf(up.stream), ["c", "response"]);
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [false],
    );
    up.stream.end();
    await stopping;
  });

  test("keeps its last token while the file of the token is unusable", async () => {
    const folder = await mkdtemp(join(tmpdir(), "callback-test-"));
    const tokenFile = join(folder, "token");
    await writeFile(tokenFile, "first\n");
    await using up = await working(() => {}, { tokenFile });
    await writeFile(tokenFile, "");
    up.stream.fail(status.UNAVAILABLE);
    const second = await up.server.welcomed();
    assert.deepEqual(second.metadata.get("authorization"), ["Bearer first"]);
    assert.equal((await up.events.of("token_file_unusable"))["action"], "keep_last_token");
    await rm(folder, { recursive: true });
  });

  test("takes a new token from its file, and finishes its calls on the old stream", async () => {
    const folder = await mkdtemp(join(tmpdir(), "callback-test-"));
    const tokenFile = join(folder, "token");
    await writeFile(tokenFile, "first");
    const end = new Deferred();
    await using up = await working(() => end.promise, { tokenFile });
    await up.stream.run("1");
    await writeFile(tokenFile, "second");
    (await up.server.stream()).fail(status.UNAUTHENTICATED); // the server does not know it yet
    await up.stream.run("2");
    assert.equal(up.stream.count("drain"), 0);
    const second = await up.server.welcomed();
    assert.deepEqual(second.metadata.get("authorization"), ["Bearer second"]);
    await up.stream.next("drain");
    end.resolve();
    const results = [await up.stream.next("result"), await up.stream.next("result")];
    assert.deepEqual(
      results.map((each) => each.outcome.case),
      ["response", "response"],
    );
    await up.events.of("files_changed");
    await rm(folder, { recursive: true });
  });

  test("fails with the reason if the first server refuses it", async () => {
    await using server = await ScriptedServer.start();
    const worker = new Worker(
      new Handlers().activity("act", () => {}),
      { target: server.target, logger: new Events() },
    );
    const [code, reason] = [status.PERMISSION_DENIED, "ACTIVITY_NOT_ALLOWED"];
    const refused = assert.rejects(worker.run(), (error) => {
      return error instanceof PermissionDeniedError && error.reason === reason;
    });
    (await server.stream()).fail(code, reason);
    await refused;
  });

  test("connects to another server of its target when the first one is lost", async () => {
    const servers = [await ScriptedServer.start(), await ScriptedServer.start()] as const;
    const target = servers.map((each) => each.target.replace("127.0.0.1", "localhost")).join(",");
    const starting = new Worker(
      new Handlers().activity("act", () => {}),
      { target, logger: new Events() },
    ).start();
    const welcomed = servers.map((server, index) => server.welcomed().then(() => index));
    const first = await Promise.race(welcomed);
    const worker = await starting;
    await servers[first]?.[Symbol.asyncDispose]();
    await welcomed[1 - first];
    await servers[1 - first]?.[Symbol.asyncDispose]();
    await worker.stop();
  });

  test("starts and stops while its server is away, and says whether it is connected", async () => {
    const log = new Events();
    const handlers = new Handlers().activity("act", () => {});
    const away = await new Worker(handlers, { target: "127.0.0.1:1", logger: log }).start();
    const connected = assert.rejects(away.connected(), /the worker has stopped, and was never connected/);
    assert.equal(away.isConnected, false);
    await away.stop();
    await connected;
    await using up = await working(() => {});
    assert.equal(up.worker.isConnected, true);
    up.stream.end();
    await until(() => !up.worker.isConnected);
  });

  test("rejects wrong options", () => {
    const handlers = new Handlers().activity("act", () => {});
    assert.throws(() => new Worker(new Handlers()), /at least one handler/);
    assert.throws(() => new Worker(handlers, { target: "http://127.0.0.1:50051" }), /is a URL/);
    assert.throws(() => new Worker(handlers, { token: "a\nb" }), /characters that a token cannot have/);
    assert.throws(() => handlers.activity("act", () => {}), /already has a handler/);
  });
});

/** Take the next result, and return its call and the kind of its outcome. */
async function endOf(stream: WorkerStream): Promise<[string, string | undefined]> {
  const { callId, outcome } = await stream.next("result");
  return [callId, outcome.case];
}

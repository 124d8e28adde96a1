/** The client and handlers with a running system: what a caller gets, and what is recorded of it. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  Accept,
  CallAnsweredError,
  CallbackClosedError,
  CallbackError,
  DeadlineExceededError,
  HandlerServer,
  Handlers,
  InvalidRequestError,
  NotFoundError,
  Redirect,
  Reject,
  RequestIdReusedError,
  Response,
} from "@callback/client";
import { startSystem } from "@callback/client/testing";
import { Client, credentials } from "@grpc/grpc-js";
import { HandleCallbackRequestSchema } from "#gen/callback/v1/callback_handler_service_pb.js";
import { allOf, Deferred, Events, until, untilAborted } from "./support.js";
import { aborted, events, handle, notified, pushServer, system } from "./system.js";

const { client } = system;
const NEVER = "0".repeat(32);

for (const activity of ["order", "pushed"] as const) {
  describe(`a handler of the activity ${activity}`, () => {
    test("gets the request with its bytes, and its answer reaches the caller", async () => {
      const body = new Uint8Array([0, 255, 10, 200]);
      handle(activity, (call) => {
        assert.deepEqual([call.activity, call.activityCase, call.labels], [activity, "order 5", { shop: "nl" }]);
        assert.deepEqual([call.method, call.attempt, call.verified], ["post", 1, false]);
        assert.deepEqual(call.query.getAll("id"), ["5", "6"]);
        assert.deepEqual([call.headers.get("X-One"), call.headers.getAll("x-two")], ["1", ["a", "\u00e9"]]);
        assert.deepEqual(new Uint8Array(call.body), body);
        assert.deepEqual(call.traceContext, { traceparent: "00-1-2-01" });
        return Response.json({ ok: true }, { code: 201, headers: { "x-three": "\u00e9" } });
      });
      const given = { activityCase: "order 5", labels: { shop: "nl" } };
      const made = await client.generateCallbackUrl(activity, new Response("thanks"), given);
      const headers = [
        ["X-One", "1"],
        ["X-Two", "a"],
        ["X-Two", "\u00e9"],
        ["traceparent", "00-1-2-01"],
      ] as const;
      const reply = await system.send(`${made.url}?id=5&id=6`, { body, headers });
      assert.deepEqual([reply.status, reply.json(), reply.headers.get("x-three")], [201, { ok: true }, "\u00e9"]);
      const [call] = await allOf(client.listCalls(made.caseId));
      const whole = await client.getCall(call?.callId ?? "");
      assert.deepEqual([whole.status, new Uint8Array(whole.body), whole.bodySize], ["SUCCEEDED", body, 4]);
      assert.equal(whole.response?.code, 201);
    });

    test("rejects with a Reject, and fails with any other error", async () => {
      handle(activity, (call) => {
        throw call.query.has("wrong") ? new Reject("no trxid") : new Error("the bank is closed");
      });
      for (const [query, status, text] of [
        ["wrong=1", 422, "no trxid"],
        ["", 502, undefined],
      ] as const) {
        const made = await client.generateCallbackUrl(activity, new Redirect("/thanks"));
        const reply = await system.send(`${made.url}?${query}`);
        assert.equal(reply.status, status);
        assert(text === undefined || reply.text() === text);
        const [call] = await allOf(client.listCalls(made.caseId));
        assert.deepEqual([call?.status, call?.failure], text ? ["REJECTED", undefined] : ["FAILED", "HANDLER_ERROR"]);
        assert.doesNotMatch(call?.failureDetail ?? "", /bank/);
      }
    });

    test("is told why its answer cannot be rendered", async () => {
      handle(activity, () => new Response("x", { code: 302 }));
      const made = await client.generateCallbackUrl(activity, new Response());
      assert.equal((await system.send(made.url)).status, 502);
      const callId = (await allOf(client.listCalls(made.caseId)))[0]?.callId;
      assert.match(String((await events.of("answer_refused", { callId }))["problem"]), /200-299/);
    });
  });
}

describe("the deadline of a call", () => {
  for (const [activity, why] of [
    ["brief", /the server has withdrawn the call/],
    ["pushed-brief", /the server has cancelled the call/],
  ] as const) {
    test(`aborts the signal of a handler of the activity ${activity}`, async () => {
      // On a busy machine, the deadline of a call can pass before its handler begins.
      const reason = await until(async () => {
        const made = await client.generateCallbackUrl(activity, new Response());
        return (await system.send(made.url)).status === 504 && aborted.get(activity);
      });
      assert.match(reason, why);
    });
  }
});

describe("a client", () => {
  test("gets the same URL for the same request id, and an error for other content", async () => {
    const requestId = crypto.randomUUID();
    const first = await client.generateCallbackUrl("record", new Response("a"), { requestId });
    const second = await client.generateCallbackUrl("record", new Response("a"), { requestId });
    assert.equal(second.url, first.url);
    const other = client.generateCallbackUrl("record", new Response("b"), { requestId });
    await assert.rejects(other, RequestIdReusedError);
  });

  test("gets a URL or an error for each callback of a batch, in their order", async () => {
    const given = { activity: "record", labels: { shop: "nl" }, requestId: crypto.randomUUID() };
    const [first, wrong, again] = await client.generateCallbackUrls([
      { ...given, response: new Response("a", { code: 201 }) },
      { ...given, response: new Response("a", { code: 99 }) },
      { ...given, response: new Response("a", { code: 201 }) },
    ]);
    assert(wrong instanceof InvalidRequestError);
    assert.deepEqual([wrong.violations[0]?.field, wrong.code], ["response.response_code", "INVALID_ARGUMENT"]);
    assert(first !== undefined && !(first instanceof CallbackError));
    assert(again !== undefined && !(again instanceof CallbackError));
    assert.equal(again.url, first.url);
    assert.equal((await system.send(first.url)).status, 201);
    assert.deepEqual((await client.getCallback(first.caseId)).labels, given.labels);
    await assert.rejects(client.generateCallbackUrls([]), InvalidRequestError);
  });

  test("sets and resets attributes of a response", async () => {
    const { caseId } = await client.generateCallbackUrl("record", new Response("old", { headers: { "x-a": "1" } }));
    const changed = await client.setResponse(caseId, new Response(undefined, { type: "CASE", code: 404 }), {
      reset: ["headers"],
    });
    const { code, headers, body } = changed.response;
    assert.deepEqual([code, headers?.size ?? 0, new TextDecoder().decode(body)], [404, 0, "old"]);
    const wrong = client.setResponse(caseId, new Response("x"), { reset: ["body"] });
    await assert.rejects(wrong, /both set and reset/);
  });

  test("answers a held call, once", async () => {
    const made = await client.generateCallbackUrl("form", new Redirect("/thanks"), { labels: { test: "held" } });
    const waiting = system.send(made.url);
    const call = await until(async () => (await allOf(client.listCalls(made.caseId)))[0]);
    const listed = await allOf(client.listOwnerCalls("WAITING"));
    assert(listed.some(({ callId }) => callId === call.callId));
    const answered = await client.answerCall(call.callId, new Accept({ response: new Redirect("/answered") }));
    assert.deepEqual([answered.status, answered.answeredBy], ["SUCCEEDED", "local"]);
    assert.equal((await waiting).location, "https://shop.example/answered");
    await assert.rejects(client.answerCall(call.callId, new Reject()), (error) => {
      assert(error instanceof CallAnsweredError);
      assert.deepEqual([error.status, error.code], ["SUCCEEDED", "FAILED_PRECONDITION"]);
      return true;
    });
  });

  test("resolves a callback before its call", async () => {
    const made = await client.generateCallbackUrl("form", new Response("?"), { answerMode: "HOLD" });
    assert.equal((await client.resolveCallback(made.caseId, new Response("resolved"))).resolved, true);
    assert.equal((await system.send(made.url)).text(), "resolved");
    await assert.rejects(client.resolveCallback(made.caseId, new Accept({ close: true })), TypeError);
  });

  test("extends and closes a callback, and then gets the reason why it is closed", async () => {
    const { caseId } = await client.generateCallbackUrl("record", new Response("x"));
    const expireTime = new Date(Date.now() + 7 * 86_400_000);
    const extended = await client.extendCallback(caseId, expireTime);
    assert.equal(extended.expireTime?.getTime(), expireTime.getTime());
    assert.equal((await client.closeCallback(caseId)).closeReason, "CLOSED_BY_OWNER");
    await assert.rejects(client.setResponse(caseId, new Response("y")), (error) => {
      assert(error instanceof CallbackClosedError);
      assert.equal(error.closeReason, "CLOSED_BY_OWNER");
      return true;
    });
    await assert.rejects(client.waitForCall(caseId, { timeoutMs: 60_000 }), CallbackClosedError);
  });

  test("lists callbacks page by page", async () => {
    const labels = { list: crypto.randomUUID() };
    const made = [];
    for (let index = 0; index < 3; index += 1) {
      made.unshift((await client.generateCallbackUrl("record", new Response("x"), { labels })).caseId);
    }
    const listed = await allOf(client.listCallbacks({ labels, pageSize: 1, status: "OPEN" }));
    assert.deepEqual(
      listed.map(({ caseId }) => caseId),
      made,
    );
    const page = await client.listCallbacksPage({ labels, pageSize: 2 });
    assert.deepEqual([page.items.length, page.nextPageToken !== ""], [2, true]);
    assert.deepEqual(await allOf(client.listCallbacks({ labels, createdBefore: new Date(0) })), []);
  });

  test("waits for a call, also for one that ended before, and for the next one", async () => {
    const made = await client.generateCallbackUrl("record", new Response("x"), { allowMultipleCalls: true });
    await system.send(made.url, { json: { id: 1 } });
    const first = await client.waitForCall(made.caseId, { timeoutMs: 60_000 });
    assert.deepEqual(first.json(), { id: 1 });
    const next = client.waitForCall(made.caseId, { timeoutMs: 60_000, after: first.attempt });
    await system.send(made.url, { form: { id: ["2", "3"] } });
    assert.deepEqual((await (await next).form()).asJson(), { id: ["2", "3"] });
    const never = client.waitForCall(made.caseId, { timeoutMs: 1, after: 2 });
    await assert.rejects(never, DeadlineExceededError);
  });

  test("gets reminders in the handlers of notifications", async () => {
    const given = { notify: ["REMINDER"], remindAfterMs: [1_000] } as const;
    const made = await client.generateCallbackUrl("pushed", new Response("x"), given);
    await until(() => notified.has(made.caseId));
    assert.deepEqual(notified.get(made.caseId), ["REMINDER"]);
  });

  test("lets three days pass at once in a test", async () => {
    const dayMs = 24 * 3_600_000;
    const seen: string[] = [];
    const handlers = new Handlers()
      .activity("approval", () => new Response("thanks"))
      .notification("approval", ({ reason }) => void seen.push(reason));
    await using own = await startSystem({ handlers, logger: events });
    const made = await own.client.generateCallbackUrl("approval", new Response(), {
      timeToLiveMs: 4 * dayMs,
      remindAfterMs: [3 * dayMs],
      notify: ["REMINDER", "EXPIRY"],
    });
    await own.advance(3 * dayMs);
    await until(() => seen.length === 1);
    const repeated = await own.client.generateCallbackUrl("approval", new Response(), { repeatWindowMs: dayMs });
    for (const status of [200, 200, 410]) {
      assert.equal((await own.send(repeated.url)).status, status);
      await own.advance(dayMs / 2 + 1);
    }
    await until(() => seen.length === 2);
    assert.deepEqual(seen, ["REMINDER", "EXPIRY"]);
    assert.equal((await own.client.getCallback(made.caseId)).closeReason, "EXPIRED");
    assert.throws(() => own.advance(0.5), /whole milliseconds/);
  });

  test("reads activities, statistics and findings, and pauses an activity", async () => {
    const activities = await allOf(client.listActivities({ pageSize: 2 }));
    const kinds = Object.fromEntries(activities.map(({ activity, kind }) => [activity, kind]));
    assert.deepEqual([kinds["order"], kinds["pushed"], kinds["record"]], ["WORKERS", "PUSH", "BUILT_IN"]);
    await client.pauseActivity("paused", { reason: "the bank is closed" });
    const [paused] = await client.listPausedActivities();
    assert.deepEqual([paused?.activity, paused?.reason], ["paused", "the bank is closed"]);
    await client.resumeActivity("paused");
    assert((await client.getStatistics()).work.openCallbackCount > 0);
    assert((await client.listFindings()).findings.some(({ level }) => level === "OK"));
  });

  test("throws typed errors, with every invalid field", async () => {
    await assert.rejects(client.getCallback(NEVER), NotFoundError);
    await assert.rejects(client.generateCallbackUrl("", new Response(undefined, { code: 99 })), (error) => {
      assert(error instanceof InvalidRequestError);
      assert.deepEqual([error.reason, error.code], ["INVALID_REQUEST", "INVALID_ARGUMENT"]);
      assert.deepEqual(error.violations.map(({ field }) => field).sort(), [
        "callback_activity",
        "response.response_code",
      ]);
      return true;
    });
    await assert.rejects(client.generateCallbackUrl("record", "text" as never), TypeError);
    await assert.rejects(client.generateCallbackUrl("record", new Response(), { getGuard: "ON" as never }), TypeError);
    const large = new Response(new Uint8Array(2 ** 24));
    for (const [path, made] of [
      ["response", client.generateCallbackUrl("record", large)],
      ["closed_response", client.generateCallbackUrl("record", new Response(), { closedResponse: large })],
    ] as const) {
      await assert.rejects(made, (error) => {
        assert(error instanceof InvalidRequestError);
        assert.equal(error.violations[0]?.field, `${path}.response_body`);
        return true;
      });
    }
  });

  test("cancels a request by its signal", async () => {
    const reason = new Error("enough");
    await assert.rejects(client.getCallback(NEVER, { signal: AbortSignal.abort(reason) }), reason);
    const abort = new AbortController();
    const waiting = client.waitForCall((await client.generateCallbackUrl("record", new Response("x"))).caseId, {
      timeoutMs: 60_000,
      signal: abort.signal,
    });
    abort.abort(reason);
    await assert.rejects(waiting, reason);
  });
});

describe("the system of a test", () => {
  test("refuses options that do not exist, and times that are no times", async () => {
    const url = "https://box.example/cb/x";
    await assert.rejects(system.send(url, { query: {} } as never), /send has no option "query"/);
    await assert.rejects(system.send(url, { body: 5 as never }), /body must be text or bytes, not 5/);
    await assert.rejects(system.visit(url, { timeoutMs: Number.NaN }), /timeoutMs must be .*, not NaN/);
  });

  test("says which command it could not run, and why a system did not start", async (t) => {
    const command = process.env["CALLBACK_COMMAND"];
    t.after(() => {
      process.env["CALLBACK_COMMAND"] = command;
    });
    process.env["CALLBACK_COMMAND"] = "no-such-command";
    await assert.rejects(startSystem(), /cannot run "no-such-command" \(.*ENOENT\): set CALLBACK_COMMAND to/);
    process.env["CALLBACK_COMMAND"] = `${process.execPath} -e console.error("no-port");process.exit(1)`;
    await assert.rejects(startSystem(), /the last lines of its log:\nno-port/i);
  });
});

describe("a watch", () => {
  test("ends by its signal with the reason, and with an error if it is closed with its client", async () => {
    const abort = new AbortController();
    const watch = await client.watchCalls({ signal: abort.signal, labels: { none: "none" } });
    const next = watch.next();
    abort.abort(new Error("enough"));
    await assert.rejects(next, /enough/);
    await assert.rejects(client.watchCalls({ caseId: NEVER }), NotFoundError);
  });
});

describe("a handler server", () => {
  test("listens on the port that it says, and says that it serves", async () => {
    assert.equal(pushServer.address, `127.0.0.1:${pushServer.port}`);
    const health = new Client(pushServer.address, credentials.createInsecure());
    const reply = await new Promise<Buffer | undefined>((resolve, reject) => {
      const bytes = (given: Buffer): Buffer => given;
      const service = Buffer.from("callback.v1.CallbackHandlerService");
      const request = Buffer.concat([Buffer.from([10, service.length]), service]);
      health.makeUnaryRequest("/grpc.health.v1.Health/Check", bytes, bytes, request, (error, given) =>
        error === null ? resolve(given) : reject(error),
      );
    });
    assert.deepEqual([...(reply ?? [])], [8, 1]); // the status SERVING
    health.close();
  });

  test("fails a call of an activity without a handler, and logs it", async () => {
    const made = await client.generateCallbackUrl("pushed-unknown", new Response());
    assert.equal((await system.send(made.url)).status, 502);
    assert.equal((await events.of("handler_missing"))["activity"], "pushed-unknown");
  });

  test("that runs as the job of a program fails if calls outlast its grace", async () => {
    const [running, stop, log, reason] = [new Deferred(), new AbortController(), new Events(), new Deferred<unknown>()];
    const handlers = new Handlers().activity("slow", async (_, { signal }) => {
      running.resolve();
      await untilAborted(signal).catch(reason.resolve);
    });
    const server = new HandlerServer(handlers, "127.0.0.1:0", { graceMs: 1, logger: log });
    const ended = assert.rejects(
      server.run({ signal: stop.signal }),
      /the grace of the handler server, 1 ms, ended before one call did/,
    );
    const { address } = await log.of("handlers_listening");
    const caller = new Client(String(address), credentials.createInsecure());
    const bytes = (given: Buffer): Buffer => given;
    const request = Buffer.from(
      toBinary(HandleCallbackRequestSchema, create(HandleCallbackRequestSchema, { callbackActivity: "slow" })),
    );
    const path = "/callback.v1.CallbackHandlerService/HandleCallback";
    caller.makeUnaryRequest(path, bytes, bytes, request, () => {});
    await running.promise;
    stop.abort();
    await ended;
    assert.match(String(await reason.promise), /the handler server has stopped, and its grace of 1 ms has ended/);
    caller.close();
  });

  test("without calls stops without a report of calls, whatever its grace, and is not started twice", async () => {
    const log = new Events();
    const server = new HandlerServer(
      new Handlers().activity("a", () => {}),
      "127.0.0.1:0",
      { graceMs: 0, logger: log },
    );
    const running = await server.start();
    await assert.rejects(server.start(), /runs already: stop it first, or create another HandlerServer/);
    await assert.rejects(server.run(), /runs already/);
    const caller = new Client(running.address, credentials.createInsecure());
    await new Promise((resolve, reject) => {
      caller.waitForReady(Date.now() + 60_000, (error) => (error ? reject(error) : resolve(undefined)));
    });
    await running.stop(); // with a connection that is open
    caller.close();
    assert.deepEqual(log.all, []);
    await (await server.start()).stop();
  });
});

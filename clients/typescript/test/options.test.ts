/** What a program passes by mistake: each is an error that names the option and says what to write. */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import {
  Accept,
  CallbackClient,
  HandlerServer,
  Handlers,
  Headers,
  PageResponse,
  Query,
  Redirect,
  Reject,
  Response,
  Worker,
} from "@callback/client";
import { startSystem } from "@callback/client/testing";
import { Events } from "./support.js";

const handlers = new Handlers().activity("a", () => {});
const client = new CallbackClient({ target: "127.0.0.1:1", logger: new Events(), retry: false });
after(() => client.close());

/** Passes a wrong value, as a program in JavaScript can. */
type Mistake = (wrong: never) => unknown;

const ADDRESS = "127.0.0.1:0";

/** What takes options, by the name that its errors have. */
const WITH_OPTIONS: Record<string, Mistake> = {
  CallbackClient: (options) => new CallbackClient(options),
  Worker: (options) => new Worker(handlers, options),
  HandlerServer: (options) => new HandlerServer(handlers, ADDRESS, options),
  run: (options) => new Worker(handlers).run(options),
  tls: (tls) => new CallbackClient({ tls }),
  generateCallbackUrl: (options) => client.generateCallbackUrl("a", new Response(), options),
  generateCallbackUrls: (options) => client.generateCallbackUrls([], options),
  prompt: (prompt) => client.generateCallbackUrl("a", new Response(), { prompt }),
  getCallback: (options) => client.getCallback("5f0c", options),
  setResponse: (options) => client.setResponse("5f0c", new Response(), options),
  listCallbacks: (options) => client.listCallbacks(options).next(),
  listCalls: (options) => client.listCalls("5f0c", options).next(),
  listActivities: (options) => client.listActivities(options).next(),
  pauseActivity: (options) => client.pauseActivity("a", options),
  watchCalls: (options) => client.watchCalls(options),
  waitForCall: (options) => client.waitForCall("5f0c", options),
  Response: (attributes) => new Response("x", attributes),
  Redirect: (attributes) => new Redirect("/", attributes),
  PageResponse: (attributes) => new PageResponse("a", "b", attributes),
  Accept: (attributes) => new Accept(attributes),
  Reject: (attributes) => new Reject("x", attributes),
  startSystem: (options) => startSystem(options),
};

/** Mistakes of a type: what passes them, and each value with what the message says. */
const WRONG_TYPES: [Mistake, [unknown, RegExp][]][] = [
  [
    (options) => new CallbackClient(options),
    [
      ["callback:50051", /not text: write new CallbackClient\(\{ target: /],
      [null, /must be an object, not null/],
      [["a:1"], /must be an object, not an array/],
      [{ targets: "a:1" }, /Its options are target, token, tokenFile, tls, logger, timeo/],
      [{ target: 50051 }, /target must be text, not 50051/],
      [{ target: "http://user:s3c@ret@h:1" }, /^the target "\*\*\*@h:1" is a URL\. Use HOST:PORT/],
      [{ timeoutMs: "5" }, /timeoutMs must be a positive number of milliseconds, at most 10,000 years, not text/],
      [{ retry: 3 }, /retry must be true or false, not 3/],
      [{ token: 5 }, /token must be text or a function, not 5/],
      [{ traceContext: {} }, /traceContext must be a function, not an object/],
      [{ logger: false }, /logger must be a logger with the methods info, warn and error, not false/],
    ],
  ],
  [
    (options) => new Worker(handlers, options),
    [
      [{ name: 5 }, /name must be text, not 5/],
      [{ maxCalls: "5" }, /maxCalls must be a whole number, 1 to 1,000, not text/],
    ],
  ],
  [
    (given) => new Worker(given, {}),
    [
      [{}, /a Worker needs Handlers, not an object: pass new Handlers\(\)\.activity\(/],
      [undefined, /needs Handlers, not undefined/],
    ],
  ],
  [
    (given) => new HandlerServer(given, ADDRESS),
    [
      [{}, /a HandlerServer needs Handlers/],
      [new Handlers(), /at least one handler/],
    ],
  ],
  [
    (address) => new HandlerServer(handlers, address),
    [
      [50061, /HOST:PORT/],
      [{ port: 1 }, /HOST:PORT/],
    ],
  ],
  [(tls) => new HandlerServer(handlers, ADDRESS, { tls }), [[{ cert: "a" }, /tls has no option "cert"/]]],
  [(options) => new HandlerServer(handlers, ADDRESS).run(options), [["now", /options of run/]]],
  [
    (options) => client.generateCallbackUrl("a", new Response(), options),
    [
      [{ timeToLive: 5 }, /generateCallbackUrl has no option "timeToLive"\. .*timeToLiveMs/],
      [{ timeToLiveMs: 5n }, /timeToLiveMs must be .*, not a bigint/],
      [{ activityCase: 5 }, /activityCase must be text, not 5/],
      [{ labels: { order: 5 } }, /labels\.order must be text, not 5/],
      [{ labels: { order: "\ud800" } }, /labels\.order must be Unicode text/],
      [{ labels: { "\udc00": "5" } }, /a name in labels must be Unicode text/],
      [{ labels: ["a"] }, /labels must be an object of names and texts, not an array/],
      [{ getGuard: "ON" }, /getGuard must be OFF, .*, not "ON"/],
      [{ answerMode: null }, /answerMode must be HANDLER, .*, not null/],
      [{ fallback: "later" }, /fallback must be a Response, a Redirect or a PageResponse, not text/],
      [{ prompt: { text: "Pay?" } }, /prompt\.title must be text, not undefined/],
      [{ prompt: { title: "Pay?", choices: { yes: "Pay" } } }, /choices must be an array, not an object/],
      [{ remindAfterMs: 5 }, /remindAfterMs must be an array, not 5/],
      [{ notify: ["EXPIRED"] }, /notify\[0\] must be CALL, REMINDER, EXPIRY, not "EXPIRED"/],
      [{ signal: {} }, /signal must be an AbortSignal/],
    ],
  ],
  [
    (response) => client.generateCallbackUrl("a", response),
    [
      [undefined, /response must be a Response, a Redirect or a PageResponse, not undefined/],
      [
        new globalThis.Response("x"),
        /not the Response of fetch, a global of Node: import the one of @callback\/client/,
      ],
    ],
  ],
  [
    (callbacks) => client.generateCallbackUrls(callbacks),
    [
      [{}, /callbacks must be an array, not an object/],
      [["a"], /callbacks\[0\] must be an object, not text: write callbacks\[0\]: \{ activity: /],
      [[{ activity: "a" }], /callbacks\[0\]\.response must be a Response, .*, not undefined/],
      [[{ activity: "a", response: new Response(), timeoutMs: 5 }], /callbacks\[0\] has no option "timeoutMs"/],
    ],
  ],
  [(caseId) => client.getCallback(caseId), [[undefined, /caseId must be text, not undefined/]]],
  [(options) => client.getCallback("5f0c", options), [[AbortSignal.abort(), /an object, .*: write \{ signal: … \}/]]],
  [(options) => client.waitForCall("5f0c", options), [[{}, /timeoutMs must be .* or Infinity, not undefined/]]],
  [(reset) => client.setResponse("5f0c", new Response(), { reset }), [["body", /reset must be an array/]]],
  [
    (date) => client.extendCallback("5f0c", date),
    [
      [5, /expireTime must be a valid Date/],
      [new Date(Number.NaN), /valid Date/],
    ],
  ],
  [
    (filter) => client.listOwnerCalls(filter).next(),
    [[undefined, /filter must be WAITING, DEAD, PENDING, ENDED, not undefined/]],
  ],
  [
    (attributes) => new Response("x", attributes),
    [
      [404, /options of Response must be an object, not 404: write \{ code: 404 \}/],
      [{ code: "404" }, /code must be a whole number, at least 0, not text/],
      [{ headers: "x-a: 1" }, /headers must be an object or an iterable of names and values/],
      [{ type: "JSON" }, /type must be .*, not "JSON"/],
    ],
  ],
  [(attributes) => Response.json({}, attributes), [[{ status: 404 }, /no option "status"/]]],
  [
    (attributes) => new Accept(attributes),
    [
      [{ response: new globalThis.Response("x") }, /response must be .* of fetch/],
      [{ keepOpen: 1 }, /keepOpen must be true or false, not 1/],
    ],
  ],
  [
    (pairs) => new Query(pairs),
    [
      ["a=1", /argument of Query must be .*URLSearchParams/],
      [{ a: 1 }, /must be text, not text and 1/],
    ],
  ],
  [(pairs) => new Headers(pairs), [[null, /argument of Headers must be .*, not null/]]],
  [(name) => new Headers().get(name), [[undefined, /for get must be text, not undefined: write get\("name"\)/]]],
  [(name) => new Query().getAll(name), [[5, /for getAll must be text, not 5/]]],
  [(name) => new Query().has(name), [[null, /for has must be text, not null/]]],
  [
    (activity) => new Handlers().activity(activity, () => {}),
    [
      [5, /the name of an activity must be text, not 5/],
      ["", /the name of an activity must not be empty/],
    ],
  ],
  [(given) => startSystem({ handlers: given }), [[{}, /needs Handlers/]]],
];

const NO_TIMES = [Number.NaN, -1, Number.POSITIVE_INFINITY, 1e300];

/** Numbers out of range: what passes them, the name in the error, and the numbers. */
const OUT_OF_RANGE: [Mistake, string, number[]][] = [
  [(timeoutMs) => new CallbackClient({ timeoutMs }), "timeoutMs", [0, ...NO_TIMES]],
  [(graceMs) => new Worker(handlers, { graceMs }), "graceMs", [Number.NaN, -1]],
  [(maxCalls) => new Worker(handlers, { maxCalls }), "maxCalls", [0, 1.5, 1_001, Number.NaN]],
  ...["timeToLiveMs", "timeoutMs", "answerDeadlineMs", "holdTimeMs", "repeatWindowMs"].map(
    (name): (typeof OUT_OF_RANGE)[number] => [
      (wrong) => client.generateCallbackUrl("a", new Response(), { [name]: wrong }),
      name,
      NO_TIMES,
    ],
  ),
  [
    (wrong) => client.generateCallbackUrl("a", new Response(), { remindAfterMs: [60_000, wrong] }),
    "remindAfterMs[1]",
    [Number.NaN],
  ],
  [(pageSize) => client.listCallbacks({ pageSize }).next(), "pageSize", [Number.NaN, -1]],
  [(timeoutMs) => client.waitForCall("5f0c", { timeoutMs }), "timeoutMs", [Number.NaN, -1]],
  [(code) => new Response("x", { code }), "code", [2 ** 31]],
];

describe("a mistake", () => {
  const rejects = (make: Mistake, wrong: unknown, kind: ErrorConstructor, problem: RegExp): Promise<void> =>
    assert.rejects(
      async () => make(wrong as never),
      (error) => {
        assert(error instanceof kind, `${error}`);
        assert.match(error.message, problem);
        return true;
      },
    );
  const nameOf = (make: Mistake): string => `${make}`.replace(/^\(\w+\) => /, "").replace(/\s+/g, " ");

  for (const [name, make] of Object.entries(WITH_OPTIONS)) {
    test(`in the options of ${name} is an error that names them`, async () => {
      await rejects(
        make,
        { nonsense: 5 },
        TypeError,
        new RegExp(`^${name} has no option "nonsense"\\. Its options are `),
      );
      await rejects(make, 5, TypeError, new RegExp(`^the options of ${name} must be an object, not 5`));
    });
  }

  for (const [make, wrongs] of WRONG_TYPES) {
    test(`of a type in ${nameOf(make)} is an error that names it`, async () => {
      for (const [wrong, problem] of wrongs) {
        await rejects(make, wrong, TypeError, problem);
      }
    });
  }

  for (const [make, name, wrongs] of OUT_OF_RANGE) {
    test(`of a number in ${nameOf(make)} is an error that names it`, async () => {
      for (const wrong of wrongs) {
        await rejects(
          make,
          wrong,
          RangeError,
          new RegExp(`^${name.replace(/[[\]]/g, "\\$&")} must be .*, not ${wrong}`.replace("e+", "e\\+")),
        );
      }
    });
  }

  test("never puts a text of the program, which may be a secret, into the error", () => {
    for (const options of ["s3cret", { logger: "s3cret" }, { tls: "s3cret" }, { retry: "s3cret" }]) {
      assert.throws(
        () => new CallbackClient(options as never),
        (error) => !String(error).includes("s3cret"),
      );
    }
  });
});

describe("an option that is undefined", () => {
  test("is not given", () => {
    const options = { target: undefined, timeoutMs: undefined, tls: undefined, token: undefined, retry: undefined };
    new CallbackClient(options).close();
    new Worker(handlers, { maxCalls: undefined, graceMs: undefined, name: undefined, logger: undefined });
    assert.deepEqual(new Response(undefined, { code: undefined, headers: undefined }), new Response());
  });
});

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

/** The mistakes: what passes them, the error, and each value with what the message says. */
const MISTAKES: [Mistake, typeof TypeError | typeof RangeError, [unknown, RegExp][]][] = [
  [
    (options) => new CallbackClient(options),
    TypeError,
    [
      [
        "callback:50051",
        /options of CallbackClient must be an object, not text: write new CallbackClient\(\{ target: /,
      ],
      [null, /must be an object, not null/],
      [["a:1"], /must be an object, not an array/],
      [
        { targets: "a:1" },
        /CallbackClient has no option "targets"\. Its options are target, token, tokenFile, tls, logger, timeo/,
      ],
      [{ timeout: 5 }, /no option "timeout"/],
      [{ target: 50051 }, /target must be text, not 50051/],
      [{ target: "http://user:s3c@ret@h:1" }, /^the target "\*\*\*@h:1" is a URL\. Use HOST:PORT/],
      [{ timeoutMs: "5" }, /timeoutMs must be a positive number of milliseconds, at most 10,000 years, not text/],
      [{ retry: 3 }, /retry must be true or false, not 3/],
      [{ tls: true }, /options of tls must be an object, not true: write tls: \{ caFile: "ca\.pem" \}/],
      [{ tls: { ca: "ca.pem" } }, /tls has no option "ca"\. Its options are caFile, certFile, keyFile, serverName/],
      [{ token: 5 }, /token must be text or a function, not 5/],
      [{ traceContext: {} }, /traceContext must be a function, not an object/],
      [{ logger: false }, /logger must be a logger with the methods info, warn and error, not false/],
    ],
  ],
  [
    (timeoutMs) => new CallbackClient({ timeoutMs }),
    RangeError,
    [Number.NaN, 0, -1, Number.POSITIVE_INFINITY].map((wrong) => [
      wrong,
      new RegExp(`timeoutMs must .*, not ${wrong}$`),
    ]),
  ],
  [
    (options) => new Worker(handlers, options),
    TypeError,
    [
      ["callback:50051", /options of Worker must be an object, not text: write new Worker\(handlers, \{ target: /],
      [{ slots: 5 }, /Worker has no option "slots"\. Its options are .*maxCalls/],
      [{ timeoutMs: 5 }, /Worker has no option "timeoutMs"/],
      [{ name: 5 }, /name must be text, not 5/],
      [{ maxCalls: "5" }, /maxCalls must be a whole number, 1 to 1,000, not text/],
    ],
  ],
  [
    (graceMs) => new Worker(handlers, { graceMs }),
    RangeError,
    [Number.NaN, -1].map((wrong) => [wrong, new RegExp(`graceMs must be .*, not ${wrong}$`)]),
  ],
  [
    (maxCalls) => new Worker(handlers, { maxCalls }),
    RangeError,
    [
      [1.5, /maxCalls/],
      [1_001, /not 1001/],
      [Number.NaN, /NaN/],
    ],
  ],
  [
    (given) => new Worker(given, {}),
    TypeError,
    [
      [{}, /a Worker needs Handlers, not an object: pass new Handlers\(\)\.activity\(/],
      [undefined, /needs Handlers, not undefined/],
    ],
  ],
  [
    (options) => new Worker(handlers).run(options),
    TypeError,
    [[new AbortController().signal, /options of run .*signal/]],
  ],
  [
    (options) => new Worker(handlers).start(options),
    TypeError,
    [[{ signal: new AbortController() }, /an AbortSignal, such as/]],
  ],
  [
    (given) => new HandlerServer(given, "127.0.0.1:0"),
    TypeError,
    [
      [{}, /a HandlerServer needs Handlers/],
      [new Handlers(), /at least one handler/],
    ],
  ],
  [
    (address) => new HandlerServer(handlers, address),
    TypeError,
    [
      [50061, /HOST:PORT/],
      [{ port: 1 }, /HOST:PORT/],
    ],
  ],
  [
    (options) => new HandlerServer(handlers, "127.0.0.1:0", options),
    TypeError,
    [
      [{ grace: 5 }, /HandlerServer has no option "grace"/],
      [{ tls: { cert: "a" } }, /tls has no option "cert"/],
    ],
  ],
  [(options) => new HandlerServer(handlers, "127.0.0.1:0").run(options), TypeError, [["now", /options of run/]]],
  [
    (options) => client.generateCallbackUrl("a", new Response(), options),
    TypeError,
    [
      ["5", /options of generateCallbackUrl must be an object, not text/],
      [null, /options of generateCallbackUrl must be an object, not null/],
      [{ timeToLive: 5 }, /generateCallbackUrl has no option "timeToLive"\. .*timeToLiveMs/],
      [{ timeToLiveMs: "5" }, /timeToLiveMs must be .*, not text/],
      [{ timeToLiveMs: 5n }, /timeToLiveMs must be .*, not a bigint/],
      [{ activityCase: 5 }, /activityCase must be text, not 5/],
      [{ labels: { order: 5 } }, /labels\.order must be text, not 5/],
      [{ labels: ["a"] }, /labels must be an object of names and texts, not an array/],
      [{ getGuard: "ON" }, /getGuard must be OFF, .*, not "ON"/],
      [{ answerMode: null }, /answerMode must be HANDLER, .*, not null/],
      [{ fallback: "later" }, /fallback must be a Response, a Redirect or a PageResponse, not text/],
      [{ prompt: { heading: "Pay?" } }, /prompt has no option "heading"/],
      [{ prompt: { text: "Pay?" } }, /prompt\.title must be text, not undefined/],
      [{ prompt: { title: "Pay?", choices: { yes: "Pay" } } }, /choices must be an array, not an object/],
      [{ remindAfterMs: 5 }, /remindAfterMs must be an array, not 5/],
      [{ notify: ["EXPIRED"] }, /notify\[0\] must be CALL, REMINDER, EXPIRY, not "EXPIRED"/],
      [{ signal: {} }, /signal must be an AbortSignal/],
    ],
  ],
  ...["timeToLiveMs", "timeoutMs", "answerDeadlineMs", "holdTimeMs", "repeatWindowMs"].map(
    (name): (typeof MISTAKES)[number] => [
      (wrong) => client.generateCallbackUrl("a", new Response(), { [name]: wrong }),
      RangeError,
      [Number.NaN, -1, Number.POSITIVE_INFINITY, 1e300].map((wrong) => [wrong, new RegExp(`^${name} must be .*not`)]),
    ],
  ),
  [
    (wrong) => client.generateCallbackUrl("a", new Response(), { remindAfterMs: [60_000, wrong] }),
    RangeError,
    [[Number.NaN, /remindAfterMs\[1\] must be 0 or a positive number of milliseconds.*, not NaN/]],
  ],
  [
    (response) => client.generateCallbackUrl("a", response),
    TypeError,
    [
      [undefined, /response must be a Response, a Redirect or a PageResponse, not undefined/],
      [
        new globalThis.Response("x"),
        /not the Response of fetch, a global of Node: import the one of @callback\/client/,
      ],
    ],
  ],
  [(caseId) => client.getCallback(caseId), TypeError, [[undefined, /caseId must be text, not undefined/]]],
  [
    (options) => client.getCallback("5f0c", options),
    TypeError,
    [
      [null, /options of getCallback must be an object, not null/],
      [AbortSignal.abort(), /options of getCallback must be an object, .*: write \{ signal: … \}/],
      [{ timeout: 5 }, /getCallback has no option "timeout"\. Its options are timeoutMs, signal/],
    ],
  ],
  [
    (options) => client.setResponse("5f0c", new Response(), options),
    TypeError,
    [[{ reset: "body" }, /reset must be an array/]],
  ],
  [
    (date) => client.extendCallback("5f0c", date),
    TypeError,
    [
      [5, /expireTime must be a valid Date/],
      [new Date(Number.NaN), /valid Date/],
    ],
  ],
  [
    (options) => client.listCallbacks(options).next(),
    TypeError,
    [
      ["OPEN", /options of listCallbacks/],
      [{ state: "OPEN" }, /no option "state"/],
    ],
  ],
  [
    (pageSize) => client.listCallbacks({ pageSize }).next(),
    RangeError,
    [
      [Number.NaN, /pageSize must be a whole number/],
      [-1, /-1/],
    ],
  ],
  [(options) => client.listCalls("5f0c", options).next(), TypeError, [[{ size: 5 }, /listCalls has no option "size"/]]],
  [
    (filter) => client.listOwnerCalls(filter).next(),
    TypeError,
    [[undefined, /filter must be WAITING, DEAD, not undefined/]],
  ],
  [
    (options) => client.listActivities(options).next(),
    TypeError,
    [[{ name: "a" }, /listActivities has no option "name"/]],
  ],
  [(options) => client.pauseActivity("a", options), TypeError, [["the bank is closed", /options of pauseActivity/]]],
  [
    (options) => client.watchCalls(options),
    TypeError,
    [
      ["5f0c", /options of watchCalls/],
      [{ case: "5f0c" }, /no option "case"/],
    ],
  ],
  [
    (options) => client.waitForCall("5f0c", options),
    TypeError,
    [[5_000, /options of waitForCall must be an object, not 5000: write \{ timeoutMs: /]],
  ],
  [
    (timeoutMs) => client.waitForCall("5f0c", { timeoutMs }),
    RangeError,
    [
      [Number.NaN, /timeoutMs .*, or Infinity, not NaN/],
      [-1, /-1/],
    ],
  ],
  [
    (attributes) => new Response("x", attributes),
    TypeError,
    [
      [{ status: 404 }, /Response has no option "status"\. Its options are type, redirectUrl, code, /],
      [404, /options of Response must be an object, not 404: write \{ code: 404 \}/],
      [{ code: "404" }, /code must be a whole number, at least 0, not text/],
      [{ headers: "x-a: 1" }, /headers must be an object or an iterable of names and values/],
      [{ type: "JSON" }, /type must be .*, not "JSON"/],
    ],
  ],
  [
    (code) => new Response("x", { code }),
    RangeError,
    [[2 ** 31, /code must be a whole number, at least 0, not 2147483648/]],
  ],
  [
    (attributes) => Response.json({}, attributes),
    TypeError,
    [
      [{ status: 404 }, /no option "status"/],
      [404, /options of Response/],
    ],
  ],
  [
    (attributes) => new Redirect("/", attributes),
    TypeError,
    [
      [303, /options of Redirect/],
      [{ url: "/" }, /Redirect has no option "url"/],
    ],
  ],
  [
    (attributes) => new PageResponse("a", "b", attributes),
    TypeError,
    [
      ["/", /options of PageResponse/],
      [{ link: "/" }, /no option "link"/],
    ],
  ],
  [
    (attributes) => new Accept(attributes),
    TypeError,
    [
      [new Redirect("/"), /Accept has no option "type"/],
      [{ response: new globalThis.Response("x") }, /response must be .* of fetch/],
      [{ keepOpen: 1 }, /keepOpen must be true or false, not 1/],
    ],
  ],
  [(attributes) => new Reject("x", attributes), TypeError, [[{ code: 400 }, /Reject has no option "code"/]]],
  [
    (pairs) => new Query(pairs),
    TypeError,
    [
      ["a=1", /argument of Query must be .*URLSearchParams/],
      [{ a: 1 }, /must be text, not text and 1/],
    ],
  ],
  [
    (name) => new Headers().get(name),
    TypeError,
    [[undefined, /for get must be text, not undefined: write get\("name"\)/]],
  ],
  [(name) => new Query().getAll(name), TypeError, [[5, /for getAll must be text, not 5/]]],
  [(name) => new Query().has(name), TypeError, [[null, /for has must be text, not null/]]],
  [
    (activity) => new Handlers().activity(activity, () => {}),
    TypeError,
    [
      [5, /the name of an activity must be text, not 5/],
      ["", /the name of an activity must not be empty/],
    ],
  ],
  [(pairs) => new Headers(pairs), TypeError, [[null, /argument of Headers must be .*, not null/]]],
  [
    (options) => startSystem(options),
    TypeError,
    [
      [{ handler: handlers }, /startSystem has no option "handler"/],
      [{ handlers: {} }, /needs Handlers/],
    ],
  ],
];

describe("a mistake", () => {
  for (const [make, kind, wrongs] of MISTAKES) {
    const name = `${make}`.replace(/^\(\w+\) => /, "").replace(/\s+/g, " ");
    test(`in ${name} is an error that names it`, async () => {
      for (const [wrong, problem] of wrongs) {
        await assert.rejects(
          async () => make(wrong as never),
          (error) => {
            assert(error instanceof kind, `${error}`);
            assert.match(error.message, problem);
            return true;
          },
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

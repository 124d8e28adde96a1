/** Debug output: no way to print or serialize a value shows its secrets. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { format, inspect } from "node:util";
import {
  Accept,
  Call,
  CallbackClient,
  GeneratedCallback,
  HandlerServer,
  Handlers,
  IncomingCall,
  PageResponse,
  Redirect,
  Reject,
  Response,
  Worker,
} from "@callback/client";
import { Events } from "./support.js";

const SECRET = "s3cret";
/** The secret as text, and as the bytes of an array and of a `Buffer`. */
const FORMS = [
  SECRET,
  [...Buffer.from(SECRET)].join(","),
  [...Buffer.from(SECRET)].map((each) => each.toString(16)).join(""),
];

/** The ways in which a program prints or serializes a value. */
const OUTPUTS: Record<string, (value: unknown) => string> = {
  "console.log": (value) => inspect(value),
  "console.log of a text with %s": (value) => format("%s %o %O %j", value, value, value, value),
  "console.dir": (value) => inspect(value, { customInspect: false, depth: null }),
  "console.dir with hidden properties": (value) =>
    inspect(value, { customInspect: false, depth: null, showHidden: true }),
  "util.inspect of everything": (value) => inspect(value, { depth: null, showHidden: true, getters: true }),
  "JSON.stringify": (value) => JSON.stringify(value) ?? "",
  "a text": (value) => `${value}`,
};

/** The places in which a value can stand. */
const PLACES: Record<string, (value: object) => unknown> = {
  alone: (value) => value,
  "in an object": (value) => ({ value }),
  "in an array": (value) => [[value]],
  "in a Map": (value) => new Map([[value, value]]),
  "in a Set": (value) => new Set([value]),
  "in the cause of an error": (value) => new Error("failed", { cause: value }),
  "spread into an object": (value) => ({ ...value }),
  cloned: (value) => structuredClone(value),
};

const request = {
  body: Buffer.from(`code=${SECRET}&${SECRET}=`),
  headers: { cookie: SECRET, [SECRET]: "1" },
  query: { code: SECRET, [SECRET]: "1" },
  queryString: `code=${SECRET}`,
};
const redirect = new Redirect(`/thanks?code=${SECRET}`);
const page = new PageResponse("Thank you", undefined, { linkLabel: "Back", linkUrl: `/?code=${SECRET}` });
const call = new IncomingCall({ activity: "a", response: redirect, ...request });

const made = new GeneratedCallback({
  url: `https://box.example/cb/${SECRET}`,
  state: SECRET,
  caseId: "5f0c",
  expireTime: undefined,
  warnings: [],
});

const VALUES: Record<string, object> = {
  "a generated callback": made,
  "a call of a handler": call,
  "a recorded call": new Call({ status: "SUCCEEDED", response: page, ...request }),
  "a query": call.query,
  headers: call.headers,
  "a form": call.form(),
  "a response": new Response(SECRET, { headers: { "x-a": SECRET } }),
  "a redirect": redirect,
  "a page": page,
  "an Accept": new Accept({ response: redirect }),
  "a Reject": new Reject(SECRET),
  "a client": new CallbackClient({ token: SECRET }),
  "a worker": new Worker(
    new Handlers().activity("a", () => {}),
    { token: SECRET, logger: new Events() },
  ),
  "a handler server": new HandlerServer(
    new Handlers().activity("a", () => {}),
    "127.0.0.1:0",
  ),
};

/** Assert that no output of a value has the secret. */
function assertConcealed(value: object): void {
  for (const [place, put] of Object.entries(PLACES)) {
    for (const [way, output] of Object.entries(OUTPUTS)) {
      let placed: unknown;
      try {
        placed = put(value);
      } catch (error) {
        assert.equal((error as Error).name, "DataCloneError"); // what cannot be cloned shows nothing
        continue;
      }
      const text = output(placed);
      const dense = text.replaceAll(/\s/g, "");
      assert(!FORMS.some((form) => dense.includes(form)), `${place}, ${way}: ${text}`);
    }
  }
}

describe("debug output", () => {
  for (const [name, value] of Object.entries(VALUES)) {
    test(`of ${name} has no secret`, () => assertConcealed(value));
  }

  test("has a token not even where it calls getters, as the README says", () => {
    const shown = (value: unknown): string => inspect(value, { getters: true, customInspect: false, showHidden: true });
    for (const name of ["a client", "a worker"]) {
      assert(!shown(VALUES[name]).includes(SECRET), name);
    }
    assert(shown(made).includes(SECRET));
  });

  test("says that there is a secret, and the attributes have it", () => {
    assert.match(inspect({ call }), /query: '\*\*\*'/);
    assert.match(inspect(redirect), /Redirect \{.*type: 'REDIRECT'.*redirectUrl: '\*\*\*'/s);
    assert.equal(inspect(call.query), "Query(***)");
    assert.equal(JSON.stringify({ query: call.query }), '{"query":"***"}');
    assert.deepEqual(JSON.parse(JSON.stringify(made)), { caseId: "5f0c", warnings: [], url: "***", state: "***" });
    assert.doesNotMatch(inspect(new Redirect()), /\*/);
    assert.deepEqual([made.url, made.state], [`https://box.example/cb/${SECRET}`, SECRET]);
    assert.deepEqual([redirect.redirectUrl, page.linkUrl], [`/thanks?code=${SECRET}`, `/?code=${SECRET}`]);
    assert.deepEqual(
      [call.query.get("code"), call.form().get("code"), call.headers.get("cookie")],
      Array(3).fill(SECRET),
    );
    assert.deepEqual(call.query.asJson(), { code: SECRET, [SECRET]: "1" });
  });
});

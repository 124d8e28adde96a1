/** Debug output: no way to print or serialize a value shows its secrets. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { inspect } from "node:util";
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
import { assertConcealed, Events, SECRET } from "./support.js";

const request = {
  body: Buffer.from(`code=${SECRET}&${SECRET}=`),
  headers: { cookie: SECRET, [SECRET]: "1" },
  query: { code: SECRET, [SECRET]: "1" },
  queryString: `code=${SECRET}`,
};
const redirect = new Redirect("/thanks", { body: SECRET });
const page = new PageResponse("Thank you", undefined, { linkLabel: "Back", linkUrl: "/", body: SECRET });
const call = new IncomingCall({ activity: "a", response: redirect, ...request });

const made = new GeneratedCallback({
  url: `https://box.example/cb/${SECRET}`,
  state: SECRET,
  caseId: "5f0c",
  expireTime: undefined,
  warnings: [],
});

const form = await new IncomingCall({
  activity: "a",
  headers: { "content-type": "multipart/form-data; boundary=b" },
  body: `--b\r\nContent-Disposition: form-data; name="${SECRET}"; filename="${SECRET}"\r\n\r\n${SECRET}\r\n--b--`,
}).form();

const VALUES: Record<string, object> = {
  "a generated callback": made,
  "a call of a handler": call,
  "a recorded call": new Call({ status: "SUCCEEDED", response: page, ...request }),
  "a query": call.query,
  headers: call.headers,
  "a form": form,
  "a file": form.files[0] ?? {},
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

  test("says that there is a secret, and the attributes have it", async () => {
    assert.match(inspect({ call }), /query: '\*\*\*'/);
    assert.match(inspect(redirect), /Redirect \{.*type: 'REDIRECT'.*redirectUrl: '\/thanks'.*body: '\*\*\*'/s);
    assert.equal(inspect(call.query), "Query(***)");
    assert.equal(JSON.stringify({ query: call.query }), '{"query":"***"}');
    assert.deepEqual(JSON.parse(JSON.stringify(made)), { caseId: "5f0c", warnings: [], url: "***", state: "***" });
    assert.doesNotMatch(inspect(new Redirect()), /\*/);
    assert.deepEqual([made.url, made.state], [`https://box.example/cb/${SECRET}`, SECRET]);
    assert.equal(Buffer.from(redirect.body ?? "").toString(), SECRET);
    assert.deepEqual(
      [call.query.get("code"), (await call.form()).get("code"), call.headers.get("cookie")],
      Array(3).fill(SECRET),
    );
    assert.deepEqual(call.query.asJson(), { code: SECRET, [SECRET]: "1" });
  });
});

/** `verifyHandlerRequest`: the call in a request to an HTTP handler, and the requests that are refused. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { IncomingCall, UnverifiedRequestError, verifyHandlerRequest } from "@callback/client";
import { Webhook } from "standardwebhooks";

const ID = "0123456789abcdef0123456789abcdef-0123456789abcdef";
const SECRET = `whsec_${Buffer.from("handler").toString("base64")}`;
const OTHER_SECRET = `whsec_${Buffer.from("other").toString("base64")}`;
const METADATA = {
  callId: ID,
  callbackSystemCase: ID.slice(0, 32),
  callbackActivity: "act",
  owner: "orders",
  attempt: 2,
  deadline: "2020-01-01T00:00:00.000Z",
  timeout: "8.000s",
  reason: "CALL",
  verified: true,
  requestMethod: "put",
  requestQuery: { status: "paid", id: ["5", "6"] },
  verificationProfile: "hub",
  labels: { order: "5" },
  ofALaterRelease: { a: 1 },
};

interface Differing {
  readonly secret?: string;
  readonly now?: number;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** Return the headers of a request that the library of Standard Webhooks has signed. */
function signed(body = "paid", { secret = SECRET, now = Date.now(), metadata = {} }: Differing = {}) {
  const library = new Webhook(secret);
  const text = Buffer.from(JSON.stringify({ ...METADATA, ...metadata })).toString("base64url");
  return {
    "webhook-id": ID,
    "webhook-timestamp": String(Math.floor(now / 1000)),
    "webhook-signature": library.sign(ID, new Date(now), body),
    "callback-metadata": text,
    "callback-metadata-signature": library.sign(`${ID}.metadata`, new Date(now), text),
    "content-type": "text/x",
    traceparent: "00-a-b-01",
  };
}

describe("a request to an HTTP handler", () => {
  test("has its call", () => {
    const call = verifyHandlerRequest(SECRET, signed(), Buffer.from("paid"));
    assert(call instanceof IncomingCall);
    assert.deepEqual([call.callId, call.caseId, call.activity, call.attempt], [ID, ID.slice(0, 32), "act", 2]);
    assert.deepEqual([call.reason, call.method, call.text()], ["CALL", "put", "paid"]);
    assert.equal(call.headers.get("Content-Type"), "text/x");
    assert.deepEqual(call.query.asJson(), { status: "paid", id: ["5", "6"] });
    assert.deepEqual([call.verified, call.verificationProfile, call.labels], [true, "hub", { order: "5" }]);
    assert.equal(call.traceparent, "00-a-b-01");
    const leftMs = call.deadline.getTime() - Date.now();
    assert(leftMs > 0 && leftMs <= 8000, `${leftMs}`);
  });

  test("can have its headers in each form that a program of Node gets", () => {
    const fields = Object.entries(signed()).map(([name, value]): [string, string] => [name.toUpperCase(), value]);
    const distinct = Object.fromEntries(fields.map(([name, value]) => [name, [value]]));
    for (const headers of [fields, new Headers(fields), distinct, { ...signed(), cookie: undefined }]) {
      const call = verifyHandlerRequest(SECRET, headers, "paid");
      assert.equal(call.callId, ID);
      assert.deepEqual(call.headers.pairs.map(([name]) => name).sort(), Object.keys(signed()).sort());
    }
  });

  test("without a request is a notification", () => {
    for (const [reason, expected] of Object.entries({ EXPIRY: "EXPIRY", OF_A_LATER_RELEASE: "UNKNOWN" })) {
      const metadata = { reason, requestMethod: "", requestQuery: {} };
      const notification = verifyHandlerRequest(SECRET, signed("", { metadata }), new Uint8Array());
      assert.deepEqual([notification.reason, notification.callId, notification.headers.size], [expected, ID, 0]);
    }
  });

  test("can be signed with one of several secrets", () => {
    assert.equal(verifyHandlerRequest([OTHER_SECRET, `${SECRET}\n`], signed(), "paid").callId, ID);
    const both = { ...signed() };
    for (const name of ["webhook-signature", "callback-metadata-signature"] as const) {
      both[name] = `${signed("paid", { secret: OTHER_SECRET })[name]} ${both[name]}`;
    }
    for (const secret of [SECRET, OTHER_SECRET]) {
      assert.equal(verifyHandlerRequest(secret, both, "paid").callId, ID);
    }
  });

  for (const [name, value] of [
    ["webhook-id", "other"],
    ["webhook-signature", ""],
    ["webhook-signature", "v1,"],
    ["webhook-signature", "v1,\u00e9"],
    ["callback-metadata", "e30"],
    ["callback-metadata-signature", ""],
    ["webhook-timestamp", ""],
    ["webhook-timestamp", "1e9"],
    ["webhook-timestamp", "-1"],
  ] as const) {
    test(`with ${name}: ${value} is refused`, () => {
      assert.throws(() => verifyHandlerRequest(SECRET, { ...signed(), [name]: value }, "paid"), UnverifiedRequestError);
    });
  }

  test("with the signature of its body in place of that of its metadata is refused", () => {
    const headers = signed();
    headers["callback-metadata-signature"] = headers["webhook-signature"];
    assert.throws(() => verifyHandlerRequest(SECRET, headers, "paid"), UnverifiedRequestError);
  });

  test("with another body, secret or time is refused", () => {
    for (const [headers, body] of [
      [signed(), "open"],
      [signed("paid", { secret: OTHER_SECRET }), "paid"],
      [signed("paid", { now: Date.now() - 310_000 }), "paid"],
      [signed("paid", { now: Date.now() + 310_000 }), "paid"],
      [{}, ""],
    ] as const) {
      assert.throws(() => verifyHandlerRequest(SECRET, headers, body), UnverifiedRequestError);
    }
  });

  test("with a wrong argument is an error of the program", () => {
    for (const secret of ["", "hunter2", "whsec_", "whsec_!", "whsec_aGk", "whpk_aHVudGVyMg=="]) {
      assert.throws(() => verifyHandlerRequest(secret, signed(), "paid"), {
        name: "TypeError",
        message: /^the secret[^2]+$/,
      });
    }
    for (const body of [undefined, { status: "paid" }]) {
      assert.throws(() => verifyHandlerRequest(SECRET, signed(), body as never), /^TypeError: the body must be bytes/);
    }
  });
});

/** The vectors that the clients of all languages read: what each makes of headers, queries and forms. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Headers, IncomingCall, Query } from "@callback/client";

type Pair = [string, string];

interface Vector {
  readonly name: string;
  readonly pairs: Pair[];
  readonly json: Record<string, string | string[]>;
  readonly first?: Record<string, string>;
  readonly all?: Record<string, string[]>;
  readonly body_base64?: string;
}

function vectorsOf(kind: string): Vector[] {
  return JSON.parse(readFileSync(join("..", "conformance", "vectors", `${kind}.json`), "utf8"));
}

describe("vectors", () => {
  for (const { name, pairs, json, first = {}, all = {} } of vectorsOf("headers")) {
    test(`headers: ${name}`, () => {
      const headers = new Headers(pairs);
      assert.deepEqual(headers.asJson(), json);
      for (const [key, value] of Object.entries(first)) {
        assert.equal(headers.get(key), value);
      }
      for (const [key, values] of Object.entries(all)) {
        assert.deepEqual(headers.getAll(key), values);
      }
    });
  }

  for (const { name, pairs, json } of vectorsOf("query")) {
    test(`query: ${name}`, () => assert.deepEqual(new Query(pairs).asJson(), json));
  }

  for (const { name, pairs, json, body_base64 = "" } of vectorsOf("form")) {
    test(`form: ${name}`, () => {
      const form = new IncomingCall({ activity: "a", body: Buffer.from(body_base64, "base64") }).form();
      assert.deepEqual(form.pairs, pairs);
      assert.deepEqual(form.asJson(), json);
    });
  }
});

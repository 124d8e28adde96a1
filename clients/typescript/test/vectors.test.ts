/** The vectors that the clients of all languages read: what each makes of headers, queries and forms. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Headers, IncomingCall, Query, Reject } from "@callback/client";

type Pair = [string, string];

interface Vector {
  readonly name: string;
  readonly pairs: Pair[];
  readonly json: Record<string, string | string[]>;
  readonly first?: Record<string, string>;
  readonly all?: Record<string, string[]>;
  readonly body_base64?: string;
}

/** A form with files. Each character of `body`, `end` and the content of a file is a byte. */
interface MultipartVector {
  readonly name: string;
  readonly content_types: string[];
  readonly body: string;
  readonly repeat?: number;
  readonly end?: string;
  readonly refused?: boolean;
  readonly count?: number;
  readonly pairs?: Pair[];
  readonly files?: { field: string; filename: string; content_type: string; content: string }[];
}

function multipartVectors(): MultipartVector[] {
  return JSON.parse(readFileSync(join("..", "conformance", "vectors", "multipart.json"), "utf8"));
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
    test(`form: ${name}`, async () => {
      const form = await new IncomingCall({ activity: "a", body: Buffer.from(body_base64, "base64") }).form();
      assert.deepEqual(form.pairs, pairs);
      assert.deepEqual(form.asJson(), json);
    });
  }

  for (const { name, content_types, body, repeat = 1, end = "", ...expected } of multipartVectors()) {
    test(`multipart: ${name}`, async () => {
      const headers = content_types.map((each): Pair => ["content-type", each]);
      const octets = Buffer.from(body.repeat(repeat) + end, "latin1");
      const read = new IncomingCall({ activity: "a", headers, body: octets }).form();
      if (expected.refused) {
        await assert.rejects(read, (error) => error instanceof Reject && error.response?.code === 400);
        return;
      }
      const { pairs, files } = await read;
      if (expected.count !== undefined) {
        assert.equal(pairs.length, expected.count);
        return;
      }
      assert.deepEqual(pairs, expected.pairs);
      assert.deepEqual(
        files.map(({ field, filename, contentType, content }) => ({
          field,
          filename,
          content_type: contentType,
          content: Buffer.from(content).toString("latin1"),
        })),
        expected.files,
      );
    });
  }
});

/**
 * The resolver of the mixed run: it gives each held call its id as the answer, and prints a step of the history for each
 * answer that the server confirmed. `mixed_resolver.mjs TARGET` runs until it is ended.
 */

import { setTimeout as after } from "node:timers/promises";
import { CallbackClient, CallbackError, Response } from "@callback/client";

const client = new CallbackClient({ target: process.argv[2], timeoutMs: 2_000 });
const INTERVAL_MS = 100;
/** A server that is away, and what another attempt has done already. */
const EXPECTED = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "NOT_FOUND", "FAILED_PRECONDITION"];

async function expected(doing) {
  try {
    return await doing();
  } catch (error) {
    if (!(error instanceof CallbackError && EXPECTED.includes(error.code))) {
      throw error;
    }
  }
}

async function resolve(call) {
  await expected(async () => {
    await client.resolveCallback(call.caseId, new Response(call.callId, { code: 200 }));
    const step = { step: "answered", at: Date.now() / 1000, case_id: call.caseId, call_id: call.callId };
    process.stdout.write(`${JSON.stringify(step)}\n`);
  });
}

for (;;) {
  await expected(async () => {
    const { items } = await client.listOwnerCallsPage("WAITING");
    await Promise.all(items.map(resolve));
  });
  await after(INTERVAL_MS);
}

/**
 * A worker of the mixed run: what callback_prove.worker is for Python, with the same diary. `mixed_worker.mjs TARGET DIARY`.
 */

import { appendFileSync } from "node:fs";
import { setTimeout as after } from "node:timers/promises";
import { Handlers, Reject, Response, Worker } from "@callback/client";

const [target, diary] = process.argv.slice(2);
const LONGEST_MS = 300;

function note(what, call) {
  const line = {
    what,
    at: Date.now() / 1000,
    case_id: call.caseId,
    call_id: call.callId,
    attempt: call.attempt,
    deadline: call.deadline.getTime() / 1000,
  };
  appendFileSync(diary, `${JSON.stringify(line)}\n`);
}

const handlers = new Handlers().activity("pulled", async (call, { signal }) => {
  note("begun", call);
  let outcome = "cancelled";
  try {
    await after(Math.random() * LONGEST_MS, undefined, { signal });
    outcome = ["failed", "rejected"][Math.floor(Math.random() * 10)] ?? "done";
  } finally {
    note(outcome, call);
  }
  if (outcome === "failed") {
    throw new Error("a failure that the run asked for");
  }
  if (outcome === "rejected") {
    throw new Reject();
  }
  return new Response(call.callId, { code: 200 });
});

await new Worker(handlers, { target }).run();

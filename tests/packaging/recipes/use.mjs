// Use the new facts of `test_contributing.py` with the client for Node: `use.mjs TARGET CASE`.

import assert from "node:assert/strict";
import { inspect } from "node:util";
import { Call, CallbackClient, ErrorReason, Redirect, Response } from "./dist/index.js";

const [target, caseId] = process.argv.slice(2);
const client = new CallbackClient({ target });
try {
  const found = await client.getCallback(caseId);
  assert.equal(found.response.disposition, "inline");
  assert.equal(found.ownerNote, "for me alone");
  assert.doesNotMatch(inspect(found), /for me alone/);
  assert.equal(new Redirect("/x", { disposition: "inline" }).disposition, "inline");
  await assert.rejects(
    client.generateCallbackUrl("retired", new Response("", { disposition: "inline" }), { ownerNote: "for me" }),
    (error) => error.reason === ErrorReason.ACTIVITY_RETIRED,
  );
  for await (const each of client.listCallbacks({ verificationProfile: "none" })) {
    assert.fail(each.caseId);
  }
  assert.equal((await client.getOwnerStatistics("local")).owner, "local");
  const calls = client.listCalls(caseId);
  for await (const call of calls) {
    assert.ok(call instanceof Call && typeof call.answerDigits === "number");
  }
} finally {
  client.close();
}

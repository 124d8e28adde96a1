/**
 * The client driver under test for the package of Node: what clients/conformance/README.md asks of one.
 *
 * `callback conform --client -- node clients/conformance/typescript/client.mjs` runs it, where `@callback/client` is
 * installed.
 */

import { createInterface } from "node:readline";
import { CallbackClient, CallbackError, Response } from "@callback/client";

const { CALLBACK_CA_FILE, CALLBACK_TARGET, CALLBACK_TOKEN_FILE } = process.env;

const client = new CallbackClient({
  target: CALLBACK_TARGET,
  tls: CALLBACK_CA_FILE ? { caFile: CALLBACK_CA_FILE } : undefined,
  tokenFile: CALLBACK_TOKEN_FILE,
});

/** Do what a command says, and return its result. */
async function run(command) {
  const { activity, case_id: caseId, count, request_id: requestId, resume_token: resumeToken } = command;
  const timeoutMs = command.timeout_s && command.timeout_s * 1_000;
  switch (command.do) {
    case "generate": {
      const given = { requestId, timeoutMs };
      if (command.choices) {
        given.getGuard = "CONFIRM";
        given.prompt = { title: "Choose", choices: command.choices.map((value) => ({ value, label: value })) };
      }
      const name = command.is_no_unicode ? "\ud800" : activity;
      const made = await client.generateCallbackUrl(name, new Response("ok"), given);
      return { case_id: made.caseId, url: made.url };
    }
    case "get": {
      const found = await client.getCallback(caseId, { timeoutMs });
      return { case_id: found.caseId, activity: found.activity, status: found.status };
    }
    case "watch": {
      const watch = await client.watchCalls({ caseId, resumeToken, timeoutMs });
      const events = [];
      for await (const event of watch) {
        events.push({ type: event.type, case_id: event.caseId, call_id: event.callId });
        if (events.length === count) {
          break; // ends the watch
        }
      }
      return { events, resume_token: watch.resumeToken };
    }
    case "wait":
      return { call_id: (await client.waitForCall(caseId, { timeoutMs })).callId };
    case "close":
      client.close();
      return {};
    default:
      throw new Error(`no such command: ${command.do}`);
  }
}

/** Return an error as an object. */
function errorOf({ reason, code, facts, retryAfterMs, violations }) {
  return { reason, code, facts, retry_after_s: retryAfterMs === undefined ? null : retryAfterMs / 1_000, violations };
}

for await (const line of createInterface(process.stdin)) {
  let result;
  try {
    result = { ok: await run(JSON.parse(line)) };
  } catch (error) {
    if (error instanceof TypeError) {
      result = { refused: true };
    } else if (error instanceof CallbackError) {
      result = { error: errorOf(error) };
    } else {
      throw error;
    }
  }
  console.log(JSON.stringify(result));
}
client.close();

/**
 * The worker under test for the package of Node: what clients/conformance/README.md asks of a worker program.
 *
 * `callback conform -- node clients/conformance/typescript/worker.mjs` runs it, where `@callback/client` is installed.
 */

import { once } from "node:events";
import { setTimeout as after } from "node:timers/promises";
import { Accept, HandlerServer, Handlers, Reject, Response, Worker } from "@callback/client";

const { CALLBACK_ACTIVITY, CALLBACK_ADDRESS, CALLBACK_CA_FILE, CALLBACK_MAX_CALLS } = process.env;
const { CALLBACK_RUNS, CALLBACK_TARGET, CALLBACK_TOKEN_FILE } = process.env;
const MIB = 1 << 20;

const handlers = new Handlers()
  .activity(CALLBACK_ACTIVITY, async (call, { signal }) => {
    console.log(`started ${call.callId}`);
    signal.addEventListener("abort", () => console.log(`cancelled ${call.callId}`));
    switch (call.activityCase) {
      case "reject":
        throw new Reject(new Response("no", { code: 422 }));
      case "fail":
        throw new Error("as the scenario says");
      case "wait":
        await once(signal, "abort");
        signal.throwIfAborted();
        break;
      case "sleep":
        await after(500, undefined, { signal });
        break;
      case "large":
        return new Response(new Uint8Array(17 * MIB), { code: 201 });
      case "five":
        return new Response(new Uint8Array(5 * MIB), { code: 201 });
      case "echo":
        return new Response(undefined, {
          code: 201,
          headers: call.headers.getAll("x-value").map((value) => ["x-echo", value]),
        });
    }
    return new Response("done", { code: 201 });
  })
  .notification(CALLBACK_ACTIVITY, ({ callId }) => {
    console.log(`notified ${callId}`);
    return new Accept();
  });

if (CALLBACK_ADDRESS) {
  await new HandlerServer(handlers, CALLBACK_ADDRESS).run(); // with --handlers
  process.exit();
}
const worker = new Worker(handlers, {
  target: CALLBACK_TARGET,
  tls: CALLBACK_CA_FILE ? { caFile: CALLBACK_CA_FILE } : undefined,
  tokenFile: CALLBACK_TOKEN_FILE,
  maxCalls: Number(CALLBACK_MAX_CALLS),
});
for (let runs = 0; runs < Number(CALLBACK_RUNS); runs += 1) {
  await worker.run();
}

/** The running system that all tests share, with the handlers of the tests. */

import {
  type Answer,
  type Handler,
  type HandlerContext,
  HandlerServer,
  Handlers,
  type IncomingCall,
} from "@callback/client";
import { type System, startSystem } from "@callback/client/testing";
import { Events } from "./support.js";

const replaced = new Map<string, Handler>();

/** Let a handler decide the calls of an activity, until the next one replaces it. */
export function handle(activity: "order" | "pushed", handler: Handler): void {
  replaced.set(activity, handler);
}

function decide(call: IncomingCall, context: HandlerContext): Answer | Promise<Answer> {
  return replaced.get(call.activity)?.(call, context);
}

/** Why the signals of the activities `brief` and `pushed-brief` aborted. */
export const aborted = new Map<string, string>();

async function untilWithdrawn({ activity }: IncomingCall, { signal }: HandlerContext): Promise<void> {
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  aborted.set(activity, String(signal.reason));
}

/** The notifications that arrived, by the id of their case. */
export const notified = new Map<string, string[]>();

const handlers = new Handlers()
  .activity("order", decide)
  .activity("brief", untilWithdrawn)
  .notification("order", ({ caseId, reason }) => {
    notified.set(caseId, [...(notified.get(caseId) ?? []), reason]);
  });

export const events = new Events();
const pushed = new Handlers()
  .activity("pushed", decide)
  .activity("pushed-brief", untilWithdrawn)
  .notification("pushed", ({ caseId, reason }) => {
    notified.set(caseId, [...(notified.get(caseId) ?? []), reason]);
  });
export const pushServer = await new HandlerServer(pushed, "127.0.0.1:0", { logger: events }).start();

const starting = startSystem({
  handlers,
  logger: events,
  config: `
[server]
platform_url = "https://shop.example"

[activities.brief]
deadline_s = 0.5

[activities.pushed]
target = "${pushServer.address}"

[activities.pushed-brief]
target = "${pushServer.address}"
deadline_s = 0.5

[activities.pushed-unknown]
target = "${pushServer.address}"
`,
});
// Without a system there are no tests, and the server would keep the process alive.
starting.catch(() => pushServer.stop());
export const system: System = await starting;

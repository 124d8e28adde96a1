/**
 * Handlers: the functions that decide on calls, by activity.
 *
 * ```ts
 * const handlers = new Handlers().activity("order-paid", async (call) => {
 *   if (!call.query.has("trxid")) {
 *     throw new Reject("trxid is missing");
 *   }
 *   return new Redirect("/page/thankyou");
 * });
 * ```
 *
 * A `Worker` connects to the server and receives calls from it. The alternative is a `HandlerServer`, to which the
 * Callback server connects at an address of its configuration. The result of a call is the same in both cases:
 *
 * 1. A `Response` (or `Redirect`, or `PageResponse`) accepts the call and overrides the case's response, attribute by
 *    attribute. Undefined or null accepts the call and keeps the case's response. `Accept` does either, and can keep the
 *    case open, or close it.
 * 2. A thrown `Reject` rejects the call: the caller sent incorrect data. Only the response of the `Reject` is used.
 * 3. Any other error fails the call. It is logged here with the id of the call; it is not sent to the server.
 * 4. A response that the server cannot render, such as one with the code 302 or a body larger than 1 MiB, fails the call.
 *    The server reports the problem, and it is logged here.
 * 5. The signal of the context aborts at the deadline of the call, and when its server is lost. The server decides when:
 *    no clock of this machine does. A result after that has no effect. It does not abort when the caller disconnects.
 * 6. A handler of notifications gets reminders and the expiry. Without one, a program gets calls alone.
 */

import { described, text } from "./checks.js";
import type { IncomingCall } from "./contract/values.js";
import type { Answer } from "./decisions.js";
import type { Request } from "./request.js";

/**
 * What a handler is told without a call: a reminder is due, or the case has expired. It has what an `IncomingCall` has
 * beside the request of a caller.
 */
export type Notification = Omit<
  IncomingCall,
  keyof Request | "method" | "queryString" | "clientAddress" | "messageId" | "choice" | "response"
>;

/** What a handler gets beside its call. */
export interface HandlerContext {
  /** Aborts when the result of the handler is of no use any more. Pass it to what the handler waits for. */
  readonly signal: AbortSignal;
}

/** A function that decides on a call. */
export type Handler = (call: IncomingCall, context: HandlerContext) => Answer | Promise<Answer>;

/**
 * A function that takes a notification. What it returns or throws counts as for a call: undefined takes the notification;
 * a `Reject` refuses it for good; any other error fails the attempt, and the server tries again later. There is no
 * caller, so a response has no effect.
 */
export type NotificationHandler = (notification: Notification, context: HandlerContext) => Answer | Promise<Answer>;

/** The handlers of a service, by activity. */
export class Handlers {
  readonly #handlers = new Map<string, Handler>();
  readonly #notificationHandlers = new Map<string, NotificationHandler>();

  /** The activities that have a handler of their calls. */
  get activities(): readonly string[] {
    return [...this.#handlers.keys()];
  }

  /** The activities that have a handler of their notifications. */
  get notificationActivities(): readonly string[] {
    return [...this.#notificationHandlers.keys()];
  }

  /** Return the handler of the calls of an activity. Undefined if it has none. */
  get(activity: string): Handler | undefined {
    return this.#handlers.get(activity);
  }

  /** Return the handler of the notifications of an activity. Undefined if it has none. */
  getNotification(activity: string): NotificationHandler | undefined {
    return this.#notificationHandlers.get(activity);
  }

  /**
   * Register the handler of the calls of an activity.
   *
   * @throws TypeError: It is no function, or the name is empty or already has a handler.
   */
  activity(name: string, handler: Handler): this {
    register(this.#handlers, name, handler);
    return this;
  }

  /**
   * Register the handler of the notifications of an activity: reminders and the expiry of a callback with `notify`.
   *
   * @throws TypeError: It is no function, or the name is empty or already has a handler of notifications.
   */
  notification(name: string, handler: NotificationHandler): this {
    register(this.#notificationHandlers, name, handler);
    return this;
  }
}

/** Check that a value is handlers, at least one. @throws TypeError: It is not. The message says what needs them, and how to make them. */
export function requireHandlers(what: string, handlers: unknown): asserts handlers is Handlers {
  if (!(handlers instanceof Handlers)) {
    const example = 'new Handlers().activity("order-paid", (call) => …)';
    throw new TypeError(`${what} needs Handlers, not ${described(handlers)}: pass ${example}`);
  }
  if (handlers.activities.length + handlers.notificationActivities.length === 0) {
    throw new TypeError(`${what} needs at least one handler: register it with Handlers.activity`);
  }
}

function register<Any>(table: Map<string, Any>, name: string, handler: Any): void {
  text("the name of an activity", name);
  if (name === "") {
    throw new TypeError("the name of an activity must not be empty");
  }
  if (table.has(name)) {
    throw new TypeError(`the activity ${JSON.stringify(name)} already has a handler`);
  }
  if (typeof handler !== "function") {
    throw new TypeError(`the handler of ${JSON.stringify(name)} is not a function`);
  }
  table.set(name, handler);
}

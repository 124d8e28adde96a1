/** Helpers of the tests. */

import { EventEmitter, once } from "node:events";
import type { Logger } from "@callback/client";

/** A promise with its functions. */
export class Deferred<T = void> {
  resolve!: (value: T) => void;
  reject!: (error: unknown) => void;
  readonly promise = new Promise<T>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}

/** A logger that keeps its events. */
export class Events implements Logger {
  readonly all: { readonly event: string; readonly values: Readonly<Record<string, unknown>> }[] = [];
  readonly #news = new EventEmitter();

  info = (values: Readonly<Record<string, unknown>>, event: string): void => this.#add(values, event);
  warn = (values: Readonly<Record<string, unknown>>, event: string): void => this.#add(values, event);
  error = (values: Readonly<Record<string, unknown>>, event: string): void => this.#add(values, event);

  /** Wait for an event, and return its values. */
  async of(event: string): Promise<Readonly<Record<string, unknown>>> {
    for (;;) {
      const found = this.all.find((each) => each.event === event);
      if (found !== undefined) {
        return found.values;
      }
      await once(this.#news, "news");
    }
  }

  #add(values: Readonly<Record<string, unknown>>, event: string): void {
    this.all.push({ event, values });
    this.#news.emit("news");
  }
}

/** A promise that rejects when a signal aborts, and how often it has done so. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

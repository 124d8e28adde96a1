/** Helpers of the tests. */

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { setTimeout as after } from "node:timers/promises";
import { format, inspect } from "node:util";
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

  /** Wait for an event with certain values, and return all its values. */
  async of(event: string, values: Readonly<Record<string, unknown>> = {}): Promise<Readonly<Record<string, unknown>>> {
    const given = Object.entries(values);
    for (;;) {
      const found = this.all.find(
        (each) => each.event === event && given.every(([name, value]) => each.values[name] === value),
      );
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

/** A promise that rejects when a signal aborts. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Ask until there is an answer, for at most a minute. */
export async function until<T>(ask: () => T | Promise<T>): Promise<NonNullable<Exclude<T, false>>> {
  const end = performance.now() + 60_000;
  for (;;) {
    const answer = await ask();
    if (answer) {
      return answer as NonNullable<Exclude<T, false>>;
    }
    if (performance.now() > end) {
      throw new Error(`still not so: ${ask}`);
    }
    await after(20);
  }
}

/** Return all items of a list. */
export async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}

/** A text that no output may have. */
export const SECRET = "s3cret";
/** The secret as text, and as the bytes of an array and of a `Buffer`. */
const FORMS = [
  SECRET,
  [...Buffer.from(SECRET)].join(","),
  [...Buffer.from(SECRET)].map((each) => each.toString(16)).join(""),
];

/** The ways in which a program prints or serializes a value. */
const OUTPUTS: Record<string, (value: unknown) => string> = {
  "console.log": (value) => inspect(value),
  "console.log of a text with %s": (value) => format("%s %o %O %j", value, value, value, value),
  "console.dir": (value) => inspect(value, { customInspect: false, depth: null }),
  "console.dir with hidden properties": (value) =>
    inspect(value, { customInspect: false, depth: null, showHidden: true }),
  "util.inspect of everything": (value) => inspect(value, { depth: null, showHidden: true, getters: true }),
  "JSON.stringify": (value) => JSON.stringify(value) ?? "",
  "a text": (value) => `${value}`,
};

/** The places in which a value can stand. */
const PLACES: Record<string, (value: object) => unknown> = {
  alone: (value) => value,
  "in an object": (value) => ({ value }),
  "in an array": (value) => [[value]],
  "in a Map": (value) => new Map([[value, value]]),
  "in a Set": (value) => new Set([value]),
  "in the cause of an error": (value) => new Error("failed", { cause: value }),
  "spread into an object": (value) => ({ ...value }),
  cloned: (value) => structuredClone(value),
};

/** Assert that no output of a value has the secret. */
export function assertConcealed(value: object): void {
  for (const [place, put] of Object.entries(PLACES)) {
    for (const [way, output] of Object.entries(OUTPUTS)) {
      let placed: unknown;
      try {
        placed = put(value);
      } catch (error) {
        assert.equal((error as Error).name, "DataCloneError"); // what cannot be cloned shows nothing
        continue;
      }
      const text = output(placed);
      const dense = text.replaceAll(/\s/g, "");
      assert(!FORMS.some((form) => dense.includes(form)), `${place}, ${way}: ${text}`);
    }
  }
}

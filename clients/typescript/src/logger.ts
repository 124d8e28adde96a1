/** Log output: events with one `snake_case` name each, and their values. */

import { inspect } from "node:util";

/** A logger with the methods of pino and of Fastify's `log`. */
export interface Logger {
  info(values: Readonly<Record<string, unknown>>, event: string): void;
  warn(values: Readonly<Record<string, unknown>>, event: string): void;
  error(values: Readonly<Record<string, unknown>>, event: string): void;
}

/** The default logger: one line for each event on standard error. */
export const standardErrorLogger: Logger = {
  info: (values, event) => write("info", event, values),
  warn: (values, event) => write("warning", event, values),
  error: (values, event) => write("error", event, values),
};

function write(level: string, event: string, values: Readonly<Record<string, unknown>>): void {
  const words = Object.entries(values).map(([name, value]) => `${name}=${textOf(value)}`);
  process.stderr.write(`${[`callback: ${level} ${event}`, ...words].join(" ")}\n`);
}

function textOf(value: unknown): string {
  if (value instanceof Error) {
    return value.stack ?? String(value);
  }
  if (typeof value === "string") {
    return /^[!-~]+$/.test(value) ? value : JSON.stringify(value);
  }
  return inspect(value, { breakLength: Number.POSITIVE_INFINITY }); // a handler can throw anything, which JSON may not have
}

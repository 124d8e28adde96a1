/** Concealing of secrets in debug output: `util.inspect` and so `console.log` show a mask, and JSON leaves them out. */

import { type InspectOptions, inspect } from "node:util";

const MASK = "***";

/** The names of the secrets of an object. */
const secrets = new WeakMap<object, readonly string[]>();

/** The attributes of a class, without its methods. */
export type Attributes<T> = { [K in keyof T as T[K] extends (...args: never[]) => unknown ? never : K]: T[K] };

/** Base class of values with secrets. */
export abstract class Concealing {
  /** @internal */
  [inspect.custom](depth: number, options: InspectOptions, show: typeof inspect): string {
    const shown: Record<string, unknown> = Object.fromEntries(Object.entries(this));
    for (const name of secrets.get(this) ?? []) {
      shown[name] = MASK;
    }
    return depth < 0 ? `[${this.constructor.name}]` : `${this.constructor.name} ${show(shown, options)}`;
  }
}

/** Define the properties of an object that are secrets. They are not enumerable, and cannot be changed. */
export function conceal(object: Concealing, values: Readonly<Record<string, unknown>>): void {
  secrets.set(
    object,
    Object.keys(values).filter((name) => values[name] !== undefined),
  );
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(object, name, { value, enumerable: false });
  }
}

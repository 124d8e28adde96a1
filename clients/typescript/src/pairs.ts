/**
 * Headers and query parameters: ordered multi-mappings of names and values.
 *
 * 1. They keep the order and every repeated name (`pairs`, `getAll`).
 * 2. `get` gives the first value of a name. Names in `Headers` are case-insensitive.
 * 3. `asJson` returns the flat form: `{"id": "5", "status": "ok"}`; a repeated name has an array.
 * 4. Debug output and JSON have a mask in place of names and values: both can be secrets.
 */

import { inspect } from "node:util";
import { described, must } from "./checks.js";
import { MASK } from "./concealing.js";

/** The accepted input: an object, in which an array as value repeats its name, or pairs of name and value. */
export type PairsLike = Iterable<readonly [string, string]> | Readonly<Record<string, string | readonly string[]>>;

/** Check that a value is an object of names and values, or pairs. Its names and values are checked when they are read. */
export const checkPairs = must(
  "an object or an iterable of names and values, such as new URLSearchParams(text)",
  (value) => typeof value === "object" && value !== null,
);

/** Immutable, ordered multi-mapping of names to values. */
export abstract class Pairs implements Iterable<readonly [string, string]> {
  readonly #pairs: readonly (readonly [string, string])[];
  readonly #values = new Map<string, string[]>();

  /** @throws TypeError: A name or a value is not a string. */
  constructor(pairs: PairsLike = []) {
    checkPairs(`the argument of ${new.target.name}`, pairs);
    this.#pairs = pairs instanceof Pairs ? pairs.pairs : Object.freeze(flat(pairs));
    for (const [name, value] of this.#pairs) {
      const values = this.#values.get(this.key(name));
      if (values === undefined) {
        this.#values.set(this.key(name), [value]);
      } else {
        values.push(value);
      }
    }
  }

  /** All pairs, in order. */
  get pairs(): readonly (readonly [string, string])[] {
    return this.#pairs;
  }

  /** Return the form of a name in which equal names are equal. */
  protected key(name: string): string {
    return name;
  }

  /** Return the first value of a name. Undefined if the name does not occur. */
  get(name: string): string | undefined {
    return this.#valuesOf("get", name)[0];
  }

  /** Return every value of a name, in order. Empty if the name does not occur. */
  getAll(name: string): readonly string[] {
    return [...this.#valuesOf("getAll", name)];
  }

  /** Return whether a name occurs. */
  has(name: string): boolean {
    return this.#valuesOf("has", name).length > 0;
  }

  /** The number of different names. */
  get size(): number {
    return this.#values.size;
  }

  /** Return the flat form: the value of each name, or the array of its values if the name is repeated. */
  asJson(): Record<string, string | string[]> {
    const spelled = new Map(this.#pairs.toReversed().map(([name]) => [this.key(name), name]));
    const entries = [...this.#values].map(([key, values]): [string, string | string[]] => {
      const [first = "", ...others] = values;
      return [spelled.get(key) ?? key, others.length === 0 ? first : [...values]];
    });
    return Object.fromEntries(entries);
  }

  #valuesOf(method: string, name: string): readonly string[] {
    if (typeof name !== "string") {
      throw new TypeError(`the name for ${method} must be text, not ${described(name)}: write ${method}("name")`);
    }
    return this.#values.get(this.key(name)) ?? [];
  }

  [Symbol.iterator](): Iterator<readonly [string, string]> {
    return this.#pairs[Symbol.iterator]();
  }

  /** Return a mask: JSON has no names and values unless they are asked for, as with `asJson`. */
  toJSON(): string {
    return MASK;
  }

  /** @internal */
  [inspect.custom](): string {
    return `${this.constructor.name}(${MASK})`;
  }
}

/** HTTP header fields. Names are case-insensitive. */
export class Headers extends Pairs {
  protected override key(name: string): string {
    return name.toLowerCase();
  }
}

/** Query or form parameters, percent-decoded. */
export class Query extends Pairs {}

/** Return single pairs, after checking that each name and value is text. */
function flat(pairs: PairsLike): (readonly [string, string])[] {
  const given: Iterable<readonly [string, string | readonly string[]]> =
    Symbol.iterator in pairs ? (pairs as Iterable<readonly [string, string]>) : Object.entries(pairs);
  const made: (readonly [string, string])[] = [];
  for (const [name, value] of given) {
    for (const single of Array.isArray(value) ? (value as readonly string[]) : [value as string]) {
      if (typeof name !== "string" || typeof single !== "string") {
        throw new TypeError(`names and values must be text, not ${described(name)} and ${described(single)}`);
      }
      made.push(Object.freeze([name, single] as const));
    }
  }
  return made;
}

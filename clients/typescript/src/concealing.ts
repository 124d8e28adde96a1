/**
 * Concealing of secrets in debug output: `util.inspect` and so `console.log`, and `JSON.stringify`, show a mask.
 *
 * The secrets of an object are in no property of its own, so that a spread, `console.dir` and a copy do not have them.
 */

import { type InspectOptions, inspect } from "node:util";
import type { Pairs, PairsLike } from "./pairs.js";

/** What debug output has in place of a secret. */
export const MASK = "***";

type Secrets = Readonly<Record<string, unknown>>;

const secrets = new WeakMap<object, Secrets>();

/** The attributes of a class, without its methods. */
export type Attributes<T> = { [K in keyof T as T[K] extends (...args: never[]) => unknown ? never : K]: T[K] };

/** What a program may pass as a value of a type. Text stands for its bytes in UTF-8. */
type Input<V> = V extends Pairs ? PairsLike : V extends Uint8Array ? V | string : V;

/** What a value is made from: each attribute except required ones can be left out. */
export type Given<T, Required extends keyof Attributes<T> = never> = {
  readonly [K in Exclude<keyof Attributes<T>, Required>]?: Input<Attributes<T>[K]> | undefined;
} & Pick<Attributes<T>, Required>;

/** Base class of values with secrets. */
export abstract class Concealing {
  /** Return what JSON has of the value: its secrets are masked. */
  toJSON(): Record<string, unknown> {
    return shown(this);
  }

  /** @internal */
  [inspect.custom](depth: number, options: InspectOptions, show: typeof inspect): string {
    return depth < 0 ? `[${this.constructor.name}]` : `${this.constructor.name} ${show(shown(this), options)}`;
  }
}

/** Keep the secrets of an object. Only `secretOf` returns them. */
export function conceal(object: Concealing, values: Secrets): void {
  secrets.set(object, values);
}

/** Return a secret of an object. */
export function secretOf<T>(object: Concealing, name: string): T {
  return secrets.get(object)?.[name] as T;
}

function shown(object: Concealing): Record<string, unknown> {
  const given = Object.entries(secrets.get(object) ?? {}).filter(([, value]) => value !== undefined);
  return { ...object, ...Object.fromEntries(given.map(([name]) => [name, MASK])) };
}

/**
 * Checks of what a program passes: the names of options, and the type and range of each value.
 *
 * 1. An option that is undefined is not given.
 * 2. The error names the option and what it must be. It has no text of the program, which may be a secret.
 * 3. A value of the wrong type, or an unknown name, is a `TypeError`. A number that is out of range is a `RangeError`.
 */

/** The longest time in milliseconds: that of a duration of protobuf, and so of the contract. */
const MAX_MS = 315_576_000_000_000;

/** Checks a value. It throws an error that begins with the name. */
export type Check = (name: string, value: unknown) => void;

/** A check for each option. */
export type Checks<Options> = { readonly [Name in keyof Required<Options>]: Check };

/**
 * Check options: their names, and the value of each.
 *
 * @param what What takes them, such as the name of a class or of a method.
 * @param example What to write, for a program that passes something else.
 * @throws TypeError: They are no object, an option does not exist, or a value has the wrong type.
 * @throws RangeError: A number is out of range.
 */
export function checkOptions(
  what: string,
  options: unknown,
  checks: Readonly<Record<string, Check>>,
  example = "",
): void {
  requireObject(what, options, example || `{ ${isSignal(options) ? "signal" : Object.keys(checks)[0]}: … }`);
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
    if (check === undefined) {
      const names = Object.keys(checks).join(", ");
      throw new TypeError(`${what} has no option ${JSON.stringify(name)}. Its options are ${names}`);
    }
    if (value !== undefined) {
      check(name, value);
    }
  }
}

/** Check that options are an object. @throws TypeError: They are not. The message says what to write. */
export function requireObject(what: string, options: unknown, example: string): asserts options is object {
  if (!isObject(options)) {
    throw new TypeError(`the options of ${what} must be an object, not ${described(options)}: write ${example}`);
  }
}

/** Return the check of a value that must be what a text says. */
export function must(expected: string, holds: (value: unknown) => boolean): Check {
  return (name, value) => {
    if (!holds(value)) {
      throw new TypeError(`${name} must be ${expected}, not ${described(value)}`);
    }
  };
}

/** Return a check that also refuses text that is no Unicode. UTF-8 would have another character in its place. */
function unicode(check: Check): Check {
  return (name, value) => {
    check(name, value);
    if (typeof value === "string" && /\p{Surrogate}/u.test(value)) {
      throw new TypeError(`${name} must be Unicode text, without half of a surrogate pair`);
    }
  };
}

/** Return the check of a number that must be what a text says. */
export function mustBeNumber(expected: string, holds: (value: number) => boolean): Check {
  return (name, value) => {
    if (typeof value !== "number") {
      throw new TypeError(`${name} must be ${expected}, not ${described(value)}`);
    }
    if (!holds(value)) {
      throw new RangeError(`${name} must be ${expected}, not ${value}`);
    }
  };
}

/** Return the check of an object with options of its own, of which some are required. */
export function nested(
  checks: Readonly<Record<string, Check>>,
  example: string,
  required: readonly string[] = [],
): Check {
  return (name, value) => {
    checkOptions(name, value, checks, `${name}: ${example}`);
    for (const each of required) {
      checks[each]?.(`${name}.${each}`, (value as Record<string, unknown>)[each]);
    }
  };
}

/** Return the check of an array, and of each of its values. */
export function arrayOf(each: Check): Check {
  const array = must("an array", Array.isArray);
  return (name, value) => {
    array(name, value);
    (value as unknown[]).forEach((one, index) => {
      each(`${name}[${index}]`, one);
    });
  };
}

/** Return the check of one of the words of an enum. UNKNOWN stands for what a later server sends, and cannot be sent. */
export function wordOf(words: Readonly<Record<string, string>>): Check {
  const others = Object.keys(words).filter((each) => each !== "UNKNOWN");
  return (name, value) => {
    if (typeof value !== "string" || !others.includes(value)) {
      const given = typeof value === "string" ? JSON.stringify(value) : described(value);
      throw new TypeError(`${name} must be ${others.join(", ")}, not ${given}`);
    }
  };
}

export const text = unicode(must("text", (value) => typeof value === "string"));
export const bytes = unicode(
  must("text or bytes", (value) => typeof value === "string" || value instanceof Uint8Array),
);
export const boolean = must("true or false", (value) => typeof value === "boolean");
export const func = must("a function", (value) => typeof value === "function");
export const file = must("the path of a file", (value) => typeof value === "string" || value instanceof URL);
export const date = must("a valid Date", (value) => value instanceof Date && !Number.isNaN(value.getTime()));
export const signal = must("an AbortSignal, such as the signal of an AbortController", isSignal);
export const logger = must("a logger with the methods info, warn and error", isLogger);
export const positiveMs = mustBeNumber("a positive number of milliseconds, at most 10,000 years", (value) => {
  return value > 0 && value <= MAX_MS;
});
export const someMs = mustBeNumber("0 or a positive number of milliseconds, at most 10,000 years", (value) => {
  return value >= 0 && value <= MAX_MS;
});
export const endlessMs = mustBeNumber("a positive number of milliseconds, or Infinity", (value) => value > 0);
export const graceMs = mustBeNumber("0 or a positive number of milliseconds, or Infinity", (value) => value >= 0);
export const whole32 = mustBeNumber("a whole number, at least 0", (value) => {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 31;
});
export const whole64 = mustBeNumber("a whole number, at least 0", (value) => Number.isSafeInteger(value) && value >= 0);

const object = must("an object of names and texts", isObject);

/** Check that a value is an object in which each value is text. */
export const texts: Check = (name, value) => {
  object(name, value);
  for (const [key, each] of Object.entries(value as object)) {
    text(`a name in ${name}`, key);
    text(`${name}.${key}`, each);
  }
};

/** Return what a value is, for an error, without its content. */
export function described(value: unknown): string {
  switch (typeof value) {
    case "string":
      return "text";
    case "number":
    case "boolean":
    case "undefined":
      return String(value);
    case "object":
      break;
    default:
      return `a ${typeof value}`;
  }
  if (value === null || Array.isArray(value)) {
    return value === null ? "null" : "an array";
  }
  if ([globalThis.Response, globalThis.Headers, globalThis.Request].some((each) => value instanceof each)) {
    return `the ${value?.constructor.name} of fetch, a global of Node: import the one of @callback/client`;
  }
  const name = value?.constructor?.name ?? "Object";
  return name === "Object" ? "an object" : `an object of the class ${name}`;
}

/** Return whether a value is an object, and not one of another kind, such as an `AbortSignal` or a `Map`. */
function isObject(value: unknown): value is object {
  return Object.prototype.toString.call(value) === "[object Object]";
}

function isSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener } = (value ?? {}) as Partial<AbortSignal>;
  return typeof aborted === "boolean" && typeof addEventListener === "function";
}

function isLogger(value: unknown): boolean {
  const given = value as Record<string, unknown> | null;
  return ["info", "warn", "error"].every((name) => typeof given?.[name] === "function");
}

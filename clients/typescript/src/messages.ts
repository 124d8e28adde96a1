/** Conversion between the types of protobuf and those of this library. The generated converters use it for each field. */

import {
  type Duration,
  durationMs,
  durationFromMs as exactDurationFromMs,
  type Timestamp,
  timestampDate,
} from "@bufbuild/protobuf/wkt";
import { CallbackError } from "./errors.js";
import type { Pairs } from "./pairs.js";
import { LATEST } from "./request.js";

type Words = Readonly<Record<string, string | number>>;

/** Return the word for an enum's number: undefined for unspecified, UNKNOWN for a number of a newer server. */
export function wordOf<Names extends Words>(
  names: Names,
  number: number,
): Exclude<keyof Names & string, "UNSPECIFIED"> | "UNKNOWN" | undefined {
  return number === 0 ? undefined : ((names[number] ?? "UNKNOWN") as Exclude<keyof Names & string, "UNSPECIFIED">);
}

/** Return the number for an enum's word: that of unspecified if it is undefined or unknown. */
export function numberOf(names: Words, word: string | undefined): number {
  return Number(names[word ?? "UNSPECIFIED"] ?? 0);
}

/** Return the word of a fact: UNKNOWN for one of a newer server. */
export function factOf<Word extends string>(words: Readonly<Record<string, Word>>, fact = ""): Word | "UNKNOWN" {
  return words[fact] ?? "UNKNOWN";
}

/** Return the number of a fact. Undefined if it is none. */
export function countOf(fact = ""): number | undefined {
  return /^\d+$/.test(fact) ? Number(fact) : undefined;
}

/** Return the date of a timestamp. Undefined if it is not set. */
export function dateOf(timestamp: Timestamp | undefined): Date | undefined {
  return timestamp && timestampDate(timestamp);
}

/** Return the deadline by the clock of this machine. Without a timeout, the server's own time is all there is. */
export function deadlineOf(message: { timeout?: Duration | undefined; deadline?: Timestamp | undefined }): Date {
  const { timeout, deadline } = message;
  return timeout === undefined ? (dateOf(deadline) ?? LATEST) : new Date(Date.now() + durationMs(timeout));
}

/** Return the milliseconds of a duration. Undefined if it is not set. */
export function msOf(duration: Duration | undefined): number | undefined {
  return duration && durationMs(duration);
}

/** Return the duration of a time in milliseconds, which is rounded to whole ones. */
export function durationFromMs(milliseconds: number): Duration {
  return exactDurationFromMs(Math.round(milliseconds));
}

/** Return the duration of a time in milliseconds. Undefined if it is not given. */
export function durationOf(milliseconds: number | undefined): Duration | undefined {
  return milliseconds === undefined ? undefined : durationFromMs(milliseconds);
}

/** Return a number as one of 64 bits. Undefined if it is not given. */
export function longOf(value: number | undefined): bigint | undefined {
  return value === undefined ? undefined : BigInt(value);
}

/** Return bytes, those of UTF-8 for a text. */
export function bytesOf<Absent extends undefined>(value: Uint8Array | string | Absent): Uint8Array | Absent {
  return typeof value === "string" ? new TextEncoder().encode(value) : value;
}

/** Return the names and values of messages. */
export function pairsOf(messages: readonly { name: string; value: string }[]): (readonly [string, string])[] {
  return messages.map(({ name, value }) => [name, value] as const);
}

/** Return messages with names and values. */
export function messagesOf({ pairs }: Pairs): { name: string; value: string }[] {
  return pairs.map(([name, value]) => ({ name, value }));
}

/** Return a part of a reply that every server sends. @throws CallbackError: It is missing. */
export function present<Message>(name: string, message: Message | undefined): Message {
  if (message === undefined) {
    throw new CallbackError(`the reply of the server has no ${name}`, { code: "UNKNOWN" });
  }
  return message;
}

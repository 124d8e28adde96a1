/** Retries: how long a request may take in all, and how long to wait between its attempts. */

import { setTimeout as after } from "node:timers/promises";

/** How long a request may take with all its attempts, in milliseconds, unless another timeout is given. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * The time that is left for a request, and the pauses between its attempts.
 *
 * Pauses double from `firstMs` to `longestMs`. Each is shortened at random, so that clients that failed at the same time
 * do not retry at the same time.
 */
export class Backoff {
  readonly #end: number;
  #nextMs: number;
  readonly #longestMs: number;

  constructor(timeoutMs: number, { firstMs = 100, longestMs = 2_000 } = {}) {
    this.#end = performance.now() + timeoutMs;
    this.#nextMs = firstMs;
    this.#longestMs = longestMs;
  }

  /** The milliseconds that are left. Negative after the timeout. */
  get remainingMs(): number {
    return this.#end - performance.now();
  }

  /** Return how many milliseconds to wait before the next attempt. */
  nextPauseMs(atLeastMs = 0): number {
    const pause = this.#nextMs * (0.5 + Math.random() / 2);
    this.#nextMs = Math.min(this.#nextMs * 2, this.#longestMs);
    return Math.max(pause, atLeastMs);
  }
}

/** Wait. @throws The reason of the signal, once it is aborted. */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await after(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

/** Slots of a worker: how many calls it handles at the same time. */

/** A counter of free slots, and those who wait for one, in their order. */
export class Slots {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /** Take a slot, and call the function: now if one is free, or once one is. */
  take(onTaken: () => void): void {
    if (this.#free > 0) {
      this.#free -= 1;
      onTaken();
    } else {
      this.#waiting.add(onTaken);
    }
  }

  /** Stop waiting for a slot. No effect on a function that was called. */
  giveUp(onTaken: () => void): void {
    this.#waiting.delete(onTaken);
  }

  /** Give a slot back. The one that waits the longest takes it. */
  release(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free += 1;
    } else {
      this.#waiting.delete(next);
      next();
    }
  }
}

/** Stop signals of a program whose main job is to run handlers. */

import { signal as abortSignal, type Checks } from "./checks.js";

/** The options of `run` and `start`. */
export interface RunOptions {
  /** Stops what runs, or gives up the start. */
  readonly signal?: AbortSignal | undefined;
}

/** The checks of the options of `run` and `start`. */
export const RUN = { signal: abortSignal } satisfies Checks<RunOptions>;

/** Return what to say of calls that did not end. */
export function callsOf(count: number): string {
  return count === 1 ? "one call did, which is lost" : `${count} calls did, which are lost`;
}

/** A wish to stop. */
export interface Stop {
  /** Resolves with the first SIGTERM or SIGINT, and with the abort of the signal. */
  readonly requested: Promise<void>;
  /** Wait no more: the signals have their usual effect. */
  release(): void;
}

/** Wait for the first SIGTERM or SIGINT, or for the abort of a signal. A second signal has its usual effect. */
export function stopSignal(signal: AbortSignal | undefined): Stop {
  let stop!: () => void;
  const requested = new Promise<void>((resolve) => {
    stop = resolve;
  });
  const release = (): void => {
    process.off("SIGTERM", onStop);
    process.off("SIGINT", onStop);
    signal?.removeEventListener("abort", onStop);
  };
  function onStop(): void {
    release();
    stop();
  }
  process.on("SIGTERM", onStop);
  process.on("SIGINT", onStop);
  signal?.addEventListener("abort", onStop);
  if (signal?.aborted) {
    onStop();
  }
  return { requested, release };
}

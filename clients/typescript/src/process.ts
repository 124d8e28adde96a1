/** Stop signals of a program whose main job is to run handlers. */

/** A wish to stop, until it is disposed. */
export interface Stop extends Disposable {
  /** Resolves with the first SIGTERM or SIGINT, and with the abort of the signal. */
  readonly requested: Promise<void>;
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
  return { requested, [Symbol.dispose]: release };
}

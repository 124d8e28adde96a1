/** Timers of Node. */

/** The longest time of a timer, in milliseconds: 24 days. Node takes a longer one for 1 ms. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Call a function after a time in milliseconds. `Infinity` is allowed: it is as good as never. */
export function callAfter(ms: number, late: () => void): NodeJS.Timeout {
  return setTimeout(late, Math.min(ms, MAX_TIMER_MS));
}

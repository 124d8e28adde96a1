/** Decisions on a call: those that a handler makes, and those that `answerCall` sends for a held call. */

import { Response } from "./response.js";

/** How a call is accepted. */
export interface AcceptAttributes {
  /** Overrides the case's response. Default: the case's response. */
  readonly response?: Response | undefined;
  /** Leaves a single-use case open, so that it can be called again after this success. */
  readonly keepOpen?: boolean;
  /** Closes the case with this success, also where it allows multiple calls. Not together with `keepOpen`. */
  readonly close?: boolean;
  /** Gives this answer only once: the same request again gets a 410. */
  readonly noRepeat?: boolean;
}

/** The decision to accept a call. */
export class Accept {
  /** Overrides the case's response. Undefined keeps the case's response. */
  readonly response: Response | undefined;
  /** Whether a single-use case stays open. */
  readonly keepOpen: boolean;
  /** Whether the case is closed. */
  readonly close: boolean;
  /** Whether the answer is given only once. */
  readonly noRepeat: boolean;

  /** @throws TypeError: The decision contradicts itself, or the response is no `Response`. */
  constructor({ response, keepOpen = false, close = false, noRepeat = false }: AcceptAttributes = {}) {
    if (close && keepOpen) {
      throw new TypeError("an answer cannot both close a callback and keep it open");
    }
    this.response = requireResponse("an Accept takes a Response or nothing", response);
    this.keepOpen = keepOpen;
    this.close = close;
    this.noRepeat = noRepeat;
  }
}

/** The decision to reject a call because its data is incorrect. A handler throws it. */
export class Reject extends Error {
  override readonly name = "Reject";
  /** The response to the caller. Undefined: a page or a problem of the edge. */
  readonly response: Response | undefined;
  /** Whether the answer is given only once. */
  readonly noRepeat: boolean;

  /**
   * @param response The response to the caller; text or bytes become its body. The default code is 422. Default: a page
   *   or a problem of the edge with this code. The case's own response is not used.
   * @param options `noRepeat` gives this answer only once: the same request again gets a 410.
   */
  constructor(response?: Response | Uint8Array | string, { noRepeat = false }: { readonly noRepeat?: boolean } = {}) {
    super("the handler rejected the call");
    const given = typeof response === "string" || response instanceof Uint8Array ? new Response(response) : response;
    this.response = requireResponse("a Reject takes a Response, text, bytes or nothing", given);
    this.noRepeat = noRepeat;
  }
}

/** The types that a handler may return. Undefined and null accept the call, and keep the case's response. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler without a return statement returns void
export type Answer = Response | Accept | null | undefined | void;

/** Return the decision of an answer. @throws TypeError: The answer is no decision. */
export function decisionOf(answer: Answer | Reject): Accept | Reject {
  if (answer instanceof Accept || answer instanceof Reject) {
    return answer;
  }
  const expected = "an answer must be a Response, an Accept, undefined or null";
  return new Accept({ response: requireResponse(expected, answer ?? undefined) });
}

function requireResponse(expected: string, response: unknown): Response | undefined {
  if (response !== undefined && !(response instanceof Response)) {
    throw new TypeError(`${expected}, not ${response === null ? "null" : typeof response}`);
  }
  return response;
}

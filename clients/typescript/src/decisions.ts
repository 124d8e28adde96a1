/** Decisions on a call: those that a handler makes, and those that `answerCall` sends for a held call. */

import { boolean, type Checks, checkOptions, described } from "./checks.js";
import { checkResponse, Response } from "./response.js";

/** How a call is accepted. */
export interface AcceptAttributes {
  /** Overrides the case's response. Default: the case's response. */
  readonly response?: Response | undefined;
  /** Leaves a single-use case open, so that it can be called again after this success. */
  readonly keepOpen?: boolean | undefined;
  /** Closes the case with this success, also where it allows multiple calls. Not together with `keepOpen`. */
  readonly close?: boolean | undefined;
  /** Gives this answer only once: the same request again gets a 410. */
  readonly noRepeat?: boolean | undefined;
}

const ACCEPT = {
  response: checkResponse,
  keepOpen: boolean,
  close: boolean,
  noRepeat: boolean,
} satisfies Checks<AcceptAttributes>;

/** How a call is rejected, beside its response. */
export interface RejectAttributes {
  /** Gives this answer only once: the same request again gets a 410. */
  readonly noRepeat?: boolean | undefined;
}

const REJECT = { noRepeat: boolean } satisfies Checks<RejectAttributes>;

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

  /** @throws TypeError: The decision contradicts itself, or an attribute does not exist or has the wrong type. */
  constructor(attributes: AcceptAttributes = {}) {
    checkOptions("Accept", attributes, ACCEPT, "new Accept({ response })");
    const { response, keepOpen = false, close = false, noRepeat = false } = attributes;
    if (close && keepOpen) {
      throw new TypeError("an answer cannot both close a callback and keep it open");
    }
    this.response = response;
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
   * @throws TypeError: The response is none of these, or an attribute does not exist or has the wrong type.
   */
  constructor(response?: Response | Uint8Array | string, attributes: RejectAttributes = {}) {
    super("the handler rejected the call");
    checkOptions("Reject", attributes, REJECT, "new Reject(response, { noRepeat: true })");
    const { noRepeat = false } = attributes;
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
    throw new TypeError(`${expected}, not ${described(response)}`);
  }
  return response;
}

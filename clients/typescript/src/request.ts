/** What the HTTP requests to callbacks have in common: that of a call which a handler receives, and of a recorded call. */

import { type Attributes, Concealing, type Given } from "./concealing.js";
import { Reject } from "./decisions.js";
import { type Form, readForm } from "./forms.js";
import type { Headers, Query } from "./pairs.js";
import { Response } from "./response.js";

/** The W3C trace context of a request. Both parts may be absent. */
export interface TraceContext {
  /** The trace, the parent and the flags. */
  traceparent?: string | undefined;
  /** What the systems on the way added. */
  tracestate?: string | undefined;
}

/** The latest date: no deadline. */
export const LATEST = new Date(8.64e15);

/** What a request is made from, such as that of a test of a handler: all attributes have defaults. Text is UTF-8. */
export type RequestAttributes<T extends Request> = Given<Omit<Attributes<T>, "verified" | "traceContext">>;

/**
 * An HTTP request to a case, as it arrived.
 *
 * The parts that may hold a state or a credential are concealed: `console.log`, `JSON.stringify` and a spread do not
 * contain them.
 */
export abstract class Request extends Concealing {
  abstract readonly headers: Headers;
  abstract readonly query: Query;
  abstract readonly body: Uint8Array;
  abstract readonly verificationProfile: string;

  /** Whether the request passed a verification profile. A profile that only reports lets others through. */
  get verified(): boolean {
    return this.verificationProfile !== "";
  }

  /** The body as UTF-8 text. Invalid bytes are replaced. */
  text(): string {
    return new TextDecoder().decode(this.body);
  }

  /**
   * Parse the body as JSON.
   *
   * @throws Reject: The body is not JSON: a handler that lets it pass rejects the call with a 400.
   */
  // biome-ignore lint/suspicious/noExplicitAny: as the json() of fetch
  json(): any {
    try {
      return JSON.parse(this.text());
    } catch (cause) {
      const rejection = new Reject(new Response("the body is not JSON", { code: 400 }));
      rejection.cause = cause;
      throw rejection;
    }
  }

  /**
   * Parse the body as a form: urlencoded, which it is without a Content-Type too, or multipart. Files stay in memory; they, and
   * fields, are as large as the edge lets a body be.
   *
   * @throws Reject: The type is that of no form, or a multipart form is not whole, has more than 1,000 parts, or one without
   *   a name: a handler that lets it pass rejects the call with a 400.
   */
  form(): Promise<Form> {
    return readForm(this.headers, this.body);
  }

  /** The trace context of the caller: its `traceparent` and `tracestate`, as a carrier for OpenTelemetry. */
  get traceContext(): TraceContext {
    const [traceparent, tracestate] = [this.headers.get("traceparent"), this.headers.getAll("tracestate").join(",")];
    return { ...(traceparent !== undefined && { traceparent }), ...(tracestate !== "" && { tracestate }) };
  }
}

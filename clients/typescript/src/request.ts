/**
 * HTTP requests to callbacks: that of a call which a handler receives, and that of a recorded call.
 *
 * The parts that may hold a state or a credential are concealed: `console.log`, `JSON.stringify` and a spread do not
 * contain them.
 */

import { type Attributes, Concealing, conceal, secretOf } from "./concealing.js";
import type { CallFailure, CallReason, CallStatus } from "./enums.js";
import { Headers, type PairsLike, Query } from "./pairs.js";
import { Response } from "./response.js";
import type { Delivery } from "./values.js";

/** The W3C trace context of a request. Both parts may be absent. */
export interface TraceContext {
  /** The trace, the parent and the flags. */
  traceparent?: string | undefined;
  /** What the systems on the way added. */
  tracestate?: string | undefined;
}

/** The latest date: no deadline. */
export const LATEST = new Date(8.64e15);

const REQUEST_DEFAULTS = {
  callId: "",
  caseId: "",
  attempt: 1,
  method: "get",
  clientAddress: "",
  verificationProfile: "",
  messageId: "",
  choice: "",
};

const INCOMING_DEFAULTS = {
  activityCase: "",
  response: new Response(),
  labels: {},
  deadline: LATEST,
  replayed: false,
  owner: "",
  traceparent: "",
};

const CALL_DEFAULTS = {
  status: "UNKNOWN",
  reason: "CALL",
  failure: undefined,
  failureDetail: "",
  bodySize: 0,
  verificationFailure: "",
  response: undefined,
  keepOpen: false,
  close: false,
  erased: false,
  startTime: new Date(0),
  endTime: undefined,
  delivery: undefined,
  fallbackSent: false,
  repeatCount: 0,
  callerGone: false,
  answeredBy: "",
} satisfies Partial<Call>;

/** What a request is made from, such as that of a test of a handler: all attributes have defaults. */
export type RequestAttributes<T extends Request> = Partial<
  Omit<Attributes<T>, "headers" | "query" | "body" | "verified" | "traceContext">
> & {
  readonly headers?: PairsLike | undefined;
  readonly query?: PairsLike | undefined;
  /** Text is that of UTF-8. */
  readonly body?: Uint8Array | string | undefined;
};

/** An HTTP request to a case, as it arrived. */
export class Request extends Concealing {
  /**
   * The id of the call. It is the same for every attempt to handle the call. Use it as the idempotency key of work that
   * must not be done twice.
   */
  declare readonly callId: string;
  /** The id of the case. */
  declare readonly caseId: string;
  /**
   * The number of the call on its case: 1 for the first. For the handler of a delivery (ACK mode, or a replay), the
   * number of the attempt to handle this call.
   */
  declare readonly attempt: number;
  /** The HTTP method in lower case: get, post, put, delete or patch. */
  declare readonly method: string;
  /** The address of the client. Empty if it is unknown. */
  declare readonly clientAddress: string;
  /** The verification profile that the request passed. Empty if its sender was not verified. */
  declare readonly verificationProfile: string;
  /** The message id of the sender, as found by the profile. Empty if there is none. */
  declare readonly messageId: string;
  /** The value of the choice that a person made on the page of the callback. Empty if its prompt has no choices. */
  declare readonly choice: string;

  constructor(values: RequestAttributes<Request> = {}) {
    super();
    const { headers, query, queryString = "", body = "", ...shown } = values;
    Object.assign(this, REQUEST_DEFAULTS, shown);
    conceal(this, {
      headers: headers instanceof Headers ? headers : new Headers(headers),
      query: query instanceof Query ? query : new Query(query),
      queryString,
      body: typeof body === "string" ? new TextEncoder().encode(body) : body,
    });
  }

  /** The header fields, in order. Each byte of a value is one character (ISO-8859-1). Concealed in debug output. */
  get headers(): Headers {
    return secretOf(this, "headers");
  }

  /** The query parameters, in order. On `/cbq/` they include the state. Concealed in debug output. */
  get query(): Query {
    return secretOf(this, "query");
  }

  /** The query string as it was sent, without the `?`. Concealed in debug output. */
  get queryString(): string {
    return secretOf(this, "queryString");
  }

  /** The body, byte for byte. Concealed in debug output. */
  get body(): Uint8Array {
    return secretOf(this, "body");
  }

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
   * @throws SyntaxError: The body is not JSON.
   */
  // biome-ignore lint/suspicious/noExplicitAny: as the json() of fetch
  json(): any {
    return JSON.parse(this.text());
  }

  /** Parse the body as the fields of a form (`application/x-www-form-urlencoded`). */
  form(): Query {
    return new Query(new URLSearchParams(this.text()));
  }

  /** The trace context of the caller: its `traceparent` and `tracestate`, as a carrier for OpenTelemetry. */
  get traceContext(): TraceContext {
    const [traceparent, tracestate] = [this.headers.get("traceparent"), this.headers.getAll("tracestate").join(",")];
    return { ...(traceparent !== undefined && { traceparent }), ...(tracestate !== "" && { tracestate }) };
  }
}

/** The call that a handler receives: the request, and the settings of its case. */
export class IncomingCall extends Request {
  /** The activity of the case. */
  declare readonly activity: string;
  /** The text that was given when the case was generated. May be empty. */
  declare readonly activityCase: string;
  /** The response of the case when the call started. The caller gets it unless the handler overrides it. */
  declare readonly response: Response;
  /** The case's labels. */
  declare readonly labels: Readonly<Record<string, string>>;
  /** The time at which the signal of the handler aborts, by the clock of this machine. */
  declare readonly deadline: Date;
  /** Whether the owner replayed the call (`replayCall`). */
  declare readonly replayed: boolean;
  /** The principal that generated the case; `local` where no principals are configured. */
  declare readonly owner: string;
  /**
   * The W3C trace context of this attempt, as the header `traceparent` has it: the parent of the handler's own spans.
   * Empty: the call is not traced. `traceContext` is that of the caller.
   */
  declare readonly traceparent: string;

  /**
   * @param values For a test of a handler:
   *   `new IncomingCall({ activity: "order-paid", query: { trxid: "1" } })`. The other attributes have defaults.
   */
  constructor(values: RequestAttributes<IncomingCall> & Pick<IncomingCall, "activity">) {
    super({ ...INCOMING_DEFAULTS, ...values } as RequestAttributes<Request>);
  }
}

/**
 * A recorded call: its request, its result, and its delivery. With the `reason` REMINDER or EXPIRY it is a
 * notification: it has a delivery, and no request and no result.
 */
export class Call extends Request {
  /** The status of the call. UNKNOWN for a notification, which has none. */
  declare readonly status: CallStatus;
  /** CALL, or the reason of the notification. */
  declare readonly reason: CallReason;
  /** The reason for which the call failed or did not start. Undefined for every other status. */
  declare readonly failure: CallFailure | undefined;
  /** A sentence about the failure. Never shown to the caller. */
  declare readonly failureDetail: string;
  /**
   * The size of the request's body in bytes, even if `body` is left out: in a list, or if the operator does not record
   * bodies.
   */
  declare readonly bodySize: number;
  /**
   * Why the request did not pass a verification profile that only reports. Never shown to the caller. Empty: it passed,
   * or there was no such profile.
   */
  declare readonly verificationFailure: string;
  /**
   * The complete response to the call. Without its body in a list. Undefined unless the call succeeded or was rejected.
   */
  declare readonly response: Response | undefined;
  /** Whether the handler kept a single-use case open after this success. */
  declare readonly keepOpen: boolean;
  /** Whether the handler closed the case with this success, or with the delivery of the call. */
  declare readonly close: boolean;
  /** Whether the recorded content was erased (`eraseCalls`): request, response and `failureDetail` are empty. */
  declare readonly erased: boolean;
  /** The time at which the call claimed its case. */
  declare readonly startTime: Date;
  /** The time at which the call ended. Undefined while it is running. */
  declare readonly endTime: Date | undefined;
  /**
   * The delivery to the handler after the caller got its response. Undefined unless the call was acknowledged (ACK) or
   * replayed, or its caller got a fallback of 2xx or 3xx.
   */
  declare readonly delivery: Delivery | undefined;
  /** Whether the caller gets the case's fallback at the answer deadline. `response` is the later decision. */
  declare readonly fallbackSent: boolean;
  /** The number of requests that were repeats of this call. A repeat is no call: it gets the answer of this one. */
  declare readonly repeatCount: number;
  /**
   * Whether the caller did not get its response: it disconnected before, or the server or edge stopped. It is set when
   * that happens, also while the call runs or is held.
   */
  declare readonly callerGone: boolean;
  /** The principal that answered the held call, or resolved its case. Empty for every other call. */
  declare readonly answeredBy: string;

  constructor(values: RequestAttributes<Call>) {
    super({ ...CALL_DEFAULTS, ...values } as RequestAttributes<Request>);
  }
}

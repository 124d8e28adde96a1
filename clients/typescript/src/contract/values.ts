// Generated from the contract: `python3 tasks.py generate`.

import { Concealing, conceal, type Given, secretOf } from "../concealing.js";
import { bytesOf } from "../messages.js";
import type { Page } from "../paging.js";
import { Headers, Query } from "../pairs.js";
import { LATEST, Request, type RequestAttributes } from "../request.js";
import { Response } from "../response.js";
import type {
  ActivityKind,
  AnswerMode,
  AuditAction,
  AuditProblemKind,
  CallbackStatus,
  CallEventType,
  CallFailure,
  CallReason,
  CallStatus,
  CheckOutcome,
  CloseReason,
  DeliveryStatus,
  FieldKind,
  FindingLevel,
  GetGuard,
  WarningReason,
} from "./enums.js";

/** Who changed what, and when. It has no state, no URL, no body, no header and no other secret. */
export interface AuditEntry {
  /** The chain of the entry: the number of the partition of its case, or 64 for what belongs to no case. */
  readonly chain: number;
  /** The number of the entry in its chain, from 1 on without a gap. */
  readonly sequence: number;
  /** The time of the change, by the clock of the server that made it. */
  readonly time: Date;
  /** The principal that made the change; `local` where no principals are configured. Empty: a server. */
  readonly actor: string;
  /** The kind of change. */
  readonly action: AuditAction;
  /** The owner of the case. Empty if the entry is about no case. */
  readonly owner: string;
  /** The activity of the case, or the activity that was paused or resumed. */
  readonly activity: string;
  /** The case. Empty if the entry is about none. */
  readonly caseId: string;
  /** The call. Empty if the entry is about none. */
  readonly callId: string;
  /** What the principal gave as the reason. Empty if it gave none. */
  readonly reason: string;
  /**
   * Facts about the change, such as the `attributes` of a response that were replaced. New names can be added.
   */
  readonly details: Readonly<Record<string, string>>;
  /**
   * The SHA-256 of the entry as it is stored, in hexadecimal digits. The next entry of the chain has it, too.
   */
  readonly digest: string;
  /**
   * Names the key that protects the entry, without saying anything about it. Empty: the server had no `state_key`, so
   * nothing protects the entry.
   */
  readonly keyId: string;
  /** The profile of the owner that was changed. Empty if the entry is about none. */
  readonly verificationProfile: string;
}

/** The newest entry of a chain at some time. */
export interface AuditHead {
  /** The number of the chain. */
  readonly chain: number;
  /** The number of the entry. */
  readonly sequence: number;
  /** The `digest` of the entry: 64 lower-case hexadecimal digits. */
  readonly digest: string;
  /**
   * The time of the entry, or that of an earlier one if that is later. Retention deletes entries in its order: a
   * start of the chain that is older than this head does not explain that the entry is gone.
   */
  readonly time: Date;
}

/** The result for one chain. */
export interface AuditChain {
  /** The number of the chain. */
  readonly chain: number;
  /** The number of entries that are kept. */
  readonly entryCount: number;
  /** The number of the oldest entry. 0: there is none. */
  readonly firstSequence: number;
  /** The newest entry. Undefined: there is none. */
  readonly head: AuditHead | undefined;
  /** What is wrong. Empty: it is proven that the chain is as the servers have stored it. At most 100. */
  readonly problems: readonly AuditProblem[];
}

/** Something that is wrong with a chain. */
export interface AuditProblem {
  /** The kind of problem. */
  readonly kind: AuditProblemKind;
  /** The number of the entry where it was found. */
  readonly sequence: number;
  /** Describes it, for people. It contains no secret. */
  readonly text: string;
}

/**
 * A case: one URL that an outside system can call, and what happens on a call. It never contains the URL or its
 * state; only the response of `generateCallbackUrl` does.
 */
export interface Callback {
  /** The public id of the case: 32 lower-case hexadecimal digits. It gives no access. */
  readonly caseId: string;
  /** The principal that generated the case; `local` where no principals are configured. */
  readonly owner: string;
  /** The state of the case in its life. */
  readonly status: CallbackStatus;
  /** The reason why a CLOSED case closed. It never changes. Undefined while the case is not closed. */
  readonly closeReason: CloseReason | undefined;
  /** The activity that decides what happens on a call. */
  readonly activity: string;
  /** A text that the handler gets unchanged. Empty if none was given. */
  readonly activityCase: string;
  /** The name of the query or form field that carries the state. Empty for a `/cb/` URL. */
  readonly stateQueryParameter: string;
  /**
   * Whether a single-use case (a case without `allowMultipleCalls`) stays open after a rejected, failed or
   * interrupted call.
   */
  readonly retryableAfterError: boolean;
  /**
   * Whether the case accepts any number of calls, whatever their results, until it is closed or expires.
   */
  readonly allowMultipleCalls: boolean;
  /** The `https://` origin of the URL. Empty for the `box_url` of the server. */
  readonly alternativeDomain: string;
  /** The response to a call, unless its handler overrides it. `listCallbacks` omits `body`. */
  readonly response: Response;
  /** Name-value pairs of the owner, to find the case again. */
  readonly labels: Readonly<Record<string, string>>;
  /** When the case was stored, by the clock of the store. */
  readonly createTime: Date;
  /** When the case closes with reason EXPIRED. Undefined if it never expires. */
  readonly expireTime: Date | undefined;
  /** When the case closed. Undefined while it is not closed. */
  readonly closeTime: Date | undefined;
  /** The number of calls that started on the case, whatever their results. */
  readonly callCount: number;
  /** The profile that every request must pass. Empty: none. */
  readonly verificationProfile: string;
  /** How a GET that may come from a program is handled. OFF by default. */
  readonly getGuard: GetGuard;
  /** The answer mode: handler, person or server. HANDLER by default. */
  readonly answerMode: AnswerMode;
  /**
   * The time after the start of a call at which the caller gets `fallback`, or without one is told to wait.
   * Undefined: 2 seconds for a browser, 300 seconds for any other caller of a held call.
   */
  readonly answerDeadlineMs: number | undefined;
  /**
   * The response that a caller gets at the answer deadline. After one of 2xx or 3xx, a call of a HANDLER case has a
   * delivery.
   */
  readonly fallback: Response | undefined;
  /** Whether the calls of an ACK case are delivered one after the other, in their order. */
  readonly ordered: boolean;
  /** How long a call of a HOLD case waits for its answer. Undefined for every other case. */
  readonly holdTimeMs: number | undefined;
  /**
   * How long after the end of a call the same request gets the answer of that call again. 0s: the same request is
   * another call.
   */
  readonly repeatWindowMs: number;
  /** Whether no answer is given twice: a repeat gets a 410. */
  readonly noRepeat: boolean;
  /** Whether `resolveCallback` has given the case its answer: each further call gets it at once. */
  readonly resolved: boolean;
  /**
   * The response to a request that reaches the case once it is closed. Undefined: such a request gets a 410, or a 404
   * on `/cbq/`. `listCallbacks` omits it.
   */
  readonly closedResponse: Response | undefined;
  /** What the page of the guard CONFIRM asks. Undefined: the page asks whether to continue. */
  readonly prompt: Prompt | undefined;
  /** The times after `createTime` at which the handler for notifications gets a REMINDER, ascending. */
  readonly remindAfterMs: readonly number[];
  /** Which notifications the handler of the activity gets. */
  readonly notify: readonly CallReason[];
  /**
   * The deliveries of reminders, oldest first, and then that of the expiry: each with `callId`, `reason`, `startTime`
   * and `delivery`. A reminder that was dropped is not among them. `listCallbacks` omits them.
   */
  readonly notifications: readonly Call[];
  /**
   * The origins whose pages may call the URL by a script, and read what it is answered. `*` is every origin.
   */
  readonly allowedOrigins: readonly string[];
  /** The origins whose pages may show the URL in a frame. */
  readonly frameOrigins: readonly string[];
  /** The endpoint whose events are calls of the case, if they have its `correlationKey`. Empty: none. */
  readonly endpoint: string;
  /** The text by which an event at the endpoint finds the case. Empty without an endpoint. */
  readonly correlationKey: string;
}

/** What the page of a CONFIRM case asks. All of it is shown as text, not HTML. */
export interface Prompt {
  /** The heading of the page. Required, at most 200 characters on one line. */
  readonly title: string;
  /** Shown below the title, with its line breaks. Default empty, at most 2,000 characters. */
  readonly text: string;
  /**
   * The buttons of the page. At most 4, each with another value. Without choices, the page has the one button of
   * every CONFIRM case. A button posts the form `callback_choice={value}` to the same URL, and that POST is the call.
   * Every other POST, PUT, PATCH or DELETE on a case with choices gets a 400, and is not a call. No state parameter
   * of a CONFIRM case can have the name of that field.
   */
  readonly choices: readonly PromptChoice[];
  /**
   * The language of title, text and labels, as a tag of BCP 47: `nl`, `pt-BR`. Default: the language in which the
   * edge shows its own pages to the caller.
   */
  readonly language: string;
  /**
   * What a person fills in on the page, in this order. At most 20, each with another name. The form, or a JSON object
   * with the same names, is posted with the choice, or with `callback_confirm` where there are no choices. What does
   * not fit gets the page again, with the errors and a 422, and is not a call.
   */
  readonly fields: readonly PromptField[];
}

/** One field of the form on the page. Its label and help are shown as text, not HTML. */
export interface PromptField {
  /**
   * The name in the form and in `fieldsJson`. Required, a letter, then at most 63 letters, digits, `_`, `.` or `-`.
   * Names that begin with `callback_`, and the state parameter of the case, are refused.
   */
  readonly name: string;
  /** The text at the field. Required, 1–200 characters on one line. */
  readonly label: string;
  /** What a person enters. Default TEXT. */
  readonly kind: FieldKind;
  /** Whether the field must be filled in. Default false: an empty field has no value in `fieldsJson`. */
  readonly isRequired: boolean;
  /**
   * What the field has at first, in the form in which it is entered: `true` for a box that is ticked, the values with
   * commas between them for CHOICES. At most 10,000 characters.
   */
  readonly defaultValue: string;
  /** The smallest number or earliest date, or the fewest characters or choices. Default none. */
  readonly minimum: string;
  /**
   * The largest number or latest date, or the most characters or choices. Default none. A TEXT has at most 500
   * characters, an EMAIL 254, a URL 2,048 and a LONG_TEXT 10,000.
   */
  readonly maximum: string;
  /** What CHOICE and CHOICES offer: 1–50, each with another value. */
  readonly choices: readonly PromptChoice[];
  /** A text below the label, of at most 500 characters on one line. Default empty. */
  readonly help: string;
}

/** One button of a prompt. */
export interface PromptChoice {
  /** What the handler gets as `choice`. 1–64 letters, digits, `_`, `.` or `-`. */
  readonly value: string;
  /** The text on the button: 1–100 characters on one line. */
  readonly label: string;
}

/**
 * One HTTP request to a case, and its result. With the `reason` REMINDER or EXPIRY it is a notification: it has a
 * `delivery`, no request, no response and no status, and counts as no call.
 */
export class Call extends Request {
  /** The id of the call. It contains the id of the case. */
  readonly callId: string;
  /** The case that was called. */
  readonly caseId: string;
  /** The result of the call. UNKNOWN for a notification. */
  readonly status: CallStatus;
  /** The reason why a call failed or was not started. Undefined for every other status. */
  readonly failure: CallFailure | undefined;
  /**
   * Describes the failure in a sentence, for the owner: at most 500 characters. It ends with the name of the worker
   * that had the call: `(worker NAME)`. It is never shown to the caller.
   */
  readonly failureDetail: string;
  /** The number of this call among the calls on the case: 1 for the first. */
  readonly attempt: number;
  /** The HTTP method in lower case: get, post, put, delete or patch. */
  readonly method: string;
  /** The size of the body in bytes. */
  readonly bodySize: number;
  /** The address of the client. Empty if unknown. */
  readonly clientAddress: string;
  /**
   * The complete response to the call. Undefined unless the call succeeded or was rejected. `listCalls` and
   * `listOwnerCalls` omit `body`.
   */
  readonly response: Response | undefined;
  /** Whether the handler kept a single-use case open after this success. */
  readonly keepOpen: boolean;
  /**
   * Whether the handler asked to close the case with this success, or with the delivery of the call or notification.
   * The case may have been closed before.
   */
  readonly close: boolean;
  /** When the call claimed the case, by the clock of the store. */
  readonly startTime: Date;
  /** When the call ended. Undefined while it runs. */
  readonly endTime: Date | undefined;
  /**
   * Whether the recorded data of the call was erased (`eraseCalls`): request, response and `failureDetail` are empty.
   */
  readonly erased: boolean;
  /**
   * Whether the bodies that were recorded of the call were dropped, because the recorded bytes of its owner, or of
   * all, were above a limit: those of the request and of the delivery, and that of `response` unless it is the
   * response of the case. `bodySize` stays. The call cannot be replayed, unless its request had no body.
   */
  readonly bodyDropped: boolean;
  /** The profile that the request passed. Empty: none was required. */
  readonly verificationProfile: string;
  /** The id that the sender gave to the message, as the profile found it. Empty if there was none. */
  readonly messageId: string;
  /**
   * Why the request did not pass a profile that only reports (`enforce = false`), for the owner. It contains nothing
   * of the request and no secret. Empty: it passed, or there was no such profile.
   */
  readonly verificationFailure: string;
  /**
   * The state of the delivery to the handler: of a call of an ACK case, of a call whose caller got a fallback of 2xx
   * or 3xx, or of a replayed call.
   */
  readonly delivery: Delivery | undefined;
  /**
   * Whether the caller gets the fallback of the case, at the answer deadline. It is stored before the fallback is
   * sent. `response` is then the decision of the handler, if there was one.
   */
  readonly fallbackSent: boolean;
  /**
   * Whether the caller did not get the response: it disconnected before, or the server or edge stopped. It is set
   * when that happens, also while the call runs or is held. A server that is killed sets it for none of its calls.
   */
  readonly callerGone: boolean;
  /**
   * The number of requests that were repeats of this call: the same request, or a message with the same id, within
   * the window. A repeat is no call: it gets the answer of this one.
   */
  readonly repeatCount: number;
  /**
   * The value of the choice that a person made on the page of a CONFIRM case. Empty if the case has no choices.
   */
  readonly choice: string;
  /**
   * What the person filled in on the page of a CONFIRM case, as a JSON object by the names of the fields of its
   * prompt: texts, numbers, booleans and arrays of texts. It is computed from `body`, so it is empty where that is
   * not recorded, and `listCalls` and `listOwnerCalls` omit it. Empty if the case has no fields.
   */
  readonly fieldsJson: string;
  /**
   * The key with which the request came as an event to the endpoint of the case. Empty: it came to the URL of the
   * case.
   */
  readonly correlationKey: string;
  /** CALL, or the reason of a notification. */
  readonly reason: CallReason;
  /**
   * The principal that answered a held call, by `answerCall` or `resolveCallback`; `local` where no principals are
   * configured. Empty for every other call, and for a call that a server of an earlier release has ended.
   */
  readonly answeredBy: string;

  /** @param attributes The attributes. Each has a default. */
  constructor(attributes: RequestAttributes<Call> = {}) {
    super();
    this.callId = attributes.callId ?? "";
    this.caseId = attributes.caseId ?? "";
    this.status = attributes.status ?? "UNKNOWN";
    this.failure = attributes.failure;
    this.failureDetail = attributes.failureDetail ?? "";
    this.attempt = attributes.attempt ?? 1;
    this.method = attributes.method ?? "get";
    this.bodySize = attributes.bodySize ?? 0;
    this.clientAddress = attributes.clientAddress ?? "";
    this.response = attributes.response;
    this.keepOpen = attributes.keepOpen ?? false;
    this.close = attributes.close ?? false;
    this.startTime = attributes.startTime ?? new Date(0);
    this.endTime = attributes.endTime;
    this.erased = attributes.erased ?? false;
    this.bodyDropped = attributes.bodyDropped ?? false;
    this.verificationProfile = attributes.verificationProfile ?? "";
    this.messageId = attributes.messageId ?? "";
    this.verificationFailure = attributes.verificationFailure ?? "";
    this.delivery = attributes.delivery;
    this.fallbackSent = attributes.fallbackSent ?? false;
    this.callerGone = attributes.callerGone ?? false;
    this.repeatCount = attributes.repeatCount ?? 0;
    this.choice = attributes.choice ?? "";
    this.fieldsJson = attributes.fieldsJson ?? "";
    this.correlationKey = attributes.correlationKey ?? "";
    this.reason = attributes.reason ?? "CALL";
    this.answeredBy = attributes.answeredBy ?? "";
    conceal(this, {
      headers: new Headers(attributes.headers),
      query: new Query(attributes.query),
      queryString: attributes.queryString ?? "",
      body: bytesOf(attributes.body) ?? new Uint8Array(),
    });
  }

  /** The header fields of the request in order, with repeated fields. Concealed in debug output. */
  get headers(): Headers {
    return secretOf(this, "headers");
  }

  /** The parameters of the query string in order, with repeated parameters. Concealed in debug output. */
  get query(): Query {
    return secretOf(this, "query");
  }

  /** The query string as sent, without the `?`. Concealed in debug output. */
  get queryString(): string {
    return secretOf(this, "queryString");
  }

  /** The body, byte for byte. `listCalls` and `listOwnerCalls` omit it. Concealed in debug output. */
  get body(): Uint8Array {
    return secretOf(this, "body");
  }
}

/**
 * The delivery of a call to its handler after its caller got the response, or the delivery of a notification. The
 * call has ended, except after a fallback of 2xx or 3xx: then it is RUNNING until the delivery is DELIVERED or
 * DEAD.
 */
export interface Delivery {
  /** The state of the delivery. */
  readonly status: DeliveryStatus;
  /**
   * The number of attempts in which a handler was asked, replays included. An attempt that is RUNNING counts. An
   * attempt that reached no handler does not: it leaves `failure` HANDLER_UNREACHABLE or NO_HANDLER.
   */
  readonly attempts: number;
  /**
   * The earliest time of the next attempt. Set while PENDING, unless the delivery waits until an earlier call of its
   * ordered case is DELIVERED or DEAD.
   */
  readonly nextAttemptTime: Date | undefined;
  /** The reason why the last attempt failed. Undefined if it did not fail, or was a rejection. */
  readonly failure: CallFailure | undefined;
  /**
   * Describes the last failed attempt in a sentence, for the owner: at most 500 characters. For a DEAD delivery
   * without a failure, it says why it is dead: rejected or erased.
   */
  readonly failureDetail: string;
  /**
   * The complete response that the handler decided on when it accepted or rejected. It is sent to no caller.
   * Undefined after a fallback: `response` of the call has it.
   */
  readonly response: Response | undefined;
  /**
   * Whether the delivery is PENDING and its activity is paused: there is no attempt until the activity is resumed.
   */
  readonly paused: boolean;
}

/**
 * One call, or one notification. A handler gets notifications only if it takes them: by HandleNotification, or over
 * a stream whose Hello has the activity in `notification_activities`. A notification has no request: the fields of
 * the request, `response` and `verificationProfile` are empty.
 */
export class IncomingCall extends Request {
  /** The id of the call, new for each call. Use it as the key for work that must not be done twice. */
  readonly callId: string;
  /** The id of the case that was called: its `caseId`. */
  readonly caseId: string;
  /** The activity of the case. */
  readonly activity: string;
  /** The value that was given when the case was generated. Can be empty. */
  readonly activityCase: string;
  /**
   * The number of this call among the calls on the case: 1 for the first. In ACK mode, for a replay and for a
   * notification, it is the number of the attempt of this call: the `callId` stays the same.
   */
  readonly attempt: number;
  /** The HTTP method in lower case: get, post, put, delete or patch. */
  readonly method: string;
  /** The address of the client. Empty if unknown. */
  readonly clientAddress: string;
  /**
   * The response of the case when the call started. The caller gets the response that the case has when the call
   * ends, which `setResponse` may have changed, unless the handler overrides it.
   */
  readonly response: Response;
  /** The labels of the case. */
  readonly labels: Readonly<Record<string, string>>;
  /**
   * The time after which a decision is too late. In the message it is by the clock of the server: compare it with no
   * other clock. In the value of a client it is by the clock of that machine. It is also the gRPC deadline.
   */
  readonly deadline: Date;
  /** The profile that the request passed. Empty: the sender is not verified. */
  readonly verificationProfile: string;
  /** The id that the sender gave to the message, as the profile found it. Empty if there was none. */
  readonly messageId: string;
  /** Whether an owner replayed the call. */
  readonly replayed: boolean;
  /** The principal that generated the case; `local` where no principals are configured. */
  readonly owner: string;
  /**
   * The value of the choice that a person made on the page of a CONFIRM case (`prompt`). Empty if the case has no
   * choices.
   */
  readonly choice: string;
  /**
   * What the person filled in on the page of a CONFIRM case, as a JSON object by the names of the fields of its
   * prompt: texts, numbers, booleans and arrays of texts. The call is then the POST of the form, or of a JSON object,
   * as it came. Empty if the case has no fields.
   */
  readonly fieldsJson: string;
  /** The endpoint to which the request came as an event. Empty: it came to the URL of the case. */
  readonly endpoint: string;
  /** Why the handler is asked: CALL, or REMINDER or EXPIRY for a notification. */
  readonly reason: CallReason;
  /**
   * The W3C trace context of this attempt, as the header of this name has it: the parent of the span of the handler.
   * HandleCallback and HandleNotification have it as metadata of the RPC, too. Empty: the call is not traced.
   */
  readonly traceparent: string;

  /** @param attributes The attributes. Each has a default. */
  constructor(attributes: RequestAttributes<IncomingCall> = {}) {
    super();
    this.callId = attributes.callId ?? "";
    this.caseId = attributes.caseId ?? "";
    this.activity = attributes.activity ?? "";
    this.activityCase = attributes.activityCase ?? "";
    this.attempt = attributes.attempt ?? 1;
    this.method = attributes.method ?? "get";
    this.clientAddress = attributes.clientAddress ?? "";
    this.response = attributes.response ?? new Response();
    this.labels = attributes.labels ?? {};
    this.deadline = attributes.deadline ?? LATEST;
    this.verificationProfile = attributes.verificationProfile ?? "";
    this.messageId = attributes.messageId ?? "";
    this.replayed = attributes.replayed ?? false;
    this.owner = attributes.owner ?? "";
    this.choice = attributes.choice ?? "";
    this.fieldsJson = attributes.fieldsJson ?? "";
    this.endpoint = attributes.endpoint ?? "";
    this.reason = attributes.reason ?? "CALL";
    this.traceparent = attributes.traceparent ?? "";
    conceal(this, {
      headers: new Headers(attributes.headers),
      query: new Query(attributes.query),
      queryString: attributes.queryString ?? "",
      body: bytesOf(attributes.body) ?? new Uint8Array(),
    });
  }

  /** The header fields of the request in order, with repeated fields. Concealed in debug output. */
  get headers(): Headers {
    return secretOf(this, "headers");
  }

  /**
   * The parameters of the query string in order, with repeated parameters. On `/cbq/` they include the state
   * parameter. Concealed in debug output.
   */
  get query(): Query {
    return secretOf(this, "query");
  }

  /** The query string as sent, without the `?`. Concealed in debug output. */
  get queryString(): string {
    return secretOf(this, "queryString");
  }

  /** The body, byte for byte: not decoded, decompressed or parsed. Concealed in debug output. */
  get body(): Uint8Array {
    return secretOf(this, "body");
  }
}

/** The only message that contains the URL and its state. */
export class GeneratedCallback extends Concealing {
  /** The id of the case. It is not secret. */
  readonly caseId: string;
  /**
   * When the case closes with reason EXPIRED, by the clock of the store. Undefined if it never expires. The same
   * request with the same `requestId` gets the time that the case has now.
   */
  readonly expireTime: Date | undefined;
  /**
   * Say what will keep the callback from doing what it is for, as far as it can be seen now. The case is stored all
   * the same. Default empty.
   */
  readonly warnings: readonly CallbackWarning[];

  /** @param attributes The attributes. Each has a default. */
  constructor(attributes: Given<GeneratedCallback> = {}) {
    super();
    this.caseId = attributes.caseId ?? "";
    this.expireTime = attributes.expireTime;
    this.warnings = attributes.warnings ?? [];
    conceal(this, {
      url: attributes.url ?? "",
      state: attributes.state ?? "",
    });
  }

  /**
   * The URL to hand out. Everyone who has it can make the call: treat it as a secret. Empty with `noUrl`. Concealed
   * in debug output.
   */
  get url(): string {
    return secretOf(this, "url");
  }

  /**
   * The secret in the URL, for use apart from the URL: a version 4 UUID in lower case. Empty with `noUrl`. Concealed
   * in debug output.
   */
  get state(): string {
    return secretOf(this, "state");
  }
}

/** What may be wrong with a request that was accepted. */
export interface CallbackWarning {
  /** The kind of the warning. Ignore one that the client does not know, and show its text. */
  readonly reason: WarningReason;
  /** Says in a sentence what may be wrong, and what to do. */
  readonly text: string;
}

/** One change of a case or a call. */
export interface CallEvent {
  /** The kind of change. */
  readonly type: CallEventType;
  /** The case. */
  readonly caseId: string;
  /** The call. Empty for a change of the case itself. */
  readonly callId: string;
  /** The activity of the case. */
  readonly activity: string;
  /** The owner of the case. */
  readonly owner: string;
  /** The time of the change, by the clock of the store. */
  readonly time: Date;
  /** The status of the case after the change. */
  readonly caseStatus: CallbackStatus;
  /** The reason why the case is closed. Undefined if it is not. */
  readonly closeReason: CloseReason | undefined;
  /**
   * The status of the call after the change. Undefined for a change of the case itself, and of a notification.
   */
  readonly callStatus: CallStatus | undefined;
  /** The status of the delivery after the change. Undefined if the call has no delivery. */
  readonly deliveryStatus: DeliveryStatus | undefined;
  /** The position after this event: a watch from it gets exactly the events that follow here. */
  readonly resumeToken: string;
  /**
   * CALL for a change of a call, and REMINDER or EXPIRY for a change of a notification: `callId` is then its id.
   * Undefined for a change of the case itself.
   */
  readonly reason: CallReason | undefined;
}

/** An activity whose deliveries are paused. */
export interface PausedActivity {
  /** The name of the activity. */
  readonly activity: string;
  /**
   * The administrator that paused it; `local` where no principals are configured. Empty if a server of an earlier
   * release did.
   */
  readonly principal: string;
  /** What the administrator gave as the reason. Empty if none was given. */
  readonly reason: string;
  /** When it was paused, by the clock of the store. Undefined if a server of an earlier release did. */
  readonly pauseTime: Date | undefined;
}

/** How an activity is served, and what waits for it. */
export interface Activity {
  /** The name of the activity. */
  readonly activity: string;
  /** How the activity is served. */
  readonly kind: ActivityKind;
  /**
   * The number of workers that take the calls of the activity, on all servers. A worker that has just connected or
   * left is counted, or not counted any more, within seconds. 0 with the kind WORKERS: nothing serves it.
   */
  readonly workerCount: number;
  /** Whether the deliveries of the activity are paused (`pauseActivity`). */
  readonly paused: boolean;
  /**
   * The number of deliveries of the activity that wait or run, of all owners. Of an ordered case, only the first one
   * counts.
   */
  readonly deliveryCount: number;
  /** The number of cases of the owner for this activity that are not closed. */
  readonly openCallbackCount: number;
  /** The number of workers that take the notifications of the activity, on all servers. */
  readonly notificationWorkerCount: number;
}

/** Returns what the servers have done, and what waits. */
export interface Statistics {
  /** The last 60 minutes, oldest first, also those without calls. The last one has not ended. */
  readonly minutes: readonly MinuteStatistics[];
  /**
   * The durations of the stages of all calls in these minutes: `claim` (the store accepts the call), `verify` (only
   * of cases with a verification profile), `handler`, and `finish` (the store records the result). A stage that no
   * call had is absent.
   */
  readonly stages: readonly StageDuration[];
  /**
   * The open cases and calls of each owner: of those in the principals file of the server that responds, and of those
   * that have left it, whose cases are kept until their retention is over.
   */
  readonly owners: readonly OwnerStatistics[];
  /** What waits in the store now, of all these owners. */
  readonly work: WorkStatistics;
}

/** What all servers have done in one minute. A server adds what it has done every 5 seconds. */
export interface MinuteStatistics {
  /** The start of the minute, by the clocks of the servers. */
  readonly startTime: Date;
  /**
   * The part of the minute that the counts are of: 60 seconds, or less for the last one, which in its first 5 seconds
   * has zero.
   */
  readonly durationMs: number;
  /** The calls that ended, by status and failure. Without those that have no call. */
  readonly outcomes: readonly OutcomeCount[];
  /** The requests that did not become calls, by reason. Without those that have no request. */
  readonly refusals: readonly RefusalCount[];
  /** The durations of the stages of the calls, as in the response. */
  readonly stages: readonly StageDuration[];
  /** What waited in the store in this minute. Undefined if no server has looked. */
  readonly work: WorkStatistics | undefined;
}

/** What waits in the store. */
export interface WorkStatistics {
  /** The number of cases that are not closed. */
  readonly openCallbackCount: number;
  /** The number of held calls that wait for an answer. */
  readonly waitingCallCount: number;
  /** The number of calls and notifications whose delivery is DEAD, without erased ones. */
  readonly deadCallCount: number;
  /** The number of deliveries that wait or run. Of an ordered case, only the first one counts. */
  readonly deliveryCount: number;
  /**
   * How long ago the delivery that waits the longest became due. Zero if none is due. Deliveries of a paused activity
   * count, too.
   */
  readonly deliveryDelayMs: number;
}

/** A number of calls with the same outcome. */
export interface OutcomeCount {
  /** The status of the calls. */
  readonly status: CallStatus;
  /** Why they failed. Undefined if they did not. */
  readonly failure: CallFailure | undefined;
  /** Their number. */
  readonly count: number;
}

/** A number of requests that were refused for the same reason. */
export interface RefusalCount {
  /** The reason, as in `ErrorReason`. */
  readonly reason: string;
  /** Their number. */
  readonly count: number;
}

/**
 * How long a stage of calls took. The quantiles are estimates from the buckets of the metric
 * `callback_call_stage_seconds`.
 */
export interface StageDuration {
  /** The name of the stage. */
  readonly stage: string;
  /** How often it ran. */
  readonly count: number;
  /** What half of them did not exceed. */
  readonly medianMs: number;
  /** What 95 % of them did not exceed. */
  readonly p95Ms: number;
  /** What 99 % of them did not exceed. */
  readonly p99Ms: number;
}

/** What one owner has in the store. */
export interface OwnerStatistics {
  /** The owner. */
  readonly owner: string;
  /** The number of its cases that are not closed. */
  readonly openCallbackCount: number;
  /** The number of its held calls that wait for an answer. */
  readonly waitingCallCount: number;
  /** The number of its calls and notifications whose delivery is DEAD, without erased ones. */
  readonly deadCallCount: number;
}

/** Returns what the checks found. */
export interface Findings {
  /** The results of the checks, also of those that passed. */
  readonly findings: readonly Finding[];
  /** When the checks ended. */
  readonly checkTime: Date;
}

/** The result of one check. Its texts contain no secret. */
export interface Finding {
  /** The name of the check, such as `store memory`. */
  readonly check: string;
  /** How severe it is. */
  readonly level: FindingLevel;
  /** What was seen. */
  readonly seen: string;
  /** What to do. Empty if there is nothing to do. */
  readonly advice: string;
}

/** A verification profile of an owner. */
export interface Profile {
  /** The name of the profile, such as `own/shop-17`. */
  readonly name: string;
  /** Its kind, such as `hmac` or `provider:stripe`. */
  readonly kind: string;
  /** Its other settings, as a JSON object. */
  readonly settings: string;
  /** Its secrets and keys, newest first. */
  readonly secrets: readonly ProfileSecret[];
  /** When it was created. */
  readonly createTime: Date;
  /** When it was changed last. */
  readonly updateTime: Date;
  /** Why the server that responds cannot use it, so that callers get a 503. Empty: it can. */
  readonly problem: string;
}

/** Says when a secret or key of a profile was added, and until when it is valid. */
export interface ProfileSecret {
  /** Its id within the profile. */
  readonly secretId: string;
  /**
   * The same for the same secret of an owner, as long as the servers seal under the same key: 8 hexadecimal digits.
   * It says nothing else about the secret.
   */
  readonly fingerprint: string;
  /** When it was added. */
  readonly createTime: Date;
  /** From when on nothing passes by it. Undefined: it stays valid. */
  readonly retireTime: Date | undefined;
}

/** Whether the request passes. */
export interface ProfileCheck {
  /** The outcome. */
  readonly outcome: CheckOutcome;
  /** Why it does not pass, without any part of the request. Empty: it passes. */
  readonly why: string;
  /** The id of the secret by which it passes. Empty: there is none, or it cannot be told. */
  readonly secretId: string;
  /** The id that the sender gave the message. Empty: there is none. */
  readonly messageId: string;
}

/** One page of `listCallbacks`. */
export interface ListCallbacksPage extends Page<Callback> {
  /**
   * How far the search has come: every case that matches and was created after this time is on this page or on one
   * before. Undefined on the last page.
   */
  readonly searchedTo: Date | undefined;
}

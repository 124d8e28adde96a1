/**
 * Values that the client returns: plain and typed.
 *
 * Names are those of the contract without their prefixes: `callback_case_id` is `caseId`. Times are `Date`, durations
 * are numbers of milliseconds, and what is absent is undefined.
 */

import { type Attributes, Concealing, conceal, secretOf } from "./concealing.js";
import type {
  ActivityKind,
  AnswerMode,
  CallbackStatus,
  CallEventType,
  CallFailure,
  CallReason,
  CallStatus,
  CloseReason,
  DeliveryStatus,
  FindingLevel,
  GetGuard,
  WarningReason,
} from "./enums.js";
import type { Call } from "./request.js";
import type { Response } from "./response.js";

/**
 * What the page of a callback with the guard CONFIRM asks: `{ title: "Pay 500 euros?", choices: { yes: "Pay" } }`.
 * All of it is shown as text, not HTML.
 */
export interface Prompt {
  /** The heading of the page, at most 200 characters. */
  readonly title: string;
  /** The text below the title, with its line breaks. At most 2,000 characters. */
  readonly text: string;
  /**
   * The value and the label of each button, at most 4. The handler receives the value as `call.choice`. Empty: the page
   * has one button.
   */
  readonly choices: Readonly<Record<string, string>>;
}

/** An activity: how it is served, and what waits for it. */
export interface Activity {
  /** The name of the activity. */
  readonly activity: string;
  /** How the activity is served. */
  readonly kind: ActivityKind;
  /** The number of workers that take its calls, on all servers. 0 with the kind WORKERS: nothing serves it. */
  readonly workerCount: number;
  /** Whether its deliveries are paused (`pauseActivity`). */
  readonly paused: boolean;
  /** The number of its deliveries that wait or run, of all owners. Of an ordered case, only the first one counts. */
  readonly deliveryCount: number;
  /** The number of the owner's callbacks for it that are not closed. */
  readonly openCallbackCount: number;
  /** The number of workers that take its notifications, on all servers. */
  readonly notificationWorkerCount: number;
}

/** How long a stage of calls took. The quantiles are estimates from buckets. */
export interface StageDuration {
  /** `claim` (the store accepts the call), `verify`, `handler`, or `finish` (the store records the result). */
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

/** A number of calls with the same outcome. */
export interface OutcomeCount {
  /** Their status. */
  readonly status: CallStatus;
  /** Why they failed. Undefined if they did not. */
  readonly failure: CallFailure | undefined;
  /** Their number. */
  readonly count: number;
}

/** What waits in the store. */
export interface WorkStatistics {
  /** The number of callbacks that are not closed. */
  readonly openCallbackCount: number;
  /** The number of held calls that wait for an answer. */
  readonly waitingCallCount: number;
  /** The number of calls and notifications whose delivery is DEAD, without erased ones. */
  readonly deadCallCount: number;
  /** The number of deliveries that wait or run. Of an ordered case, only the first one counts. */
  readonly deliveryCount: number;
  /** How long ago the delivery that waits the longest became due. Zero if none is due. */
  readonly deliveryDelayMs: number;
}

/** What all servers have done in one minute. A server adds what it has done every 5 seconds. */
export interface MinuteStatistics {
  /** The start of the minute. */
  readonly startTime: Date;
  /** The part of the minute that the counts are of: 60 seconds, or less for the last one, and zero in its first 5. */
  readonly durationMs: number;
  /** The calls that ended. */
  readonly outcomes: readonly OutcomeCount[];
  /** The requests that did not become calls, by reason, as in `ErrorReason`. */
  readonly refusals: Readonly<Record<string, number>>;
  /** The stages of the calls. */
  readonly stages: readonly StageDuration[];
  /** What waited in the store in this minute. Undefined if no server has looked. */
  readonly work: WorkStatistics | undefined;
}

/** What one owner has in the store. */
export interface OwnerStatistics {
  /** The owner. */
  readonly owner: string;
  /** The number of its callbacks that are not closed. */
  readonly openCallbackCount: number;
  /** The number of its held calls that wait for an answer. */
  readonly waitingCallCount: number;
  /** The number of its calls and notifications whose delivery is DEAD, without erased ones. */
  readonly deadCallCount: number;
}

/** What the servers have done in the last hour, and what waits now. */
export interface Statistics {
  /** The last 60 minutes, oldest first. The last one has not ended. */
  readonly minutes: readonly MinuteStatistics[];
  /** The stages of all calls in these minutes. */
  readonly stages: readonly StageDuration[];
  /** The owners that the server knows, by name. */
  readonly owners: readonly OwnerStatistics[];
  /** What waits in the store now, of all these owners. */
  readonly work: WorkStatistics;
}

/** Result of one check of a server. */
export interface Finding {
  /** Name of the check, such as `store memory`. */
  readonly check: string;
  /** Severity. */
  readonly level: FindingLevel;
  /** Observation. */
  readonly seen: string;
  /** What to do; empty if there is nothing to do. */
  readonly advice: string;
}

/** An activity whose deliveries are paused. */
export interface PausedActivity {
  /** The name of the activity. */
  readonly activity: string;
  /** The administrator that paused it. Empty if a server of an earlier release did. */
  readonly principal: string;
  /** What the administrator gave as the reason. */
  readonly reason: string;
  /** The time at which it was paused, by the clock of the store. Undefined if a server of an earlier release did. */
  readonly pauseTime: Date | undefined;
}

/** What may be wrong with a request that was accepted. */
export interface CallbackWarning {
  /** The kind of the warning. */
  readonly reason: WarningReason;
  /** A sentence that says what may be wrong, and what to do. */
  readonly text: string;
}

/** A case: a URL that an outside system can call, and the settings of its calls. */
export interface Callback {
  /** The public id: 32 lower-case hexadecimal digits. */
  readonly caseId: string;
  /** The principal that generated the case. `local` if no principals are configured. */
  readonly owner: string;
  /** The status of the case. */
  readonly status: CallbackStatus;
  /** The reason for which the case closed. Undefined if it is not closed. */
  readonly closeReason: CloseReason | undefined;
  /** The activity that decides on calls. */
  readonly activity: string;
  /** A text that the handler receives unchanged. Empty if none was given. */
  readonly activityCase: string;
  /** The query or form parameter that carries the state. Empty for a `/cb/` URL. */
  readonly stateQueryParameter: string;
  /** Whether a rejected, failed or interrupted call leaves a single-use case open. */
  readonly retryableAfterError: boolean;
  /** Whether the case accepts any number of calls, until it is closed or expires. */
  readonly allowMultipleCalls: boolean;
  /** The `https://` origin of the URL. Empty for the server's own origin. */
  readonly alternativeDomain: string;
  /** The response to a call, unless its handler overrides it. Without its body in a list. */
  readonly response: Response;
  /** The labels that the owner chose. */
  readonly labels: Readonly<Record<string, string>>;
  /** The time at which the case was stored. */
  readonly createTime: Date;
  /** The time at which the case expires. Undefined if it never does. */
  readonly expireTime: Date | undefined;
  /** The time at which the case closed. Undefined if it is not closed. */
  readonly closeTime: Date | undefined;
  /** The number of calls that started, with any result. */
  readonly callCount: number;
  /** The profile that every request must pass. Empty if there is none. */
  readonly verificationProfile: string;
  /** The treatment of a GET that may not come from a person. */
  readonly getGuard: GetGuard;
  /** How a call gets its response. */
  readonly answerMode: AnswerMode;
  /** The time after which the caller gets `fallback`, or without one is told to wait. Undefined: the default. */
  readonly answerDeadlineMs: number | undefined;
  /**
   * The response at the answer deadline. Undefined if there is none. In mode HANDLER, a call after one of 2xx or 3xx
   * has a delivery, and runs until the delivery ends. Without its body in a list.
   */
  readonly fallback: Response | undefined;
  /** Whether the calls of an ACK case are handled one after the other, in their order. */
  readonly ordered: boolean;
  /** The response to a request that reaches the case once it is closed. Undefined: an error. Not in a list. */
  readonly closedResponse: Response | undefined;
  /** What the page of the guard CONFIRM asks. Undefined: whether to continue. */
  readonly prompt: Prompt | undefined;
  /** How long a held call waits for its answer. Undefined unless the answer mode is HOLD. */
  readonly holdTimeMs: number | undefined;
  /** How long after the end of a call the same request gets the answer of that call. 0: it is another call. */
  readonly repeatWindowMs: number;
  /** Whether no answer is given twice: the same request again gets a 410. */
  readonly noRepeat: boolean;
  /** Whether `resolveCallback` has given the case its answer, which each further call gets at once. */
  readonly resolved: boolean;
  /** The times after `createTime` at which the handler gets a reminder. */
  readonly remindAfterMs: readonly number[];
  /** The notifications that the handler gets. */
  readonly notify: readonly CallReason[];
  /**
   * The reminders that were due, oldest first, and then the expiry: each with `callId`, `reason`, `startTime` and
   * `delivery`. Without the reminders that were dropped when the case closed or was resolved. Empty in a list.
   */
  readonly notifications: readonly Call[];
}

/** What a handler is told without a call: a reminder is due, or the case has expired. */
export interface Notification {
  /** REMINDER or EXPIRY. */
  readonly reason: CallReason;
  /**
   * The id of the notification. It is the same for every attempt. Use it as the idempotency key of work that must not
   * be done twice.
   */
  readonly callId: string;
  /** The id of the case. */
  readonly caseId: string;
  /** The activity of the case. */
  readonly activity: string;
  /** The text that was given when the case was generated. May be empty. */
  readonly activityCase: string;
  /** The case's labels. */
  readonly labels: Readonly<Record<string, string>>;
  /** The number of the attempt to deliver this notification. */
  readonly attempt: number;
  /** The time at which the signal of the handler aborts, by the clock of this machine. */
  readonly deadline: Date;
  /** Whether the owner replayed the notification (`replayCall`). */
  readonly replayed: boolean;
  /** The owner of the case. */
  readonly owner: string;
  /** The W3C trace context of this attempt, as the header `traceparent` has it. Empty: it is not traced. */
  readonly traceparent: string;
}

/**
 * The delivery of a call to its handler, after the caller got its response, or of a notification. The call has ended,
 * except after a fallback of 2xx or 3xx: then it is RUNNING until the delivery is DELIVERED or DEAD.
 */
export interface Delivery {
  /** The status of the delivery. */
  readonly status: DeliveryStatus;
  /** The number of attempts in which a handler was asked, including replays and an attempt that runs. */
  readonly attempts: number;
  /**
   * The earliest time of the next attempt. Undefined if the delivery is not pending, or waits for an earlier call of
   * its ordered case.
   */
  readonly nextAttemptTime: Date | undefined;
  /** The reason for which the last attempt failed. Undefined if it did not fail, or was a rejection. */
  readonly failure: CallFailure | undefined;
  /** A sentence about the last attempt that failed. */
  readonly failureDetail: string;
  /** The complete response that the handler decided on, which is not sent. Without its body in a list. */
  readonly response: Response | undefined;
  /** Whether the delivery is pending and waits because its activity is paused. */
  readonly paused: boolean;
}

/** A change of a case or a call. */
export interface CallEvent {
  /** The type of the change. */
  readonly type: CallEventType;
  /** The id of the case. */
  readonly caseId: string;
  /** The id of the call. Empty for a change of the case. */
  readonly callId: string;
  /** The activity of the case. */
  readonly activity: string;
  /** The owner of the case. */
  readonly owner: string;
  /** The time of the change, by the clock of the store. */
  readonly time: Date;
  /** The status of the case after the change. */
  readonly caseStatus: CallbackStatus;
  /** The reason for which the case closed. Undefined if it is not closed. */
  readonly closeReason: CloseReason | undefined;
  /** The status of the call after the change. Undefined for a change of the case. */
  readonly callStatus: CallStatus | undefined;
  /** The status of the delivery after the change. Undefined if the call has none. */
  readonly deliveryStatus: DeliveryStatus | undefined;
  /** The position of the event: `watchCalls({ resumeToken: … })` returns exactly the events after it. */
  readonly resumeToken: string;
  /** CALL, or REMINDER or EXPIRY if `callId` is that of a notification. Undefined for a change of the case. */
  readonly reason: CallReason | undefined;
}

/** One page of a list. */
export interface Page<Item> {
  /** The entries, newest first, or by name. Even a page before the last one may have fewer than requested. */
  readonly items: readonly Item[];
  /** The token of the next page. Empty on the last page. */
  readonly nextPageToken: string;
  /**
   * Of a list of cases: each case that matches and was created after this time is on this page or on one before.
   * Undefined on the last page.
   */
  readonly searchedTo: Date | undefined;
}

/** The URL of a new case. The server returns it only once: store it, and treat it as a secret. */
export class GeneratedCallback extends Concealing {
  /** The public id of the case. It is not a secret. */
  declare readonly caseId: string;
  /** The time at which the case expires. Undefined: never. */
  declare readonly expireTime: Date | undefined;
  /** What may keep the callback from doing what it is for. The client logs each of them, too. */
  declare readonly warnings: readonly CallbackWarning[];

  constructor(values: Attributes<GeneratedCallback>) {
    super();
    const { url, state, ...shown } = values;
    Object.assign(this, shown);
    conceal(this, { url, state });
  }

  /** The URL for the outside system. Everyone who knows it can make the call. Concealed in debug output. */
  get url(): string {
    return secretOf(this, "url");
  }

  /** The secret in the URL, a version 4 UUID, for protocols that send it separately. Concealed in debug output. */
  get state(): string {
    return secretOf(this, "state");
  }
}

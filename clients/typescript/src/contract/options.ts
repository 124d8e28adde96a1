// Generated from the contract: `python3 tasks.py generate`.

import type { Given } from "../concealing.js";
import type { RequestOptions, WatchingOptions } from "../options.js";
import type { Response } from "../response.js";
import type { AnswerMode, AuditAction, CallbackStatus, CallReason, CallStatus, GetGuard } from "./enums.js";
import type { AuditHead, Prompt } from "./values.js";

/** The options of `generateCallbackUrl`. */
export interface GenerateOptions extends RequestOptions {
  /** A text that the handler gets unchanged. Default empty, at most 200 characters. */
  readonly activityCase?: string | undefined;
  /**
   * Makes the URL `{base}/cbq/{param}?{param}={state}`, for systems that only pass a state along (OAuth `state`, SAML
   * `RelayState`). A letter, then at most 63 letters, digits, `_`, `.` or `-`. Default empty: the URL is
   * `{base}/cb/{state}`.
   */
  readonly stateQueryParameter?: string | undefined;
  /**
   * Keeps a single-use case (a case without `allowMultipleCalls`) open after a rejected, failed or interrupted call.
   * Default false.
   */
  readonly retryableAfterError?: boolean | undefined;
  /**
   * Makes the case accept any number of calls, whatever their results, until it is closed or expires. Default false:
   * the case accepts one call at a time. A success closes it; without `retryableAfterError`, so does a rejected,
   * failed or interrupted call.
   */
  readonly allowMultipleCalls?: boolean | undefined;
  /**
   * The `{base}` of the URL: `https://host` or `https://host:port`, without path, query, fragment or user. Upper case
   * and the port 443 are normalized. Default empty: the `box_url` of the server. An operator can restrict it to a
   * list, and reserve a domain for one owner.
   */
  readonly alternativeDomain?: string | undefined;
  /**
   * Makes the request safe to retry. The same id with the same content returns the same URL, for as long as the case
   * is kept. The same id with other content fails with REQUEST_ID_REUSED. Once the case is deleted, the id is free,
   * and the same request creates a case with another URL. Default empty, at most 200 characters. Fails with
   * REQUEST_ID_UNSUPPORTED where the server has no `state_key`.
   */
  readonly requestId?: string | undefined;
  /**
   * The time after which the case closes with reason EXPIRED. Default: the configuration of the server, or never. At
   * least 1 second, at most 10 years or the maximum in the configuration of the server.
   */
  readonly timeToLiveMs?: number | undefined;
  /**
   * Name-value pairs of the owner, to find the case again. At most 16. Names have 1–63 letters, digits, `_`, `.`, `/`
   * or `-`; values have at most 200 characters.
   */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /**
   * The profile that every request must pass; otherwise the caller gets a 401 and nothing changes. It is a profile
   * that the configuration of the server declares, or one of the owner, such as `own/shop-17` (`createProfile`); any
   * other is refused. Default empty: everyone who has the URL can make the call.
   */
  readonly verificationProfile?: string | undefined;
  /**
   * Selects how a GET that may come from a program is handled. Default OFF. CONFIRM together with a
   * `verificationProfile` is refused: a person cannot sign a request.
   */
  readonly getGuard?: Exclude<GetGuard, "UNKNOWN"> | undefined;
  /** Selects how a call gets its response. Default HANDLER; for the activity `form` it is always HOLD. */
  readonly answerMode?: Exclude<AnswerMode, "UNKNOWN"> | undefined;
  /**
   * The time after the start of a call at which a caller without a response gets `fallback`. Without a fallback it is
   * told to wait: a browser gets a page that becomes the answer, and any other caller a 202 with the address of the
   * answer (`Location`, `Retry-After`). The call continues: the case stays IN_PROGRESS, and the decision of the
   * handler takes effect when it comes. Default: 2 seconds for a browser, 300 seconds for any other caller of a held
   * call. From 100 ms to 300 s, and at most the deadline of the activity, or `holdTimeMs`.
   */
  readonly answerDeadlineMs?: number | undefined;
  /**
   * The response that a caller gets at `answerDeadlineMs`. It must be complete, as the response of a `record` case
   * must be. Needs `answerDeadlineMs`. One of 2xx or 3xx accepts the request: a call of a HANDLER case then has a
   * delivery, and ends when that is DELIVERED or DEAD.
   */
  readonly fallback?: Response | undefined;
  /**
   * Makes the server deliver the calls of an ACK case one after the other, in their order: a call waits until the
   * call before it is DELIVERED or DEAD. Default false. Refused with any other `answerMode`.
   */
  readonly ordered?: boolean | undefined;
  /**
   * The response to a request that reaches the case once it is closed and passes the verification, until the case is
   * deleted. Such a request is not a call. It must be complete, as the response of a `record` case must be. Code 410
   * is refused together with `stateQueryParameter`: that URL is shared, and some senders disable it for everyone
   * after a 410. Default: a 410, or a 404 on `/cbq/`.
   */
  readonly closedResponse?: Response | undefined;
  /**
   * What the page of the guard CONFIRM asks: a title, a text and choices. Default: whether to continue. Refused with
   * any other `getGuard`.
   */
  readonly prompt?: Given<Prompt, "title"> | undefined;
  /**
   * How long a call of a HOLD case waits for its answer. After that it is FAILED, and its caller gets a 504. Default
   * 300 seconds. At least 100 ms, at most the maximum in the configuration of the server (30 days by default).
   * Refused with any other `answerMode`.
   */
  readonly holdTimeMs?: number | undefined;
  /**
   * How long after the end of a call the same request gets the answer of that call again, in place of making another
   * call: a reload, a double click, a form that is sent again. A request is the same if its method, query and body
   * are. While the call runs, the same request waits with it; at most 16 wait. Once the case is closed, it gets the
   * answer or the error of that call. While the case is open, it is another call, unless the case allows multiple
   * calls and the call succeeded. A verified message with an id is recognized by its id alone, for the time that its
   * verification profile says. Default: 2 minutes; 0 if `allowMultipleCalls` is set. 0: the same request is another
   * call. At most 7 days.
   */
  readonly repeatWindowMs?: number | undefined;
  /**
   * Whether no answer is given twice, for example because it contains a secret: a repeat gets a 410. Default false.
   */
  readonly noRepeat?: boolean | undefined;
  /**
   * The times after the creation of the case at which the handler of the activity gets a REMINDER, if the case is
   * neither closed nor resolved then. Needs REMINDER in `notify`. At most 10, each another one, from 1 second to 10
   * years. Default: none.
   */
  readonly remindAfterMs?: readonly number[] | undefined;
  /**
   * Selects the notifications that the handler of the activity gets. REMINDER: at each time of `remindAfterMs`, until
   * the case is closed or resolved. EXPIRY: when the case closes with reason EXPIRED, unless it is resolved. A call
   * that runs or is held at that moment still gets its answer. Each is durable and has an id of its own (`callId`).
   * It is delivered with retries, as a call in ACK mode is, and only to a handler that takes notifications (see
   * HandleNotification and Hello): until there is one, its delivery is PENDING with the failure NO_HANDLER. A
   * REMINDER is dropped when its case closes or is resolved. Default: none. REMINDER and EXPIRY, each once; refused
   * for the activities `record` and `form`, which have no handler.
   */
  readonly notify?: readonly Exclude<CallReason, "UNKNOWN">[] | undefined;
  /**
   * The origins whose pages may call the URL by a script, and read what it is answered (CORS). Each is
   * `scheme://host` or `scheme://host:port`, as a browser sends it in `Origin`; upper case and the default port are
   * normalized. `*` alone allows the pages of every origin. No page can call with the credentials of the browser,
   * such as cookies. Default empty: none; at most 20. Refused with the `getGuard` CONFIRM.
   */
  readonly allowedOrigins?: readonly string[] | undefined;
  /**
   * The origins whose pages may show the URL in a frame: its answers, its errors, and the page that waits. The page
   * of the `getGuard` CONFIRM can be in no frame. Each is an origin as in `allowedOrigins`, but not `*`. Default
   * empty: a request from a frame gets no page that waits, but the answer, within the deadline; at most 20.
   */
  readonly frameOrigins?: readonly string[] | undefined;
  /**
   * The name of an endpoint of the owner: one URL, registered with a sender, for the events of many cases. The events
   * that have the `correlationKey` are calls of this case, too. Needs `correlationKey`. Default empty: none. Any name
   * but one of the owner's fails with ENDPOINT_NOT_FOUND.
   */
  readonly endpoint?: string | undefined;
  /**
   * The text by which an event at the endpoint finds the case, such as the id of a payment. It is compared byte by
   * byte. One case of a key is open at a time: another Generate fails with CORRELATION_KEY_IN_USE until that case is
   * closed. A `requestId` counts within its key. Needs `endpoint`. 1–200 bytes.
   */
  readonly correlationKey?: string | undefined;
  /**
   * Makes the case without a URL of its own, so that only events reach it: the response has no `url` and no `state`.
   * Needs `endpoint`. Default false. Refused with what only holds on such a URL: the state query parameter, the
   * alternative domain, the verification profile, the guard, the prompt, the closed response, and the origins.
   */
  readonly noUrl?: boolean | undefined;
}

/** The options of `listCallbacks`. */
export interface ListCallbacksOptions extends RequestOptions {
  /**
   * The maximum number of cases to return. Default (0) 50. A value above 1,000 counts as 1,000. A negative value is
   * refused.
   */
  readonly pageSize?: number | undefined;
  /** The `nextPageToken` of the previous page, with the same filter. Default empty: the first page. */
  readonly pageToken?: string | undefined;
  /** Selects cases in this status. Default: all. */
  readonly status?: Exclude<CallbackStatus, "UNKNOWN"> | undefined;
  /** Selects cases of this activity. Default empty: all. */
  readonly activity?: string | undefined;
  /** Selects cases that have all of these labels. Default empty: all. At most 16. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /**
   * The owner of the cases. Default empty: the principal of the request. Any other owner needs the role `admin`, or a
   * worker with `answers = true`, which must name an owner; otherwise the RPC fails with ROLE_MISSING.
   */
  readonly owner?: string | undefined;
  /**
   * Selects cases whose newest recorded call has this status. Default: all, also cases without calls. No index helps:
   * the server looks at the calls of each case, so a page can be short or empty.
   */
  readonly lastCallStatus?: Exclude<CallStatus, "UNKNOWN"> | undefined;
  /** Selects cases that were created at this time or later. Default: all. */
  readonly createdAfter?: Date | undefined;
  /** Selects cases that were created earlier than this time. Default: all. */
  readonly createdBefore?: Date | undefined;
  /**
   * Selects cases whose id begins with these 8 to 32 hexadecimal digits, such as those of the reference on the page
   * of an error. Default empty: all. No index helps: the server looks at one case in 64, so a page can be short or
   * empty.
   */
  readonly caseIdPrefix?: string | undefined;
}

/** The options of `listCalls`. */
export interface ListCallsOptions extends RequestOptions {
  /**
   * The maximum number of calls to return. Default (0) 50. A value above 100 counts as 100. A negative value is
   * refused.
   */
  readonly pageSize?: number | undefined;
  /** The `nextPageToken` of the previous page. Default empty: the first page. */
  readonly pageToken?: string | undefined;
}

/** The options of `listOwnerCalls`. */
export interface ListOwnerCallsOptions extends RequestOptions {
  /**
   * The owner of the calls. Default empty: the principal of the request. Any other owner needs the role `admin`, or a
   * worker with `answers = true`, which must name an owner; otherwise the RPC fails with ROLE_MISSING.
   */
  readonly owner?: string | undefined;
  /**
   * The maximum number of calls to return. Default (0) 50. A value above 100 counts as 100. A negative value is
   * refused.
   */
  readonly pageSize?: number | undefined;
  /**
   * The `nextPageToken` of the previous page, with the same filter, owner, activity and `endedAfter`. Default empty:
   * the first page.
   */
  readonly pageToken?: string | undefined;
  /** Selects calls of this activity. Default empty: all. CALL_FILTER_PENDING requires one. */
  readonly activity?: string | undefined;
  /**
   * Selects calls that ended at this time or later. Refused unless the filter is CALL_FILTER_ENDED. Default: all.
   */
  readonly endedAfter?: Date | undefined;
}

/** The options of `watchCalls`. */
export interface WatchOptions extends WatchingOptions {
  /** Selects events of this activity. Default empty: all. */
  readonly activity?: string | undefined;
  /** Selects events of cases that have all of these labels. Default empty: all. At most 16. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /**
   * Selects events of this case. Default empty: all. Without a `resumeToken` the case must exist; otherwise the RPC
   * fails with CALLBACK_NOT_FOUND. With a `resumeToken` the case may be deleted already: the remaining events are
   * still sent.
   */
  readonly caseId?: string | undefined;
  /**
   * The token of the last event that the client handled, or of the last message, in a watch with the same filter.
   * Default empty: start now. At most 4,000 characters.
   */
  readonly resumeToken?: string | undefined;
  /**
   * For a client that only needs to know that something has changed, such as a page that loads again. A message then
   * has the latest event alone; those before it are skipped. The watch pauses after each one, for 0.7 seconds, or for
   * up to 10 seconds while there are many such watches. Default false: every event is sent.
   */
  readonly latestOnly?: boolean | undefined;
}

/** The options of `pauseActivity`. */
export interface PauseOptions extends RequestOptions {
  /**
   * Why, for other administrators: one line of at most 200 characters. Default empty. Of an activity that is paused
   * already, the last request counts.
   */
  readonly reason?: string | undefined;
}

/** The options of `listActivities`. */
export interface ListActivitiesOptions extends RequestOptions {
  /**
   * The maximum number of activities to return. Default (0) 50. A value above 100 counts as 100. A negative value is
   * refused.
   */
  readonly pageSize?: number | undefined;
  /** The `nextPageToken` of the previous page, with the same owner. Default empty: the first page. */
  readonly pageToken?: string | undefined;
  /**
   * The owner whose open cases are counted. Default empty: the principal of the request. Any other owner needs the
   * role `admin`, or a worker with `answers = true`; otherwise the RPC fails with ROLE_MISSING.
   */
  readonly owner?: string | undefined;
}

/** The options of `listAuditEntries`. */
export interface ListAuditEntriesOptions extends RequestOptions {
  /**
   * The maximum number of entries to return. Default (0) 50. A value above 1,000 counts as 1,000. A negative value is
   * refused.
   */
  readonly pageSize?: number | undefined;
  /** The `nextPageToken` of the previous page, with the same filters. Default empty: the first page. */
  readonly pageToken?: string | undefined;
  /**
   * Selects entries about cases of this owner. Default empty: all that the principal of the request sees. Any other
   * owner than that principal needs the role `admin`, or a worker with `answers = true`; otherwise the RPC fails with
   * ROLE_MISSING.
   */
  readonly owner?: string | undefined;
  /** Selects entries of changes by this principal. Default empty: all. */
  readonly actor?: string | undefined;
  /** Selects entries of one kind of change. Default: all. */
  readonly action?: Exclude<AuditAction, "UNKNOWN"> | undefined;
  /** Selects entries about this case, also after the case was deleted. Default empty: all. */
  readonly caseId?: string | undefined;
  /** Selects entries about this activity and its cases. Default empty: all. */
  readonly activity?: string | undefined;
  /** Selects entries of this time or later. Default: all. */
  readonly recordedAfter?: Date | undefined;
  /** Selects entries of an earlier time than this. Default: all. */
  readonly recordedBefore?: Date | undefined;
}

/** The options of `verifyAudit`. */
export interface VerifyAuditOptions extends RequestOptions {
  /** The `nextPageToken` of the previous page, with the same heads. Default empty: the first page. */
  readonly pageToken?: string | undefined;
  /**
   * Heads of earlier responses, kept outside of the store. An entry before such a head that is not there any more, or
   * is another one, is found, unless it is past the retention. Default: none. At most 200.
   */
  readonly heads?: readonly Given<AuditHead>[] | undefined;
}

/** The options of `createProfile`. */
export interface CreateProfileOptions extends RequestOptions {
  /**
   * The other settings of the kind, as a JSON object. Those that name files or URLs are refused. Default empty: none.
   */
  readonly settings?: string | undefined;
}

/** The options of `listProfiles`. */
export interface ListProfilesOptions extends RequestOptions {
  /**
   * The maximum number of profiles to return. Default (0) 50. A value above 100 counts as 100. A negative value is
   * refused.
   */
  readonly pageSize?: number | undefined;
  /** The `nextPageToken` of the previous page. Default empty: the first page. */
  readonly pageToken?: string | undefined;
}

/** The options of `updateProfile`. */
export interface UpdateProfileOptions extends RequestOptions {
  /**
   * The new settings in place of all former ones, as in `createProfile`. The kind stays. Default: no change.
   */
  readonly settings?: string | undefined;
  /** Secrets or keys to add. At most 4 can be valid at a time. Default: none. Concealed in debug output. */
  readonly addedSecrets?: readonly string[] | undefined;
  /** The ids of secrets to retire. Default: none. */
  readonly retiredSecretIds?: readonly string[] | undefined;
  /** From when on these are not valid any more. Default: now. */
  readonly retireTime?: Date | undefined;
}

/** The options of `checkProfile`. */
export interface CheckProfileOptions extends RequestOptions {
  /** A call of a callback that the principal sees. Give either this or `httpRequest`. */
  readonly callId?: string | undefined;
  /**
   * A request to check in place of a call, as text: its first line, its header fields, an empty line and its body, as
   * in HTTP/1.1. Default empty: the request of the call. Concealed in debug output.
   */
  readonly httpRequest?: Uint8Array | undefined;
  /**
   * The URL of the request with its query, as the sender knows it. No server keeps it, so give it if the sender signs
   * it. Default empty: of a given request, its `Host` and its path. Concealed in debug output.
   */
  readonly url?: string | undefined;
  /** When a given request arrived. Default: now. */
  readonly arrivalTime?: Date | undefined;
}

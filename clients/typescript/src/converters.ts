/** Conversion between the protobuf messages of the contract and the values of this library. */

import { create } from "@bufbuild/protobuf";
import { type Duration, durationMs, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { type Answer, decisionOf, Reject } from "./decisions.js";
import type { CallReason } from "./enums.js";
import * as handler from "./gen/callback/v1/callback_handler_service_pb.js";
import * as pb from "./gen/callback/v1/callback_pb.js";
import * as service from "./gen/callback/v1/callbacks_service_pb.js";
import * as ops from "./gen/callback/v1/operations_service_pb.js";
import { Headers, Query } from "./pairs.js";
import { Call, IncomingCall, LATEST } from "./request.js";
import { Response } from "./response.js";
import * as values from "./values.js";

export function callbackFrom(message: pb.Callback): values.Callback {
  return {
    caseId: message.callbackCaseId,
    owner: message.owner,
    status: wordOf(pb.CallbackStatus, message.status) ?? "UNKNOWN",
    closeReason: wordOf(pb.CloseReason, message.closeReason),
    activity: message.callbackActivity,
    activityCase: message.callbackActivityCase,
    stateQueryParameter: message.stateQueryParameter,
    retryableAfterError: message.retryableAfterError,
    allowMultipleCalls: message.allowMultipleCalls,
    alternativeDomain: message.alternativeDomain,
    response: responseFrom(message.response) ?? new Response(undefined, { type: "CASE" }),
    labels: { ...message.labels },
    createTime: dateOf(message.createTime) ?? new Date(0),
    expireTime: dateOf(message.expireTime),
    closeTime: dateOf(message.closeTime),
    callCount: Number(message.callCount),
    verificationProfile: message.verificationProfile,
    getGuard: wordOf(pb.GetGuard, message.getGuard) ?? "OFF",
    answerMode: wordOf(pb.AnswerMode, message.answerMode) ?? "HANDLER",
    answerDeadlineMs: msOf(message.answerDeadline),
    fallback: responseFrom(message.fallback),
    ordered: message.ordered,
    closedResponse: responseFrom(message.closedResponse),
    prompt: message.prompt && {
      title: message.prompt.title,
      text: message.prompt.text,
      choices: Object.fromEntries(message.prompt.choices.map(({ value, label }) => [value, label])),
    },
    holdTimeMs: msOf(message.holdTime),
    repeatWindowMs: msOf(message.repeatWindow) ?? 0,
    noRepeat: message.noRepeat,
    resolved: message.resolved,
    remindAfterMs: message.remindAfter.map((each) => durationMs(each)),
    notify: message.notify.map(reasonOf),
    notifications: message.notifications.map(callFrom),
  };
}

export function generatedFrom(message: service.GenerateCallbackUrlResponse): values.GeneratedCallback {
  return new values.GeneratedCallback({
    url: message.callbackUrl,
    state: message.callbackState,
    caseId: message.callbackCaseId,
    expireTime: dateOf(message.expireTime),
    warnings: message.warnings.map(({ reason, text }) => ({
      reason: wordOf(service.WarningReason, reason) ?? "UNKNOWN",
      text,
    })),
  });
}

export function callFrom(message: pb.Call): Call {
  return new Call({
    ...requestOf(message),
    caseId: message.callbackCaseId,
    verificationFailure: message.verificationFailure,
    status: wordOf(pb.CallStatus, message.status) ?? "UNKNOWN",
    reason: reasonOf(message.reason),
    failure: wordOf(pb.CallFailure, message.failure),
    failureDetail: message.failureDetail,
    bodySize: Number(message.requestBodySize),
    response: responseFrom(message.response),
    keepOpen: message.keepOpen,
    close: message.close,
    erased: message.erased,
    startTime: dateOf(message.startTime) ?? new Date(0),
    endTime: dateOf(message.endTime),
    delivery: message.delivery && deliveryFrom(message.delivery),
    fallbackSent: message.fallbackSent,
    callerGone: message.callerGone,
    repeatCount: Number(message.repeatCount),
    answeredBy: message.answeredBy,
  });
}

export function eventFrom(message: service.CallEvent): values.CallEvent {
  return {
    type: wordOf(service.CallEventType, message.type) ?? "UNKNOWN",
    caseId: message.callbackCaseId,
    callId: message.callId,
    activity: message.callbackActivity,
    owner: message.owner,
    time: dateOf(message.time) ?? new Date(0),
    caseStatus: wordOf(pb.CallbackStatus, message.caseStatus) ?? "UNKNOWN",
    closeReason: wordOf(pb.CloseReason, message.closeReason),
    callStatus: wordOf(pb.CallStatus, message.callStatus),
    deliveryStatus: wordOf(pb.DeliveryStatus, message.deliveryStatus),
    resumeToken: message.resumeToken,
    reason: wordOf(pb.CallReason, message.reason),
  };
}

export function activityFrom(message: ops.Activity): values.Activity {
  return {
    activity: message.callbackActivity,
    kind: wordOf(ops.ActivityKind, message.kind) ?? "UNKNOWN",
    workerCount: message.workerCount,
    paused: message.paused,
    deliveryCount: Number(message.deliveryCount),
    openCallbackCount: Number(message.openCallbackCount),
    notificationWorkerCount: message.notificationWorkerCount,
  };
}

export function pausedFrom(message: ops.PausedActivity): values.PausedActivity {
  return {
    activity: message.callbackActivity,
    principal: message.principal,
    reason: message.reason,
    pauseTime: dateOf(message.pauseTime),
  };
}

export function findingFrom(message: ops.Finding): values.Finding {
  return {
    check: message.check,
    level: wordOf(ops.FindingLevel, message.level) ?? "UNKNOWN",
    seen: message.seen,
    advice: message.advice,
  };
}

export function statisticsFrom(message: ops.GetStatisticsResponse): values.Statistics {
  return {
    minutes: message.minutes.map((minute) => ({
      startTime: dateOf(minute.startTime) ?? new Date(0),
      durationMs: msOf(minute.duration) ?? 0,
      outcomes: minute.outcomes.map((each) => ({
        status: wordOf(pb.CallStatus, each.callStatus) ?? "UNKNOWN",
        failure: wordOf(pb.CallFailure, each.callFailure),
        count: Number(each.count),
      })),
      refusals: Object.fromEntries(minute.refusals.map(({ reason, count }) => [reason, Number(count)])),
      stages: minute.stages.map(stageFrom),
      work: minute.work && workFrom(minute.work),
    })),
    stages: message.stages.map(stageFrom),
    owners: message.owners.map((each) => ({
      owner: each.owner,
      openCallbackCount: Number(each.openCallbackCount),
      waitingCallCount: Number(each.waitingCallCount),
      deadCallCount: Number(each.deadCallCount),
    })),
    work: workFrom(message.work ?? create(ops.WorkStatisticsSchema)),
  };
}

export function incomingCallFrom(message: handler.HandleCallbackRequest): IncomingCall {
  return new IncomingCall({
    ...requestOf(message),
    caseId: message.callbackSystemCase,
    activity: message.callbackActivity,
    activityCase: message.callbackActivityCase,
    response: responseFrom(message.response) ?? new Response(undefined, { type: "CASE" }),
    labels: { ...message.labels },
    deadline: deadlineOf(message),
    replayed: message.replayed,
    owner: message.owner,
    traceparent: message.traceparent,
  });
}

export function notificationFrom(message: handler.HandleCallbackRequest): values.Notification {
  return {
    reason: reasonOf(message.reason),
    callId: message.callId,
    caseId: message.callbackSystemCase,
    activity: message.callbackActivity,
    activityCase: message.callbackActivityCase,
    labels: { ...message.labels },
    attempt: Number(message.attempt),
    deadline: deadlineOf(message),
    replayed: message.replayed,
    owner: message.owner,
    traceparent: message.traceparent,
  };
}

/** Return what a recorded call and one for a handler have of the request of a caller. */
function requestOf(message: pb.Call | handler.HandleCallbackRequest) {
  return {
    callId: message.callId,
    attempt: Number(message.attempt),
    method: message.requestMethod,
    headers: headersFrom(message.requestHeaders),
    query: queryFrom(message.requestQuery),
    queryString: message.requestQueryString,
    body: message.requestBody,
    clientAddress: message.clientAddress,
    verificationProfile: message.verificationProfile,
    messageId: message.messageId,
    choice: message.callbackChoice,
  };
}

/** Return the deadline by the clock of this machine. Without a timeout, the server's own time is all there is. */
function deadlineOf({ timeout, deadline }: handler.HandleCallbackRequest): Date {
  return timeout === undefined ? (dateOf(deadline) ?? LATEST) : new Date(Date.now() + durationMs(timeout));
}

/** Return whether a request of the server is a notification. */
export function isNotification(message: handler.HandleCallbackRequest): boolean {
  return message.reason !== pb.CallReason.UNSPECIFIED && message.reason !== pb.CallReason.CALL;
}

/** Return the message of a response. An attribute that is undefined stays unset. */
export function responseTo(response: Response): pb.Response {
  return create(pb.ResponseSchema, {
    responseType: response.type === undefined ? pb.ResponseType.UNSPECIFIED : pb.ResponseType[response.type],
    responseRedirectUrl: response.redirectUrl,
    responseBody: response.body,
    responseCode: response.code,
    responseHeading: response.heading,
    responseText: response.text,
    responseLinkLabel: response.linkLabel,
    responseLinkUrl: response.linkUrl,
    responseHeaders: response.headers && {
      headers: response.headers.pairs.map(([name, value]) => ({ name, value })),
    },
  });
}

/** Return the message of a decision. @throws TypeError: The answer is no decision. */
export function decisionTo(answer: Answer | Reject): handler.HandleCallbackResponse {
  const decision = decisionOf(answer);
  const rejected = decision instanceof Reject;
  return create(handler.HandleCallbackResponseSchema, {
    verdict: rejected ? handler.Verdict.REJECTED : handler.Verdict.ACCEPTED,
    response: decision.response && responseTo(decision.response),
    keepOpen: rejected ? false : decision.keepOpen,
    close: rejected ? false : decision.close,
    noRepeat: decision.noRepeat,
  });
}

/** Return the date of a timestamp. Undefined if it is not set. */
export function dateOf(timestamp: Timestamp | undefined): Date | undefined {
  return timestamp && timestampDate(timestamp);
}

function responseFrom(message: pb.Response | undefined): Response | undefined {
  if (message === undefined) {
    return undefined;
  }
  const type = wordOf(pb.ResponseType, message.responseType);
  return new Response(message.responseBody, {
    type: type === undefined || type === "UNKNOWN" ? "CASE" : type,
    redirectUrl: message.responseRedirectUrl,
    code: message.responseCode,
    headers: message.responseHeaders && headersFrom(message.responseHeaders.headers),
    heading: message.responseHeading,
    text: message.responseText,
    linkLabel: message.responseLinkLabel,
    linkUrl: message.responseLinkUrl,
  });
}

function deliveryFrom(message: pb.Delivery): values.Delivery {
  return {
    status: wordOf(pb.DeliveryStatus, message.status) ?? "UNKNOWN",
    attempts: message.attempts,
    nextAttemptTime: dateOf(message.nextAttemptTime),
    failure: wordOf(pb.CallFailure, message.failure),
    failureDetail: message.failureDetail,
    response: responseFrom(message.response),
    paused: message.paused,
  };
}

function workFrom(message: ops.WorkStatistics): values.WorkStatistics {
  return {
    openCallbackCount: Number(message.openCallbackCount),
    waitingCallCount: Number(message.waitingCallCount),
    deadCallCount: Number(message.deadCallCount),
    deliveryCount: Number(message.deliveryCount),
    deliveryDelayMs: msOf(message.deliveryDelay) ?? 0,
  };
}

function stageFrom(message: ops.StageDuration): values.StageDuration {
  return {
    stage: message.stage,
    count: Number(message.count),
    medianMs: msOf(message.median) ?? 0,
    p95Ms: msOf(message.p95) ?? 0,
    p99Ms: msOf(message.p99) ?? 0,
  };
}

function headersFrom(messages: readonly { name: string; value: string }[]): Headers {
  return new Headers(messages.map(({ name, value }) => [name, value] as const));
}

function queryFrom(messages: readonly { name: string; value: string }[]): Query {
  return new Query(messages.map(({ name, value }) => [name, value] as const));
}

/** Return a reason. A server of the release before sends none, and knows calls alone. */
function reasonOf(number: pb.CallReason): CallReason {
  return wordOf(pb.CallReason, number) ?? "CALL";
}

/** Return the word for an enum's number: undefined for unspecified, UNKNOWN for a number of a newer server. */
function wordOf<Names extends Readonly<Record<string, string | number>>>(
  names: Names,
  number: number,
): Exclude<keyof Names & string, "UNSPECIFIED"> | "UNKNOWN" | undefined {
  return number === 0 ? undefined : ((names[number] ?? "UNKNOWN") as Exclude<keyof Names & string, "UNSPECIFIED">);
}

function msOf(duration: Duration | undefined): number | undefined {
  return duration && durationMs(duration);
}

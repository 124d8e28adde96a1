// Generated from the contract: `python3 tasks.py generate`.

import { create } from "@bufbuild/protobuf";
import { durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Given } from "../concealing.js";
import * as auditService from "../gen/callback/v1/audit_service_pb.js";
import type * as callbackHandlerService from "../gen/callback/v1/callback_handler_service_pb.js";
import * as callback from "../gen/callback/v1/callback_pb.js";
import * as callbacksService from "../gen/callback/v1/callbacks_service_pb.js";
import * as operationsService from "../gen/callback/v1/operations_service_pb.js";
import * as profilesService from "../gen/callback/v1/profiles_service_pb.js";
import { dateOf, deadlineOf, longOf, messagesOf, msOf, numberOf, pairsOf, wordOf } from "../messages.js";
import { type Response, receivedResponse } from "../response.js";
import {
  type Activity,
  type AuditChain,
  type AuditEntry,
  type AuditHead,
  type AuditProblem,
  Call,
  type Callback,
  type CallbackWarning,
  type CallEvent,
  type Delivery,
  type Finding,
  type Findings,
  GeneratedCallback,
  IncomingCall,
  type MinuteStatistics,
  type OutcomeCount,
  type OwnerStatistics,
  type PausedActivity,
  type Profile,
  type ProfileCheck,
  type ProfileSecret,
  type Prompt,
  type PromptChoice,
  type PromptField,
  type RefusalCount,
  type StageDuration,
  type Statistics,
  type WorkStatistics,
} from "./values.js";

export function auditEntryFrom(message: auditService.AuditEntry): AuditEntry {
  return {
    chain: message.chain,
    sequence: Number(message.sequence),
    time: dateOf(message.time) ?? new Date(0),
    actor: message.actor,
    action: wordOf(auditService.AuditAction, message.action) ?? "UNKNOWN",
    owner: message.owner,
    activity: message.callbackActivity,
    caseId: message.callbackCaseId,
    callId: message.callId,
    reason: message.reason,
    details: { ...message.details },
    digest: message.digest,
    keyId: message.keyId,
    verificationProfile: message.verificationProfile,
  };
}

export function auditHeadFrom(message: auditService.AuditHead): AuditHead {
  return {
    chain: message.chain,
    sequence: Number(message.sequence),
    digest: message.digest,
    time: dateOf(message.time) ?? new Date(0),
  };
}

export function auditChainFrom(message: auditService.AuditChain): AuditChain {
  return {
    chain: message.chain,
    entryCount: Number(message.entryCount),
    firstSequence: Number(message.firstSequence),
    head: message.head && auditHeadFrom(message.head),
    problems: message.problems.map(auditProblemFrom),
  };
}

export function auditProblemFrom(message: auditService.AuditProblem): AuditProblem {
  return {
    kind: wordOf(auditService.AuditProblemKind, message.kind) ?? "UNKNOWN",
    sequence: Number(message.sequence),
    text: message.text,
  };
}

export function callbackFrom(message: callback.Callback): Callback {
  return {
    caseId: message.callbackCaseId,
    owner: message.owner,
    status: wordOf(callback.CallbackStatus, message.status) ?? "UNKNOWN",
    closeReason: wordOf(callback.CloseReason, message.closeReason),
    activity: message.callbackActivity,
    activityCase: message.callbackActivityCase,
    stateQueryParameter: message.stateQueryParameter,
    retryableAfterError: message.retryableAfterError,
    allowMultipleCalls: message.allowMultipleCalls,
    alternativeDomain: message.alternativeDomain,
    response: responseFrom(message.response ?? create(callback.ResponseSchema)),
    labels: { ...message.labels },
    createTime: dateOf(message.createTime) ?? new Date(0),
    expireTime: dateOf(message.expireTime),
    closeTime: dateOf(message.closeTime),
    callCount: Number(message.callCount),
    verificationProfile: message.verificationProfile,
    getGuard: wordOf(callback.GetGuard, message.getGuard) ?? "OFF",
    answerMode: wordOf(callback.AnswerMode, message.answerMode) ?? "HANDLER",
    answerDeadlineMs: msOf(message.answerDeadline),
    fallback: message.fallback && responseFrom(message.fallback),
    ordered: message.ordered,
    holdTimeMs: msOf(message.holdTime),
    repeatWindowMs: msOf(message.repeatWindow) ?? 0,
    noRepeat: message.noRepeat,
    resolved: message.resolved,
    closedResponse: message.closedResponse && responseFrom(message.closedResponse),
    prompt: message.prompt && promptFrom(message.prompt),
    remindAfterMs: message.remindAfter.map(durationMs),
    notify: message.notify.map((each) => wordOf(callback.CallReason, each) ?? "UNKNOWN"),
    notifications: message.notifications.map(callFrom),
    allowedOrigins: message.allowedOrigins,
    frameOrigins: message.frameOrigins,
    endpoint: message.endpoint,
    correlationKey: message.correlationKey,
  };
}

export function promptFrom(message: callback.Prompt): Prompt {
  return {
    title: message.title,
    text: message.text,
    choices: message.choices.map(promptChoiceFrom),
    language: message.language,
    fields: message.fields.map(promptFieldFrom),
  };
}

export function promptFieldFrom(message: callback.PromptField): PromptField {
  return {
    name: message.name,
    label: message.label,
    kind: wordOf(callback.FieldKind, message.kind) ?? "TEXT",
    isRequired: message.isRequired,
    defaultValue: message.defaultValue,
    minimum: message.minimum,
    maximum: message.maximum,
    choices: message.choices.map(promptChoiceFrom),
    help: message.help,
  };
}

export function promptChoiceFrom(message: callback.PromptChoice): PromptChoice {
  return {
    value: message.value,
    label: message.label,
  };
}

export function responseFrom(message: callback.Response): Response {
  return receivedResponse({
    type: wordOf(callback.ResponseType, message.responseType),
    redirectUrl: message.responseRedirectUrl,
    body: message.responseBody,
    code: message.responseCode,
    headers: message.responseHeaders && pairsOf(message.responseHeaders.headers),
    heading: message.responseHeading,
    text: message.responseText,
    linkLabel: message.responseLinkLabel,
    linkUrl: message.responseLinkUrl,
    language: message.responseLanguage,
  });
}

export function callFrom(message: callback.Call): Call {
  return new Call({
    callId: message.callId,
    caseId: message.callbackCaseId,
    status: wordOf(callback.CallStatus, message.status) ?? "UNKNOWN",
    failure: wordOf(callback.CallFailure, message.failure),
    failureDetail: message.failureDetail,
    attempt: Number(message.attempt),
    method: message.requestMethod,
    headers: pairsOf(message.requestHeaders),
    query: pairsOf(message.requestQuery),
    queryString: message.requestQueryString,
    body: message.requestBody,
    bodySize: Number(message.requestBodySize),
    clientAddress: message.clientAddress,
    response: message.response && responseFrom(message.response),
    keepOpen: message.keepOpen,
    close: message.close,
    startTime: dateOf(message.startTime) ?? new Date(0),
    endTime: dateOf(message.endTime),
    erased: message.erased,
    bodyDropped: message.bodyDropped,
    verificationProfile: message.verificationProfile,
    messageId: message.messageId,
    verificationFailure: message.verificationFailure,
    delivery: message.delivery && deliveryFrom(message.delivery),
    fallbackSent: message.fallbackSent,
    callerGone: message.callerGone,
    repeatCount: Number(message.repeatCount),
    choice: message.callbackChoice,
    fieldsJson: message.fieldsJson,
    correlationKey: message.correlationKey,
    reason: wordOf(callback.CallReason, message.reason) ?? "CALL",
    answeredBy: message.answeredBy,
  });
}

export function deliveryFrom(message: callback.Delivery): Delivery {
  return {
    status: wordOf(callback.DeliveryStatus, message.status) ?? "UNKNOWN",
    attempts: message.attempts,
    nextAttemptTime: dateOf(message.nextAttemptTime),
    failure: wordOf(callback.CallFailure, message.failure),
    failureDetail: message.failureDetail,
    response: message.response && responseFrom(message.response),
    paused: message.paused,
  };
}

export function incomingCallFrom(message: callbackHandlerService.HandleCallbackRequest): IncomingCall {
  return new IncomingCall({
    callId: message.callId,
    caseId: message.callbackSystemCase,
    activity: message.callbackActivity,
    activityCase: message.callbackActivityCase,
    attempt: Number(message.attempt),
    method: message.requestMethod,
    headers: pairsOf(message.requestHeaders),
    query: pairsOf(message.requestQuery),
    queryString: message.requestQueryString,
    body: message.requestBody,
    clientAddress: message.clientAddress,
    response: responseFrom(message.response ?? create(callback.ResponseSchema)),
    labels: { ...message.labels },
    deadline: deadlineOf(message),
    verificationProfile: message.verificationProfile,
    messageId: message.messageId,
    replayed: message.replayed,
    owner: message.owner,
    choice: message.callbackChoice,
    fieldsJson: message.fieldsJson,
    endpoint: message.endpoint,
    reason: wordOf(callback.CallReason, message.reason) ?? "CALL",
    traceparent: message.traceparent,
  });
}

export function generatedCallbackFrom(message: callbacksService.GenerateCallbackUrlResponse): GeneratedCallback {
  return new GeneratedCallback({
    url: message.callbackUrl,
    state: message.callbackState,
    caseId: message.callbackCaseId,
    expireTime: dateOf(message.expireTime),
    warnings: message.warnings.map(callbackWarningFrom),
  });
}

export function callbackWarningFrom(message: callbacksService.Warning): CallbackWarning {
  return {
    reason: wordOf(callbacksService.WarningReason, message.reason) ?? "UNKNOWN",
    text: message.text,
  };
}

export function callEventFrom(message: callbacksService.CallEvent): CallEvent {
  return {
    type: wordOf(callbacksService.CallEventType, message.type) ?? "UNKNOWN",
    caseId: message.callbackCaseId,
    callId: message.callId,
    activity: message.callbackActivity,
    owner: message.owner,
    time: dateOf(message.time) ?? new Date(0),
    caseStatus: wordOf(callback.CallbackStatus, message.caseStatus) ?? "UNKNOWN",
    closeReason: wordOf(callback.CloseReason, message.closeReason),
    callStatus: wordOf(callback.CallStatus, message.callStatus),
    deliveryStatus: wordOf(callback.DeliveryStatus, message.deliveryStatus),
    resumeToken: message.resumeToken,
    reason: wordOf(callback.CallReason, message.reason),
  };
}

export function pausedActivityFrom(message: operationsService.PausedActivity): PausedActivity {
  return {
    activity: message.callbackActivity,
    principal: message.principal,
    reason: message.reason,
    pauseTime: dateOf(message.pauseTime),
  };
}

export function activityFrom(message: operationsService.Activity): Activity {
  return {
    activity: message.callbackActivity,
    kind: wordOf(operationsService.ActivityKind, message.kind) ?? "UNKNOWN",
    workerCount: message.workerCount,
    paused: message.paused,
    deliveryCount: Number(message.deliveryCount),
    openCallbackCount: Number(message.openCallbackCount),
    notificationWorkerCount: message.notificationWorkerCount,
  };
}

export function statisticsFrom(message: operationsService.GetStatisticsResponse): Statistics {
  return {
    minutes: message.minutes.map(minuteStatisticsFrom),
    stages: message.stages.map(stageDurationFrom),
    owners: message.owners.map(ownerStatisticsFrom),
    work: workStatisticsFrom(message.work ?? create(operationsService.WorkStatisticsSchema)),
  };
}

export function minuteStatisticsFrom(message: operationsService.MinuteStatistics): MinuteStatistics {
  return {
    startTime: dateOf(message.startTime) ?? new Date(0),
    durationMs: msOf(message.duration) ?? 0,
    outcomes: message.outcomes.map(outcomeCountFrom),
    refusals: message.refusals.map(refusalCountFrom),
    stages: message.stages.map(stageDurationFrom),
    work: message.work && workStatisticsFrom(message.work),
  };
}

export function workStatisticsFrom(message: operationsService.WorkStatistics): WorkStatistics {
  return {
    openCallbackCount: Number(message.openCallbackCount),
    waitingCallCount: Number(message.waitingCallCount),
    deadCallCount: Number(message.deadCallCount),
    deliveryCount: Number(message.deliveryCount),
    deliveryDelayMs: msOf(message.deliveryDelay) ?? 0,
  };
}

export function outcomeCountFrom(message: operationsService.OutcomeCount): OutcomeCount {
  return {
    status: wordOf(callback.CallStatus, message.callStatus) ?? "UNKNOWN",
    failure: wordOf(callback.CallFailure, message.callFailure),
    count: Number(message.count),
  };
}

export function refusalCountFrom(message: operationsService.RefusalCount): RefusalCount {
  return {
    reason: message.reason,
    count: Number(message.count),
  };
}

export function stageDurationFrom(message: operationsService.StageDuration): StageDuration {
  return {
    stage: message.stage,
    count: Number(message.count),
    medianMs: msOf(message.median) ?? 0,
    p95Ms: msOf(message.p95) ?? 0,
    p99Ms: msOf(message.p99) ?? 0,
  };
}

export function ownerStatisticsFrom(message: operationsService.OwnerStatistics): OwnerStatistics {
  return {
    owner: message.owner,
    openCallbackCount: Number(message.openCallbackCount),
    waitingCallCount: Number(message.waitingCallCount),
    deadCallCount: Number(message.deadCallCount),
  };
}

export function findingsFrom(message: operationsService.ListFindingsResponse): Findings {
  return {
    findings: message.findings.map(findingFrom),
    checkTime: dateOf(message.checkTime) ?? new Date(0),
  };
}

export function findingFrom(message: operationsService.Finding): Finding {
  return {
    check: message.check,
    level: wordOf(operationsService.FindingLevel, message.level) ?? "UNKNOWN",
    seen: message.seen,
    advice: message.advice,
  };
}

export function profileFrom(message: profilesService.Profile): Profile {
  return {
    name: message.name,
    kind: message.kind,
    settings: message.settings,
    secrets: message.secrets.map(profileSecretFrom),
    createTime: dateOf(message.createTime) ?? new Date(0),
    updateTime: dateOf(message.updateTime) ?? new Date(0),
    problem: message.problem,
  };
}

export function profileSecretFrom(message: profilesService.ProfileSecret): ProfileSecret {
  return {
    secretId: message.secretId,
    fingerprint: message.fingerprint,
    createTime: dateOf(message.createTime) ?? new Date(0),
    retireTime: dateOf(message.retireTime),
  };
}

export function profileCheckFrom(message: profilesService.CheckProfileResponse): ProfileCheck {
  return {
    outcome: wordOf(profilesService.CheckOutcome, message.outcome) ?? "UNKNOWN",
    why: message.why,
    secretId: message.secretId,
    messageId: message.messageId,
  };
}

export function auditHeadTo(auditHead: Given<AuditHead>): auditService.AuditHead {
  return create(auditService.AuditHeadSchema, {
    chain: auditHead.chain,
    sequence: longOf(auditHead.sequence),
    digest: auditHead.digest,
    time: auditHead.time && timestampFromDate(auditHead.time),
  });
}

export function promptChoiceTo(promptChoice: Given<PromptChoice>): callback.PromptChoice {
  return create(callback.PromptChoiceSchema, {
    value: promptChoice.value,
    label: promptChoice.label,
  });
}

export function promptFieldTo(promptField: Given<PromptField, "name" | "label">): callback.PromptField {
  return create(callback.PromptFieldSchema, {
    name: promptField.name,
    label: promptField.label,
    kind: numberOf(callback.FieldKind, promptField.kind),
    isRequired: promptField.isRequired,
    defaultValue: promptField.defaultValue,
    minimum: promptField.minimum,
    maximum: promptField.maximum,
    choices: promptField.choices?.map(promptChoiceTo),
    help: promptField.help,
  });
}

export function promptTo(prompt: Given<Prompt, "title">): callback.Prompt {
  return create(callback.PromptSchema, {
    title: prompt.title,
    text: prompt.text,
    choices: prompt.choices?.map(promptChoiceTo),
    language: prompt.language,
    fields: prompt.fields?.map(promptFieldTo),
  });
}

export function responseTo(response: Response): callback.Response {
  return create(callback.ResponseSchema, {
    responseType: numberOf(callback.ResponseType, response.type),
    responseRedirectUrl: response.redirectUrl,
    responseBody: response.body,
    responseCode: response.code,
    responseHeaders: response.headers && { headers: messagesOf(response.headers) },
    responseHeading: response.heading,
    responseText: response.text,
    responseLinkLabel: response.linkLabel,
    responseLinkUrl: response.linkUrl,
    responseLanguage: response.language,
  });
}

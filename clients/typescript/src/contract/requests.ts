// Generated from the contract: `python3 tasks.py generate`.

import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import * as checks from "../checks.js";
import * as auditService from "../gen/callback/v1/audit_service_pb.js";
import * as callback from "../gen/callback/v1/callback_pb.js";
import * as callbacksService from "../gen/callback/v1/callbacks_service_pb.js";
import * as operationsService from "../gen/callback/v1/operations_service_pb.js";
import * as profilesService from "../gen/callback/v1/profiles_service_pb.js";
import { durationFromMs, durationOf, numberOf } from "../messages.js";
import { REQUEST, WATCHING } from "../option-checks.js";
import type { RequestOptions } from "../options.js";
import { checkSent, type Response } from "../response.js";
import { auditHeadTo, promptTo, responseTo } from "./converters.js";
import type { CallFilter } from "./enums.js";
import * as enums from "./enums.js";
import type {
  CheckProfileOptions,
  CreateProfileOptions,
  GenerateOptions,
  ListActivitiesOptions,
  ListAuditEntriesOptions,
  ListCallbacksOptions,
  ListCallsOptions,
  ListOwnerCallsOptions,
  ListProfilesOptions,
  PauseOptions,
  UpdateProfileOptions,
  VerifyAuditOptions,
  WatchOptions,
} from "./options.js";
import type { AuditHead, Prompt, PromptChoice, PromptField } from "./values.js";

const AUDIT_HEAD = {
  chain: checks.whole32,
  sequence: checks.whole64,
  digest: checks.text,
  time: checks.date,
} satisfies checks.Checks<AuditHead>;

const PROMPT_CHOICE = { value: checks.text, label: checks.text } satisfies checks.Checks<PromptChoice>;

const PROMPT_FIELD = {
  name: checks.text,
  label: checks.text,
  kind: checks.wordOf(enums.FieldKind),
  isRequired: checks.boolean,
  defaultValue: checks.text,
  minimum: checks.text,
  maximum: checks.text,
  choices: checks.arrayOf(checks.nested(PROMPT_CHOICE, "{ value: … }")),
  help: checks.text,
} satisfies checks.Checks<PromptField>;

const PROMPT = {
  title: checks.text,
  text: checks.text,
  choices: checks.arrayOf(checks.nested(PROMPT_CHOICE, "{ value: … }")),
  language: checks.text,
  fields: checks.arrayOf(checks.nested(PROMPT_FIELD, "{ name: … }", ["name", "label"])),
} satisfies checks.Checks<Prompt>;

export const GENERATE_CALLBACK_URL = {
  ...REQUEST,
  activityCase: checks.text,
  stateQueryParameter: checks.text,
  retryableAfterError: checks.boolean,
  allowMultipleCalls: checks.boolean,
  alternativeDomain: checks.text,
  requestId: checks.text,
  timeToLiveMs: checks.someMs,
  labels: checks.texts,
  verificationProfile: checks.text,
  getGuard: checks.wordOf(enums.GetGuard),
  answerMode: checks.wordOf(enums.AnswerMode),
  answerDeadlineMs: checks.someMs,
  fallback: checkSent,
  ordered: checks.boolean,
  closedResponse: checkSent,
  prompt: checks.nested(PROMPT, "{ title: … }", ["title"]),
  holdTimeMs: checks.someMs,
  repeatWindowMs: checks.someMs,
  noRepeat: checks.boolean,
  remindAfterMs: checks.arrayOf(checks.someMs),
  notify: checks.arrayOf(checks.wordOf(enums.CallReason)),
  allowedOrigins: checks.arrayOf(checks.text),
  frameOrigins: checks.arrayOf(checks.text),
  endpoint: checks.text,
  correlationKey: checks.text,
  noUrl: checks.boolean,
} satisfies checks.Checks<GenerateOptions>;

export function generateCallbackUrlRequest(
  activity: string,
  response: Response,
  options: GenerateOptions,
): callbacksService.GenerateCallbackUrlRequest {
  checks.text("activity", activity);
  checkSent("response", response);
  checks.checkOptions("generateCallbackUrl", options, GENERATE_CALLBACK_URL);
  return create(callbacksService.GenerateCallbackUrlRequestSchema, {
    callbackActivity: activity,
    callbackActivityCase: options.activityCase,
    stateQueryParameter: options.stateQueryParameter,
    retryableAfterError: options.retryableAfterError,
    allowMultipleCalls: options.allowMultipleCalls,
    alternativeDomain: options.alternativeDomain,
    response: responseTo(response),
    requestId: options.requestId,
    timeToLive: durationOf(options.timeToLiveMs),
    labels: { ...options.labels },
    verificationProfile: options.verificationProfile,
    getGuard: numberOf(callback.GetGuard, options.getGuard),
    answerMode: numberOf(callback.AnswerMode, options.answerMode),
    answerDeadline: durationOf(options.answerDeadlineMs),
    fallback: options.fallback && responseTo(options.fallback),
    ordered: options.ordered,
    closedResponse: options.closedResponse && responseTo(options.closedResponse),
    prompt: options.prompt && promptTo(options.prompt),
    holdTime: durationOf(options.holdTimeMs),
    repeatWindow: durationOf(options.repeatWindowMs),
    noRepeat: options.noRepeat,
    remindAfter: options.remindAfterMs?.map(durationFromMs),
    notify: options.notify?.map((each) => numberOf(callback.CallReason, each)),
    allowedOrigins: options.allowedOrigins && [...options.allowedOrigins],
    frameOrigins: options.frameOrigins && [...options.frameOrigins],
    endpoint: options.endpoint,
    correlationKey: options.correlationKey,
    noUrl: options.noUrl,
  });
}

export function closeCallbackRequest(caseId: string, options: RequestOptions): callbacksService.CloseCallbackRequest {
  checks.text("caseId", caseId);
  checks.checkOptions("closeCallback", options, REQUEST);
  return create(callbacksService.CloseCallbackRequestSchema, {
    callbackCaseId: caseId,
  });
}

export function extendCallbackRequest(
  caseId: string,
  expireTime: Date,
  options: RequestOptions,
): callbacksService.ExtendCallbackRequest {
  checks.text("caseId", caseId);
  checks.date("expireTime", expireTime);
  checks.checkOptions("extendCallback", options, REQUEST);
  return create(callbacksService.ExtendCallbackRequestSchema, {
    callbackCaseId: caseId,
    expireTime: timestampFromDate(expireTime),
  });
}

export function getCallbackRequest(caseId: string, options: RequestOptions): callbacksService.GetCallbackRequest {
  checks.text("caseId", caseId);
  checks.checkOptions("getCallback", options, REQUEST);
  return create(callbacksService.GetCallbackRequestSchema, {
    callbackCaseId: caseId,
  });
}

export const LIST_CALLBACKS = {
  ...REQUEST,
  pageSize: checks.whole32,
  pageToken: checks.text,
  status: checks.wordOf(enums.CallbackStatus),
  activity: checks.text,
  labels: checks.texts,
  owner: checks.text,
  lastCallStatus: checks.wordOf(enums.CallStatus),
  createdAfter: checks.date,
  createdBefore: checks.date,
  caseIdPrefix: checks.text,
} satisfies checks.Checks<ListCallbacksOptions>;

export function listCallbacksRequest(options: ListCallbacksOptions): callbacksService.ListCallbacksRequest {
  checks.checkOptions("listCallbacks", options, LIST_CALLBACKS);
  return create(callbacksService.ListCallbacksRequestSchema, {
    pageSize: options.pageSize,
    pageToken: options.pageToken,
    status: numberOf(callback.CallbackStatus, options.status),
    callbackActivity: options.activity,
    labels: { ...options.labels },
    owner: options.owner,
    lastCallStatus: numberOf(callback.CallStatus, options.lastCallStatus),
    createdAfter: options.createdAfter && timestampFromDate(options.createdAfter),
    createdBefore: options.createdBefore && timestampFromDate(options.createdBefore),
    caseIdPrefix: options.caseIdPrefix,
  });
}

export function getCallRequest(callId: string, options: RequestOptions): callbacksService.GetCallRequest {
  checks.text("callId", callId);
  checks.checkOptions("getCall", options, REQUEST);
  return create(callbacksService.GetCallRequestSchema, {
    callId,
  });
}

export const LIST_CALLS = {
  ...REQUEST,
  pageSize: checks.whole32,
  pageToken: checks.text,
} satisfies checks.Checks<ListCallsOptions>;

export function listCallsRequest(caseId: string, options: ListCallsOptions): callbacksService.ListCallsRequest {
  checks.text("caseId", caseId);
  checks.checkOptions("listCalls", options, LIST_CALLS);
  return create(callbacksService.ListCallsRequestSchema, {
    callbackCaseId: caseId,
    pageSize: options.pageSize,
    pageToken: options.pageToken,
  });
}

export const LIST_OWNER_CALLS = {
  ...REQUEST,
  owner: checks.text,
  pageSize: checks.whole32,
  pageToken: checks.text,
  activity: checks.text,
  endedAfter: checks.date,
} satisfies checks.Checks<ListOwnerCallsOptions>;

export function listOwnerCallsRequest(
  filter: CallFilter,
  options: ListOwnerCallsOptions,
): callbacksService.ListOwnerCallsRequest {
  checks.wordOf(enums.CallFilter)("filter", filter);
  checks.checkOptions("listOwnerCalls", options, LIST_OWNER_CALLS);
  return create(callbacksService.ListOwnerCallsRequestSchema, {
    filter: numberOf(callbacksService.CallFilter, filter),
    owner: options.owner,
    pageSize: options.pageSize,
    pageToken: options.pageToken,
    callbackActivity: options.activity,
    endedAfter: options.endedAfter && timestampFromDate(options.endedAfter),
  });
}

export function eraseCallsRequest(caseId: string, options: RequestOptions): callbacksService.EraseCallsRequest {
  checks.text("caseId", caseId);
  checks.checkOptions("eraseCalls", options, REQUEST);
  return create(callbacksService.EraseCallsRequestSchema, {
    callbackCaseId: caseId,
  });
}

export function replayCallRequest(callId: string, options: RequestOptions): callbacksService.ReplayCallRequest {
  checks.text("callId", callId);
  checks.checkOptions("replayCall", options, REQUEST);
  return create(callbacksService.ReplayCallRequestSchema, {
    callId,
  });
}

export const WATCH_CALLS = {
  ...WATCHING,
  activity: checks.text,
  labels: checks.texts,
  caseId: checks.text,
  resumeToken: checks.text,
  latestOnly: checks.boolean,
} satisfies checks.Checks<WatchOptions>;

export function watchCallsRequest(options: WatchOptions): callbacksService.WatchCallsRequest {
  checks.checkOptions("watchCalls", options, WATCH_CALLS);
  return create(callbacksService.WatchCallsRequestSchema, {
    callbackActivity: options.activity,
    labels: { ...options.labels },
    callbackCaseId: options.caseId,
    resumeToken: options.resumeToken,
    latestOnly: options.latestOnly,
  });
}

export const PAUSE_ACTIVITY = { ...REQUEST, reason: checks.text } satisfies checks.Checks<PauseOptions>;

export function pauseActivityRequest(activity: string, options: PauseOptions): operationsService.PauseActivityRequest {
  checks.text("activity", activity);
  checks.checkOptions("pauseActivity", options, PAUSE_ACTIVITY);
  return create(operationsService.PauseActivityRequestSchema, {
    callbackActivity: activity,
    reason: options.reason,
  });
}

export function resumeActivityRequest(
  activity: string,
  options: RequestOptions,
): operationsService.ResumeActivityRequest {
  checks.text("activity", activity);
  checks.checkOptions("resumeActivity", options, REQUEST);
  return create(operationsService.ResumeActivityRequestSchema, {
    callbackActivity: activity,
  });
}

export function listPausedActivitiesRequest(options: RequestOptions): operationsService.ListPausedActivitiesRequest {
  checks.checkOptions("listPausedActivities", options, REQUEST);
  return create(operationsService.ListPausedActivitiesRequestSchema, {});
}

export const LIST_ACTIVITIES = {
  ...REQUEST,
  pageSize: checks.whole32,
  pageToken: checks.text,
  owner: checks.text,
} satisfies checks.Checks<ListActivitiesOptions>;

export function listActivitiesRequest(options: ListActivitiesOptions): operationsService.ListActivitiesRequest {
  checks.checkOptions("listActivities", options, LIST_ACTIVITIES);
  return create(operationsService.ListActivitiesRequestSchema, {
    pageSize: options.pageSize,
    pageToken: options.pageToken,
    owner: options.owner,
  });
}

export function getStatisticsRequest(options: RequestOptions): operationsService.GetStatisticsRequest {
  checks.checkOptions("getStatistics", options, REQUEST);
  return create(operationsService.GetStatisticsRequestSchema, {});
}

export function listFindingsRequest(options: RequestOptions): operationsService.ListFindingsRequest {
  checks.checkOptions("listFindings", options, REQUEST);
  return create(operationsService.ListFindingsRequestSchema, {});
}

export const LIST_AUDIT_ENTRIES = {
  ...REQUEST,
  pageSize: checks.whole32,
  pageToken: checks.text,
  owner: checks.text,
  actor: checks.text,
  action: checks.wordOf(enums.AuditAction),
  caseId: checks.text,
  activity: checks.text,
  recordedAfter: checks.date,
  recordedBefore: checks.date,
} satisfies checks.Checks<ListAuditEntriesOptions>;

export function listAuditEntriesRequest(options: ListAuditEntriesOptions): auditService.ListAuditEntriesRequest {
  checks.checkOptions("listAuditEntries", options, LIST_AUDIT_ENTRIES);
  return create(auditService.ListAuditEntriesRequestSchema, {
    pageSize: options.pageSize,
    pageToken: options.pageToken,
    owner: options.owner,
    actor: options.actor,
    action: numberOf(auditService.AuditAction, options.action),
    callbackCaseId: options.caseId,
    callbackActivity: options.activity,
    recordedAfter: options.recordedAfter && timestampFromDate(options.recordedAfter),
    recordedBefore: options.recordedBefore && timestampFromDate(options.recordedBefore),
  });
}

export const VERIFY_AUDIT = {
  ...REQUEST,
  pageToken: checks.text,
  heads: checks.arrayOf(checks.nested(AUDIT_HEAD, "{ chain: … }")),
} satisfies checks.Checks<VerifyAuditOptions>;

export function verifyAuditRequest(options: VerifyAuditOptions): auditService.VerifyAuditRequest {
  checks.checkOptions("verifyAudit", options, VERIFY_AUDIT);
  return create(auditService.VerifyAuditRequestSchema, {
    pageToken: options.pageToken,
    heads: options.heads?.map(auditHeadTo),
  });
}

export const CREATE_PROFILE = { ...REQUEST, settings: checks.text } satisfies checks.Checks<CreateProfileOptions>;

export function createProfileRequest(
  name: string,
  kind: string,
  secrets: readonly string[],
  options: CreateProfileOptions,
): profilesService.CreateProfileRequest {
  checks.text("name", name);
  checks.text("kind", kind);
  checks.arrayOf(checks.text)("secrets", secrets);
  checks.checkOptions("createProfile", options, CREATE_PROFILE);
  return create(profilesService.CreateProfileRequestSchema, {
    name,
    kind,
    settings: options.settings,
    secrets: secrets && [...secrets],
  });
}

export function getProfileRequest(name: string, options: RequestOptions): profilesService.GetProfileRequest {
  checks.text("name", name);
  checks.checkOptions("getProfile", options, REQUEST);
  return create(profilesService.GetProfileRequestSchema, {
    name,
  });
}

export const LIST_PROFILES = {
  ...REQUEST,
  pageSize: checks.whole32,
  pageToken: checks.text,
} satisfies checks.Checks<ListProfilesOptions>;

export function listProfilesRequest(options: ListProfilesOptions): profilesService.ListProfilesRequest {
  checks.checkOptions("listProfiles", options, LIST_PROFILES);
  return create(profilesService.ListProfilesRequestSchema, {
    pageSize: options.pageSize,
    pageToken: options.pageToken,
  });
}

export const UPDATE_PROFILE = {
  ...REQUEST,
  settings: checks.text,
  addedSecrets: checks.arrayOf(checks.text),
  retiredSecretIds: checks.arrayOf(checks.text),
  retireTime: checks.date,
} satisfies checks.Checks<UpdateProfileOptions>;

export function updateProfileRequest(
  name: string,
  options: UpdateProfileOptions,
): profilesService.UpdateProfileRequest {
  checks.text("name", name);
  checks.checkOptions("updateProfile", options, UPDATE_PROFILE);
  return create(profilesService.UpdateProfileRequestSchema, {
    name,
    settings: options.settings,
    addedSecrets: options.addedSecrets && [...options.addedSecrets],
    retiredSecretIds: options.retiredSecretIds && [...options.retiredSecretIds],
    retireTime: options.retireTime && timestampFromDate(options.retireTime),
  });
}

export function deleteProfileRequest(name: string, options: RequestOptions): profilesService.DeleteProfileRequest {
  checks.text("name", name);
  checks.checkOptions("deleteProfile", options, REQUEST);
  return create(profilesService.DeleteProfileRequestSchema, {
    name,
  });
}

export const CHECK_PROFILE = {
  ...REQUEST,
  callId: checks.text,
  httpRequest: checks.bytes,
  url: checks.text,
  arrivalTime: checks.date,
} satisfies checks.Checks<CheckProfileOptions>;

export function checkProfileRequest(name: string, options: CheckProfileOptions): profilesService.CheckProfileRequest {
  checks.text("name", name);
  checks.checkOptions("checkProfile", options, CHECK_PROFILE);
  return create(profilesService.CheckProfileRequestSchema, {
    name,
    callId: options.callId,
    httpRequest: options.httpRequest,
    url: options.url,
    arrivalTime: options.arrivalTime && timestampFromDate(options.arrivalTime),
  });
}

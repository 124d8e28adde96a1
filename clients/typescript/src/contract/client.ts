// Generated from the contract: `python3 tasks.py generate`.

import * as auditService from "../gen/callback/v1/audit_service_pb.js";
import * as callbacksService from "../gen/callback/v1/callbacks_service_pb.js";
import * as operationsService from "../gen/callback/v1/operations_service_pb.js";
import * as profilesService from "../gen/callback/v1/profiles_service_pb.js";
import { dateOf, present } from "../messages.js";
import type { RequestOptions } from "../options.js";
import { itemsOf, type Page } from "../paging.js";
import type { Connection } from "../rpc.js";
import {
  activityFrom,
  auditChainFrom,
  auditEntryFrom,
  callbackFrom,
  callFrom,
  findingsFrom,
  pausedActivityFrom,
  profileCheckFrom,
  profileFrom,
  statisticsFrom,
} from "./converters.js";
import type { CallFilter } from "./enums.js";
import type {
  CheckProfileOptions,
  CreateProfileOptions,
  ListActivitiesOptions,
  ListAuditEntriesOptions,
  ListCallbacksOptions,
  ListCallsOptions,
  ListOwnerCallsOptions,
  ListProfilesOptions,
  PauseOptions,
  UpdateProfileOptions,
  VerifyAuditOptions,
} from "./options.js";
import * as requests from "./requests.js";
import type {
  Activity,
  AuditChain,
  AuditEntry,
  Call,
  Callback,
  Findings,
  ListCallbacksPage,
  PausedActivity,
  Profile,
  ProfileCheck,
  Statistics,
} from "./values.js";

const { method: callbacks } = callbacksService.CallbacksService;
const { method: operations } = operationsService.OperationsService;
const { method: audit } = auditService.AuditService;
const { method: profiles } = profilesService.ProfilesService;

/** The requests of a client that the contract describes completely. */
export abstract class ContractClient {
  readonly #connection: Connection;

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Close a case at once, whatever its status. Calls that run continue, and their callers get a response. Closing a
   * closed case has no effect and returns the case.
   *
   * @param caseId The case.
   * @throws CallbackError: With the reason INVALID_REQUEST, CALLBACK_NOT_FOUND, STORE_UNAVAILABLE.
   */
  async closeCallback(caseId: string, options: RequestOptions = {}): Promise<Callback> {
    const request = requests.closeCallbackRequest(caseId, options);
    const reply = await this.#connection.request(callbacks.closeCallback, request, options);
    return callbackFrom(present("callback", reply.callback));
  }

  /**
   * Set the time at which a case that is not closed expires. It can be later or earlier than before, or the first
   * one. A case whose `expireTime` has passed is closed already. Reminders stay as they are. Sending the same time
   * again has no effect.
   *
   * @param caseId The case.
   * @param expireTime The time at which the case closes with reason EXPIRED. Later than now, by the clock of the
   *   store, and at most 10 years from now or the maximum in the configuration of the server.
   * @throws CallbackError: With the reason INVALID_REQUEST, CALLBACK_NOT_FOUND, CALLBACK_CLOSED, STORE_UNAVAILABLE.
   */
  async extendCallback(caseId: string, expireTime: Date, options: RequestOptions = {}): Promise<Callback> {
    const request = requests.extendCallbackRequest(caseId, expireTime, options);
    const reply = await this.#connection.request(callbacks.extendCallback, request, options);
    return callbackFrom(present("callback", reply.callback));
  }

  /**
   * Return one case.
   *
   * @param caseId The case.
   * @throws CallbackError: With the reason INVALID_REQUEST, CALLBACK_NOT_FOUND, STORE_UNAVAILABLE.
   */
  async getCallback(caseId: string, options: RequestOptions = {}): Promise<Callback> {
    const request = requests.getCallbackRequest(caseId, options);
    const reply = await this.#connection.request(callbacks.getCallback, request, options);
    return callbackFrom(present("callback", reply.callback));
  }

  /**
   * Return the cases of one owner, newest first.
   *
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE, ROLE_MISSING.
   */
  listCallbacks(options: ListCallbacksOptions = {}): AsyncGenerator<Callback, void, undefined> {
    return itemsOf((page) => this.listCallbacksPage(page), options);
  }

  /** Return one page of `listCallbacks`. */
  async listCallbacksPage(options: ListCallbacksOptions = {}): Promise<ListCallbacksPage> {
    const request = requests.listCallbacksRequest(options);
    const reply = await this.#connection.request(callbacks.listCallbacks, request, options);
    return {
      items: reply.callbacks.map(callbackFrom),
      nextPageToken: reply.nextPageToken,
      searchedTo: dateOf(reply.searchedTo),
    };
  }

  /**
   * Return one recorded call.
   *
   * @param callId The call.
   * @throws CallbackError: With the reason INVALID_REQUEST, CALL_NOT_FOUND, STORE_UNAVAILABLE.
   */
  async getCall(callId: string, options: RequestOptions = {}): Promise<Call> {
    const request = requests.getCallRequest(callId, options);
    const reply = await this.#connection.request(callbacks.getCall, request, options);
    return callFrom(present("call", reply.call));
  }

  /**
   * Return the recorded calls of one case, newest first.
   *
   * @param caseId The case.
   * @throws CallbackError: With the reason INVALID_REQUEST, CALLBACK_NOT_FOUND, STORE_UNAVAILABLE.
   */
  listCalls(caseId: string, options: ListCallsOptions = {}): AsyncGenerator<Call, void, undefined> {
    return itemsOf((page) => this.listCallsPage(caseId, page), options);
  }

  /** Return one page of `listCalls`. */
  async listCallsPage(caseId: string, options: ListCallsOptions = {}): Promise<Page<Call>> {
    const request = requests.listCallsRequest(caseId, options);
    const reply = await this.#connection.request(callbacks.listCalls, request, options);
    return { items: reply.calls.map(callFrom), nextPageToken: reply.nextPageToken };
  }

  /**
   * Return those calls of all cases of one owner that match a filter, newest first.
   *
   * @param filter Selects the calls.
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE, ROLE_MISSING.
   */
  listOwnerCalls(filter: CallFilter, options: ListOwnerCallsOptions = {}): AsyncGenerator<Call, void, undefined> {
    return itemsOf((page) => this.listOwnerCallsPage(filter, page), options);
  }

  /** Return one page of `listOwnerCalls`. */
  async listOwnerCallsPage(filter: CallFilter, options: ListOwnerCallsOptions = {}): Promise<Page<Call>> {
    const request = requests.listOwnerCallsRequest(filter, options);
    const reply = await this.#connection.request(callbacks.listOwnerCalls, request, options);
    return { items: reply.calls.map(callFrom), nextPageToken: reply.nextPageToken };
  }

  /**
   * Erase the recorded data of the calls of a case permanently: headers, query, body, client address, failure details
   * and responses. The case stays as it is, with its own response and labels. The ids, times and statuses of the
   * calls also stay. One exception: a PENDING delivery becomes DEAD, and after a fallback of 2xx or 3xx this ends its
   * call and changes the case. For a call that runs, no data will be recorded. The append-only file of the store
   * keeps erased data until the file is rewritten; backups keep it until they expire.
   *
   * @param caseId The case.
   * @throws CallbackError: With the reason INVALID_REQUEST, CALLBACK_NOT_FOUND, STORE_UNAVAILABLE.
   */
  async eraseCalls(caseId: string, options: RequestOptions = {}): Promise<number> {
    const request = requests.eraseCallsRequest(caseId, options);
    const reply = await this.#connection.request(callbacks.eraseCalls, request, options);
    return Number(reply.erasedCallCount);
  }

  /**
   * Run the handler of a recorded call again in the background, with retries, as in ACK mode. The result does not
   * change the response that the caller got, nor the case, unless the handler closes it. The `delivery` of the call
   * shows the progress. If the delivery of the call is PENDING, its next attempt becomes due now; after a fallback of
   * 2xx or 3xx, that attempt can end the call and change the case. A notification is replayed in the same way, by its
   * `callId`; a REMINDER only while its case is neither closed nor resolved.
   *
   * @param callId The call.
   * @throws CallbackError: With the reason INVALID_REQUEST, CALL_NOT_FOUND, STORE_UNAVAILABLE, CALL_NOT_REPLAYABLE.
   */
  async replayCall(callId: string, options: RequestOptions = {}): Promise<Call> {
    const request = requests.replayCallRequest(callId, options);
    const reply = await this.#connection.request(callbacks.replayCall, request, options);
    return callFrom(present("call", reply.call));
  }

  /**
   * Pause the deliveries of an activity until `resumeActivity`. Deliveries are those of ACK mode, of fallbacks, of
   * replays and of notifications. No attempt starts after this response; attempts that run continue. Calls whose
   * caller waits are not paused. The activity does not have to be declared in the configuration. At most 1,000
   * activities are paused at a time. Needs the role `admin`.
   *
   * @param activity The activity. `record` and `form` are refused: their calls are never delivered.
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE, ROLE_MISSING.
   */
  async pauseActivity(activity: string, options: PauseOptions = {}): Promise<void> {
    const request = requests.pauseActivityRequest(activity, options);
    await this.#connection.request(operations.pauseActivity, request, options);
  }

  /**
   * Resume the deliveries of an activity after `pauseActivity`. Needs the role `admin`.
   *
   * @param activity The activity.
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE, ROLE_MISSING.
   */
  async resumeActivity(activity: string, options: RequestOptions = {}): Promise<void> {
    const request = requests.resumeActivityRequest(activity, options);
    await this.#connection.request(operations.resumeActivity, request, options);
  }

  /**
   * Return the paused activities. Needs the role `admin`.
   *
   * @throws CallbackError: With the reason STORE_UNAVAILABLE, ROLE_MISSING.
   */
  async listPausedActivities(options: RequestOptions = {}): Promise<PausedActivity[]> {
    const request = requests.listPausedActivitiesRequest(options);
    const reply = await this.#connection.request(operations.listPausedActivities, request, options);
    return reply.pausedActivities.map(pausedActivityFrom);
  }

  /**
   * Return the activities that are served, by name: how, by how many workers, and what waits for them. It also
   * returns those that nothing serves and for which a case of the owner is open or, for an administrator, a delivery
   * waits. A principal whose entry names activities gets only these.
   *
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE, ROLE_MISSING.
   */
  listActivities(options: ListActivitiesOptions = {}): AsyncGenerator<Activity, void, undefined> {
    return itemsOf((page) => this.listActivitiesPage(page), options);
  }

  /** Return one page of `listActivities`. */
  async listActivitiesPage(options: ListActivitiesOptions = {}): Promise<Page<Activity>> {
    const request = requests.listActivitiesRequest(options);
    const reply = await this.#connection.request(operations.listActivities, request, options);
    return { items: reply.activities.map(activityFrom), nextPageToken: reply.nextPageToken };
  }

  /**
   * Return what the servers have done in the last hour, and what waits in the store now. Needs the role `admin`.
   *
   * @throws CallbackError: With the reason STORE_UNAVAILABLE, ROLE_MISSING.
   */
  async getStatistics(options: RequestOptions = {}): Promise<Statistics> {
    const request = requests.getStatisticsRequest(options);
    const reply = await this.#connection.request(operations.getStatistics, request, options);
    return statisticsFrom(reply);
  }

  /**
   * Check the server that responds, as `callback doctor` does on its machine: its files, certificates and principals,
   * the store, and the targets of its activities. The findings are at most a minute old. Needs the role `admin`.
   *
   * @throws CallbackError: With the reason ROLE_MISSING.
   */
  async listFindings(options: RequestOptions = {}): Promise<Findings> {
    const request = requests.listFindingsRequest(options);
    const reply = await this.#connection.request(operations.listFindings, request, options);
    return findingsFrom(reply);
  }

  /**
   * Return the entries of the audit, newest first: what principals have changed, and when. An entry and its change
   * are stored together. An administrator gets all entries; any other principal gets those about the cases that it
   * sees and, as an owner, about its verification profiles. Making a case has no entry: the case itself says who made
   * it, and when.
   *
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE, ROLE_MISSING.
   */
  listAuditEntries(options: ListAuditEntriesOptions = {}): AsyncGenerator<AuditEntry, void, undefined> {
    return itemsOf((page) => this.listAuditEntriesPage(page), options);
  }

  /** Return one page of `listAuditEntries`. */
  async listAuditEntriesPage(options: ListAuditEntriesOptions = {}): Promise<Page<AuditEntry>> {
    const request = requests.listAuditEntriesRequest(options);
    const reply = await this.#connection.request(audit.listAuditEntries, request, options);
    return { items: reply.entries.map(auditEntryFrom), nextPageToken: reply.nextPageToken };
  }

  /**
   * Check whether the entries of the audit are those that the servers have stored: none was altered, removed,
   * inserted or moved. Entries that are past the retention of the audit are not missing. Newest entries that were
   * removed are found by heads that were read before: pass them as `heads`. The server that responds also compares
   * with the heads that it has seen itself. Heads only add problems: without them, the same others are found. Needs
   * the role `admin`.
   *
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE, ROLE_MISSING.
   */
  verifyAudit(options: VerifyAuditOptions = {}): AsyncGenerator<AuditChain, void, undefined> {
    return itemsOf((page) => this.verifyAuditPage(page), options);
  }

  /** Return one page of `verifyAudit`. */
  async verifyAuditPage(options: VerifyAuditOptions = {}): Promise<Page<AuditChain>> {
    const request = requests.verifyAuditRequest(options);
    const reply = await this.#connection.request(audit.verifyAudit, request, options);
    return { items: reply.chains.map(auditChainFrom), nextPageToken: reply.nextPageToken };
  }

  /**
   * Store a new profile. The same request again returns the profile that is there.
   *
   * @param name The name of the profile: `own/`, and 1-63 lower-case letters, digits, `.`, `_` or `-`.
   * @param kind The kind of the profile: one that has secrets or keys, such as `hmac`, or `provider:NAME` of the
   *   list of providers.
   * @param secrets The secrets or keys, each as the text in a file of a profile of the configuration: 1 to 4.
   *   Together with the settings they have at most 16 KiB. Concealed in debug output.
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE, PROFILE_EXISTS, TOO_MANY_PROFILES,
   *   KEYRING_MISSING.
   */
  async createProfile(
    name: string,
    kind: string,
    secrets: readonly string[],
    options: CreateProfileOptions = {},
  ): Promise<Profile> {
    const request = requests.createProfileRequest(name, kind, secrets, options);
    const reply = await this.#connection.request(profiles.createProfile, request, options);
    return profileFrom(present("profile", reply.profile));
  }

  /**
   * Return a profile without its secrets.
   *
   * @param name The name of the profile.
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE, PROFILE_NOT_FOUND.
   */
  async getProfile(name: string, options: RequestOptions = {}): Promise<Profile> {
    const request = requests.getProfileRequest(name, options);
    const reply = await this.#connection.request(profiles.getProfile, request, options);
    return profileFrom(present("profile", reply.profile));
  }

  /**
   * Return the profiles of the principal, sorted by name.
   *
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE.
   */
  listProfiles(options: ListProfilesOptions = {}): AsyncGenerator<Profile, void, undefined> {
    return itemsOf((page) => this.listProfilesPage(page), options);
  }

  /** Return one page of `listProfiles`. */
  async listProfilesPage(options: ListProfilesOptions = {}): Promise<Page<Profile>> {
    const request = requests.listProfilesRequest(options);
    const reply = await this.#connection.request(profiles.listProfiles, request, options);
    return { items: reply.profiles.map(profileFrom), nextPageToken: reply.nextPageToken };
  }

  /**
   * Change a profile: its settings, secrets that are added, and secrets that are retired. Those that were retired
   * before are removed. A secret that is valid already is not added a second time: it stays valid, also if it is
   * among those to retire, or was to be retired later.
   *
   * @param name The name of the profile.
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE, PROFILE_NOT_FOUND, KEYRING_MISSING.
   */
  async updateProfile(name: string, options: UpdateProfileOptions = {}): Promise<Profile> {
    const request = requests.updateProfileRequest(name, options);
    const reply = await this.#connection.request(profiles.updateProfile, request, options);
    return profileFrom(present("profile", reply.profile));
  }

  /**
   * Delete a profile with its secrets, if it is there. Callers of callbacks that name it then get a 503.
   *
   * @param name The name of the profile.
   * @throws CallbackError: With the reason INVALID_REQUEST, STORE_UNAVAILABLE.
   */
  async deleteProfile(name: string, options: RequestOptions = {}): Promise<void> {
    const request = requests.deleteProfileRequest(name, options);
    await this.#connection.request(profiles.deleteProfile, request, options);
  }

  /**
   * Whether a request passes a profile, by the secrets that are valid now: one that was recorded with a call, or a
   * given one. Nothing is called. At most 60 checks of a principal in a minute, by each server.
   *
   * @param name The name of the profile.
   * @throws CallbackError: With the reason INVALID_REQUEST, CALL_NOT_FOUND, STORE_UNAVAILABLE, PROFILE_NOT_FOUND,
   *   TOO_MANY_CHECKS, PROFILE_UNUSABLE.
   */
  async checkProfile(name: string, options: CheckProfileOptions = {}): Promise<ProfileCheck> {
    const request = requests.checkProfileRequest(name, options);
    const reply = await this.#connection.request(profiles.checkProfile, request, options);
    return profileCheckFrom(reply);
  }
}

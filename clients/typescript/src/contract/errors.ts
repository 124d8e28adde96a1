// Generated from the contract: `python3 tasks.py generate`.

import { CallbackError } from "../errors.js";
import { countOf, factOf } from "../messages.js";
import { CallStatus, CloseReason } from "./enums.js";
import { ErrorReason } from "./reasons.js";

/**
 * Request id reused (ALREADY_EXISTS). A case with this `requestId` and other content exists. Returned by
 * `generateCallbackUrl`.
 */
export class RequestIdReusedError extends CallbackError {
  override readonly name = "RequestIdReusedError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.REQUEST_ID_REUSED;
}

/**
 * Request ids not supported (FAILED_PRECONDITION). The server has no `state_key`, so it cannot return the same URL
 * twice. Returned by `generateCallbackUrl`.
 */
export class RequestIdUnsupportedError extends CallbackError {
  override readonly name = "RequestIdUnsupportedError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.REQUEST_ID_UNSUPPORTED;
}

/**
 * This link can no longer be used (FAILED_PRECONDITION). The case is closed. Facts: `close_reason`. Returned by
 * `setResponse`, `resolveCallback`, `extendCallback` and StreamInvocations.
 */
export class CallbackClosedError extends CallbackError {
  override readonly name = "CallbackClosedError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.CALLBACK_CLOSED;

  /** The fact `close_reason`. */
  get closeReason(): CloseReason {
    return factOf(CloseReason, this.facts["close_reason"]);
  }
}

/**
 * Too many open callbacks (RESOURCE_EXHAUSTED). The owner has its maximum number of cases that are not closed.
 * Facts: `limit`. Returned by `generateCallbackUrl`.
 */
export class TooManyOpenCallbacksError extends CallbackError {
  override readonly name = "TooManyOpenCallbacksError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.TOO_MANY_OPEN_CALLBACKS;

  /** The fact `limit`. */
  get limit(): number | undefined {
    return countOf(this.facts["limit"]);
  }
}

/**
 * Call already answered (FAILED_PRECONDITION). The call already has another answer, or ended without one. Facts:
 * `status`. Returned by `answerCall`.
 */
export class CallAnsweredError extends CallbackError {
  override readonly name = "CallAnsweredError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.CALL_ANSWERED;

  /** The fact `status`. */
  get status(): CallStatus {
    return factOf(CallStatus, this.facts["status"]);
  }
}

/**
 * Call not held (FAILED_PRECONDITION). The handler of the case decides on the call; the case does not hold calls.
 * Returned by `answerCall` and `resolveCallback`.
 */
export class CallNotHeldError extends CallbackError {
  override readonly name = "CallNotHeldError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.CALL_NOT_HELD;
}

/**
 * Call cannot be replayed (FAILED_PRECONDITION). The call runs, its request is not kept whole or was erased, or its
 * activity has no handler. Returned by `replayCall`.
 */
export class CallNotReplayableError extends CallbackError {
  override readonly name = "CallNotReplayableError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.CALL_NOT_REPLAYABLE;
}

/**
 * Watch position lost (OUT_OF_RANGE). The position of the resume token is lost: its events are no longer kept, the
 * store has lost it (a failover, or a restored backup), or a server of a later release made the token. List the
 * callbacks and their calls (`listCallbacks`, `listCalls`), then watch without a token. Returned by `watchCalls`.
 */
export class WatchPositionLostError extends CallbackError {
  override readonly name = "WatchPositionLostError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.WATCH_POSITION_LOST;
}

/**
 * Watcher too slow (RESOURCE_EXHAUSTED). The watcher reads more slowly than events come. Watch again with the last
 * resume token. Returned by `watchCalls`.
 */
export class WatcherTooSlowError extends CallbackError {
  override readonly name = "WatcherTooSlowError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.WATCHER_TOO_SLOW;
}

/**
 * Too many watchers (RESOURCE_EXHAUSTED). The server process has its maximum number of watchers, in total or of
 * this principal. Returned by `watchCalls`.
 */
export class TooManyWatchersError extends CallbackError {
  override readonly name = "TooManyWatchersError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.TOO_MANY_WATCHERS;
}

/**
 * Callback already resolved (FAILED_PRECONDITION). The case already has another answer. Returned by
 * `resolveCallback`.
 */
export class CallbackResolvedError extends CallbackError {
  override readonly name = "CallbackResolvedError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.CALLBACK_RESOLVED;
}

/**
 * Temporarily unavailable (FAILED_PRECONDITION). The callback needs a feature that a server of the store, of an
 * earlier release, does not know. A callback that needs it is generated some minutes after the last such server has
 * stopped. Nothing has changed. Facts: `feature`. Returned by `generateCallbackUrl` and StreamInvocations.
 */
export class FeatureUnavailableError extends CallbackError {
  override readonly name = "FeatureUnavailableError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.FEATURE_UNAVAILABLE;

  /** The fact `feature`. */
  get feature(): string {
    return this.facts["feature"] ?? "";
  }
}

/**
 * Profile exists already (ALREADY_EXISTS). The principal has another verification profile of this name. Returned by
 * `createProfile`.
 */
export class ProfileExistsError extends CallbackError {
  override readonly name = "ProfileExistsError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.PROFILE_EXISTS;
}

/**
 * Too many profiles (RESOURCE_EXHAUSTED). The principal has its maximum number of verification profiles. Facts:
 * `limit`. Returned by `createProfile`.
 */
export class TooManyProfilesError extends CallbackError {
  override readonly name = "TooManyProfilesError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.TOO_MANY_PROFILES;

  /** The fact `limit`. */
  get limit(): number | undefined {
    return countOf(this.facts["limit"]);
  }
}

/**
 * Keyring missing (FAILED_PRECONDITION). The server has no `keyring_file`, so it cannot store a secret. Returned by
 * `createProfile` and `updateProfile`.
 */
export class KeyringMissingError extends CallbackError {
  override readonly name = "KeyringMissingError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.KEYRING_MISSING;
}

/**
 * Too many checks (RESOURCE_EXHAUSTED). The principal has made as many checks as it can in a minute. Facts:
 * `limit`. Returned by `checkProfile`.
 */
export class TooManyChecksError extends CallbackError {
  override readonly name = "TooManyChecksError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.TOO_MANY_CHECKS;

  /** The fact `limit`. */
  get limit(): number | undefined {
    return countOf(this.facts["limit"]);
  }
}

/**
 * Profile unusable (FAILED_PRECONDITION). The server cannot use the profile; the text says why. Returned by
 * `checkProfile`.
 */
export class ProfileUnusableError extends CallbackError {
  override readonly name = "ProfileUnusableError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.PROFILE_UNUSABLE;
}

/**
 * Correlation key in use (ALREADY_EXISTS). Another case with this `endpoint` and `correlationKey` is not closed.
 * Nothing has changed. Facts: `case_id`. Returned by `generateCallbackUrl`.
 */
export class CorrelationKeyInUseError extends CallbackError {
  override readonly name = "CorrelationKeyInUseError";

  /** @internal */
  static readonly reason: ErrorReason = ErrorReason.CORRELATION_KEY_IN_USE;

  /** The fact `case_id`. */
  get caseId(): string {
    return this.facts["case_id"] ?? "";
  }
}

/** Execution of a handler: from the request of the server to the decision, or to a failure that reveals nothing. */

import { MAX_MESSAGE_BYTES } from "./connection/channel.js";
import { incomingCallFrom } from "./contract/converters.js";
import { Reject } from "./decisions.js";
import type {
  HandleCallbackRequest,
  HandleCallbackResponse,
  RefuseAnswerRequest,
} from "./gen/callback/v1/callback_handler_service_pb.js";
import { CallReason } from "./gen/callback/v1/callback_pb.js";
import type { Handlers } from "./handlers.js";
import type { Logger } from "./logger.js";
import { decisionTo } from "./requests.js";

/** The largest answer, in bytes. The server accepts no larger message: it would end the stream. */
export const MAX_ANSWER_BYTES = MAX_MESSAGE_BYTES - 1024;

/** How much of the error of a handler is sent. With the name of the worker, it fits into the failure detail of a call. */
const MAX_REPORTED_CHARACTERS = 400;

/** Runs the handler of a request. It returns the decision, or a sentence that says why there is none. */
export type Execution = (signal: AbortSignal) => Promise<HandleCallbackResponse | string>;

/** Return the execution of a request. Undefined if it has no handler here. */
export function executionOf(request: HandleCallbackRequest, handlers: Handlers, logger: Logger): Execution | undefined {
  const { callbackActivity: activity, callId } = request;
  if (isNotification(request)) {
    const handler = handlers.getNotification(activity);
    return handler && decide((context) => handler(incomingCallFrom(request), context));
  }
  const handler = handlers.get(activity);
  return handler && decide((context) => handler(incomingCallFrom(request), context));

  function decide(run: (context: { signal: AbortSignal }) => unknown): Execution {
    return async (signal) => {
      try {
        const answer = (await run({ signal })) as Parameters<typeof decisionTo>[0];
        if (answer instanceof Reject) {
          throw new TypeError("a handler must throw a Reject, not return it");
        }
        return decisionTo(answer);
      } catch (error) {
        if (error instanceof Reject) {
          return decisionTo(error);
        }
        if (signal.aborted) {
          logger.warn({ activity, callId }, "handler_cancelled");
          return "the handler was cancelled";
        }
        logger.error({ activity, callId, error }, "handler_failed");
        return request.reportError ? reported(error) : "the handler failed";
      }
    };
  }
}

/** Return the class and the message of an error, cut, for a server that records errors. */
function reported(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return [...text]
    .slice(0, MAX_REPORTED_CHARACTERS)
    .join("")
    .replace(/\p{Surrogate}/gu, "\ufffd");
}

/** Return whether a request of the server is a notification. */
function isNotification({ reason }: HandleCallbackRequest): boolean {
  return reason !== CallReason.UNSPECIFIED && reason !== CallReason.CALL;
}

/** Log that an answer is larger than a message can be. Return the sentence for the server. */
export function answerTooLarge(request: HandleCallbackRequest, bytes: number, logger: Logger): string {
  const { callbackActivity: activity, callId } = request;
  logger.error({ activity, callId, bytes }, "answer_too_large");
  return "the handler's answer is larger than a message can be";
}

/** Log that the server cannot render an answer, so that the call failed. */
export function logAnswerRefused(refusal: RefuseAnswerRequest, logger: Logger): void {
  const { callbackActivity: activity, callId, problem } = refusal;
  logger.error({ activity, callId, problem }, "answer_refused");
}

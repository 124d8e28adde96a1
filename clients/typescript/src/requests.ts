/** The messages of decisions, and of those requests that depend on one, or on which attributes are given. */

import { create } from "@bufbuild/protobuf";
import { arrayOf, type Checks, checkOptions, nested, text } from "./checks.js";
import { responseTo } from "./contract/converters.js";
import { GENERATE_CALLBACK_URL, generateCallbackUrlRequest } from "./contract/requests.js";
import { RESPONSE_FIELDS } from "./contract/response.js";
import { type Accept, type Answer, decisionOf, Reject } from "./decisions.js";
import {
  type HandleCallbackResponse,
  HandleCallbackResponseSchema,
  Verdict,
} from "./gen/callback/v1/callback_handler_service_pb.js";
import * as pb from "./gen/callback/v1/callbacks_service_pb.js";
import { REQUEST, SET_RESPONSE } from "./option-checks.js";
import type { NewCallback, RequestOptions, Resettable, SetResponseOptions } from "./options.js";
import { checkSent, type Response } from "./response.js";

/** Return the message of a decision. @throws TypeError: The answer is no decision. */
export function decisionTo(answer: Answer | Reject): HandleCallbackResponse {
  return create(HandleCallbackResponseSchema, decisionFields(decisionOf(answer)));
}

const { timeoutMs: _timeoutMs, signal: _signal, ...ATTRIBUTES } = GENERATE_CALLBACK_URL;
const NEW_CALLBACK = { activity: text, response: checkSent, ...ATTRIBUTES } satisfies Checks<NewCallback>;
const checkCallbacks = arrayOf(
  nested(NEW_CALLBACK, "{ activity: …, response: new Response(…) }", ["activity", "response"]),
);

/** Return the requests of a batch. */
export function generateCallbackUrlRequests(
  callbacks: readonly NewCallback[],
  options: RequestOptions,
): pb.GenerateCallbackUrlRequest[] {
  checkCallbacks("callbacks", callbacks);
  checkOptions("generateCallbackUrls", options, REQUEST);
  return callbacks.map(({ activity, response, ...others }) => generateCallbackUrlRequest(activity, response, others));
}

export function setResponseRequest(
  caseId: string,
  response: Response,
  options: SetResponseOptions,
): pb.SetResponseRequest {
  text("caseId", caseId);
  checkSent("response", response);
  checkOptions("setResponse", options, SET_RESPONSE);
  const { reset = [] } = options;
  for (const name of reset) {
    if (!Object.hasOwn(RESPONSE_FIELDS, name) || (name as string) === "type") {
      const others = Object.keys(RESPONSE_FIELDS).filter((each) => each !== "type");
      throw new TypeError(`reset cannot contain ${JSON.stringify(name)}: use ${others.join(", ")}`);
    }
    if (response[name] !== undefined) {
      throw new TypeError(`${name} is both set and reset: give it once`);
    }
  }
  const names = Object.keys(RESPONSE_FIELDS) as (keyof typeof RESPONSE_FIELDS)[];
  const changed = names.filter((name) => response[name] !== undefined || reset.includes(name as Resettable));
  return create(pb.SetResponseRequestSchema, {
    callbackCaseId: caseId,
    response: responseTo(response),
    updateMask: { paths: changed.map((name) => RESPONSE_FIELDS[name]) },
  });
}

export function answerCallRequest(
  callId: string,
  answer: Answer | Reject,
  options: RequestOptions,
): pb.AnswerCallRequest {
  text("callId", callId);
  checkOptions("answerCall", options, REQUEST);
  return create(pb.AnswerCallRequestSchema, { callId, ...sentDecision(answer) });
}

export function resolveCallbackRequest(
  caseId: string,
  answer: Answer | Reject,
  options: RequestOptions,
): pb.ResolveCallbackRequest {
  text("caseId", caseId);
  checkOptions("resolveCallback", options, REQUEST);
  const { keepOpen, close, ...decision } = sentDecision(answer);
  if (keepOpen || close) {
    throw new TypeError("an answer to all calls of a callback cannot keep it open, or close it: use closeCallback");
  }
  return create(pb.ResolveCallbackRequestSchema, { callbackCaseId: caseId, ...decision });
}

/** Return the fields of a decision that a request can carry. */
function sentDecision(answer: Answer | Reject) {
  const decision = decisionOf(answer);
  if (decision.response !== undefined) {
    checkSent("response", decision.response);
  }
  return decisionFields(decision);
}

/** Return the fields that a decision has in each message. */
function decisionFields(decision: Accept | Reject) {
  const rejected = decision instanceof Reject;
  return {
    verdict: rejected ? Verdict.REJECTED : Verdict.ACCEPTED,
    response: decision.response && responseTo(decision.response),
    keepOpen: !rejected && decision.keepOpen,
    close: !rejected && decision.close,
    noRepeat: decision.noRepeat,
  };
}

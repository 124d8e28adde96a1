/** Responses to callers: code, body and headers; a redirect; or a page in the style of the operator. */

import { checkOptions, must, requireObject, wordOf } from "./checks.js";
import type { Given } from "./concealing.js";
import { MAX_MESSAGE_BYTES } from "./connection/channel.js";
import { ResponseType } from "./contract/enums.js";
import { ErrorReason } from "./contract/reasons.js";
import { RESPONSE, ResponseFields } from "./contract/response.js";
import { InvalidRequestError } from "./errors.js";
import { Headers, type PairsLike } from "./pairs.js";

/** The largest body that is sent, in bytes. The server's own limit is lower, but it could not read a larger message. */
const LARGEST_BODY = MAX_MESSAGE_BYTES / 2;

/**
 * The attributes of a response. One that is undefined is not given: a new case uses its default, and `setResponse` and
 * handlers keep the value of the case. Text as a body is sent as UTF-8. The server validates the values.
 */
export interface ResponseAttributes extends Omit<Given<ResponseFields>, "type"> {
  /** "CASE" keeps the type of the case. Default: that of the class. */
  readonly type?: Exclude<ResponseType, "UNKNOWN"> | "CASE" | undefined;
}

const { body: _, ...OTHERS } = RESPONSE;
const CHECKS = { ...OTHERS, type: wordOf({ ...ResponseType, CASE: "CASE" }) };
const EXAMPLE = "{ code: 404 }";

/** Response to a caller: code, body and headers. See `Redirect` and `PageResponse` for the other types. */
export class Response extends ResponseFields {
  /**
   * @param body Text is sent as UTF-8. At most 1 MiB. Default: empty.
   * @param attributes The other attributes.
   * @throws TypeError: An attribute does not exist or has the wrong type.
   * @throws RangeError: The code is no whole number, or is negative. The server refuses other wrong ones.
   */
  constructor(body?: Uint8Array | string, attributes: Omit<ResponseAttributes, "body"> = {}) {
    checkOptions(new.target.name, attributes, CHECKS, EXAMPLE);
    if (body !== undefined) {
      RESPONSE.body("body", body);
    }
    const { type = "RESPONSE" } = attributes;
    super({ ...attributes, body, type: type === "CASE" ? undefined : type });
  }

  /**
   * Return a response with a JSON body of the type `application/json`.
   *
   * @throws TypeError: The value contains something that JSON cannot represent.
   */
  static json(value: unknown, attributes: Pick<ResponseAttributes, "code" | "headers"> = {}): Response {
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined) {
      throw new TypeError(`JSON cannot represent ${typeof value}`);
    }
    return typed("application/json", text, attributes);
  }

  /**
   * Return a response with an HTML page of the type `text/html; charset=utf-8`.
   *
   * @param page The page, sent unchanged. Escape everything in it that came from outside.
   */
  static html(page: string, attributes: Pick<ResponseAttributes, "code" | "headers"> = {}): Response {
    return typed("text/html; charset=utf-8", page, attributes);
  }
}

/**
 * A response of the type redirect: `new Redirect("/page/thankyou")`. Without a URL, that of the case or of the handler
 * is used. The other attributes apply only if a handler chooses another type.
 */
export class Redirect extends Response {
  constructor(redirectUrl?: string, attributes: Omit<ResponseAttributes, "redirectUrl"> = {}) {
    requireObject("Redirect", attributes, EXAMPLE);
    const { body, ...others } = attributes;
    super(body, { type: "REDIRECT", ...others, redirectUrl });
  }
}

/**
 * A response of the type page: `new PageResponse("Thank you", "Your payment has arrived.")`. The edge renders it in the
 * style of its own pages. A caller that does not prefer HTML gets the same as text. An attribute that is undefined keeps
 * that of the case.
 */
export class PageResponse extends Response {
  constructor(heading?: string, text?: string, attributes: Omit<ResponseAttributes, "heading" | "text"> = {}) {
    requireObject("PageResponse", attributes, '{ linkUrl: "/" }');
    const { body, ...others } = attributes;
    super(body, { type: "PAGE", ...others, heading, text });
  }
}

/** Return a response of the server. A type that it does not have, or that is not known here, is that of the case. */
export function receivedResponse({ body, type, ...others }: Given<ResponseFields>): Response {
  return new Response(body, { ...others, type: type === undefined || type === "UNKNOWN" ? "CASE" : type });
}

/** Check that a value is a response. */
export const checkResponse: (name: string, value: unknown) => asserts value is Response = must(
  "a Response, a Redirect or a PageResponse",
  (value) => value instanceof Response,
);

/** Check that a value is a response, and that a request can carry it. @throws InvalidRequestError: Its body is too large. */
export function checkSent(name: string, value: unknown): asserts value is Response {
  checkResponse(name, value);
  if (value.body !== undefined && value.body.length > LARGEST_BODY) {
    const description = "is larger than a request can be";
    const field = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    throw new InvalidRequestError(description, {
      code: "INVALID_ARGUMENT",
      reason: ErrorReason.INVALID_REQUEST,
      violations: [{ field: `${field}.response_body`, description, rule: "bytes.max_len" }],
    });
  }
}

function typed(contentType: string, body: string, attributes: Pick<ResponseAttributes, "code" | "headers">): Response {
  requireObject("Response", attributes, EXAMPLE);
  const headers: PairsLike = [["content-type", contentType], ...new Headers(attributes.headers)];
  return new Response(body, { ...attributes, headers });
}

/** Responses to callers: code, body and headers; a redirect; or a page in the style of the operator. */

import { type Checks, checkOptions, must, mustBeNumber, requireObject, text as someText, wordOf } from "./checks.js";
import { Concealing, conceal, secretOf } from "./concealing.js";
import { ResponseType } from "./enums.js";
import { checkPairs, Headers, type PairsLike } from "./pairs.js";

/**
 * The attributes of a response. One that is undefined is not given: a new case uses its default, and `setResponse` and
 * handlers keep the value of the case. The server validates the values.
 */
export interface ResponseAttributes {
  /** Text is sent as UTF-8. At most 1 MiB. Default: empty. */
  readonly body?: Uint8Array | string | undefined;
  /** 200-299 or 400-599. Default: 200, or 422 for a rejection. */
  readonly code?: number | undefined;
  /**
   * They replace earlier headers as a whole. Each character of a value is one byte (ISO-8859-1); white space around a
   * value is trimmed.
   */
  readonly headers?: PairsLike | undefined;
  /** `/path` on your platform, or an absolute http(s) URL. */
  readonly redirectUrl?: string | undefined;
  /** "CASE" keeps the type of the case. Default: that of the class. */
  readonly type?: Exclude<ResponseType, "UNKNOWN"> | "CASE" | undefined;
  /** The heading of a page: text, not HTML. At most 200 characters. */
  readonly heading?: string | undefined;
  /** The text of a page: text, not HTML. Line breaks are kept. At most 2,000 characters. */
  readonly text?: string | undefined;
  /** The label of the link of a page. An empty label removes the link. */
  readonly linkLabel?: string | undefined;
  /** The target of the link of a page: `/path` on your platform, or an absolute http(s) URL. */
  readonly linkUrl?: string | undefined;
}

const CHECKS = {
  code: mustBeNumber("a whole number, 200-299 or 400-599", (value) => (value | 0) === value),
  headers: checkPairs,
  redirectUrl: someText,
  type: wordOf({ ...ResponseType, CASE: "CASE" }),
  heading: someText,
  text: someText,
  linkLabel: someText,
  linkUrl: someText,
} satisfies Checks<Omit<ResponseAttributes, "body">>;

const EXAMPLE = "{ code: 404 }";

/** Response to a caller: code, body and headers. See `Redirect` and `PageResponse` for the other types. */
export class Response extends Concealing {
  /** The HTTP status. */
  readonly code: number | undefined;
  /** The type. Undefined keeps the type of the case. */
  readonly type: ResponseType | undefined;
  /** The heading of a page. */
  readonly heading: string | undefined;
  /** The text of a page. */
  readonly text: string | undefined;
  /** The label of the link of a page. */
  readonly linkLabel: string | undefined;

  /**
   * @param body Text is sent as UTF-8. At most 1 MiB. Default: empty.
   * @param attributes The other attributes.
   * @throws TypeError: An attribute does not exist or has the wrong type.
   * @throws RangeError: The code is no whole number of 32 bits. The server refuses other wrong ones.
   */
  constructor(body?: Uint8Array | string, attributes: Omit<ResponseAttributes, "body"> = {}) {
    super();
    checkOptions(new.target.name, attributes, CHECKS, EXAMPLE);
    const { code, headers, redirectUrl, type = "RESPONSE", heading, text, linkLabel, linkUrl } = attributes;
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    if (bytes !== undefined) {
      checkBytes("body", bytes);
    }
    this.code = code;
    this.type = type === "CASE" ? undefined : type;
    this.heading = heading;
    this.text = text;
    this.linkLabel = linkLabel;
    conceal(this, {
      body: bytes,
      headers: headers === undefined ? undefined : new Headers(headers),
      redirectUrl,
      linkUrl,
    });
  }

  /** The body. Concealed in debug output. */
  get body(): Uint8Array | undefined {
    return secretOf(this, "body");
  }

  /** The header fields. Concealed in debug output. */
  get headers(): Headers | undefined {
    return secretOf(this, "headers");
  }

  /** The target of a redirect. Concealed in debug output. */
  get redirectUrl(): string | undefined {
    return secretOf(this, "redirectUrl");
  }

  /** The target of the link of a page. Concealed in debug output. */
  get linkUrl(): string | undefined {
    return secretOf(this, "linkUrl");
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

/** Check that a value is a response. */
export const checkResponse: (name: string, value: unknown) => asserts value is Response = must(
  "a Response, a Redirect or a PageResponse",
  (value) => value instanceof Response,
);

const checkBytes = must("text or bytes", (value) => value instanceof Uint8Array);

function typed(contentType: string, body: string, attributes: Pick<ResponseAttributes, "code" | "headers">): Response {
  requireObject("Response", attributes, EXAMPLE);
  const headers: PairsLike = [["content-type", contentType], ...new Headers(attributes.headers)];
  return new Response(body, { ...attributes, headers });
}

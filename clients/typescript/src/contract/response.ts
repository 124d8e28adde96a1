// Generated from the contract: `python3 tasks.py generate`.

import * as checks from "../checks.js";
import { Concealing, conceal, type Given, secretOf } from "../concealing.js";
import { bytesOf } from "../messages.js";
import { checkPairs, Headers } from "../pairs.js";
import type { ResponseType } from "./enums.js";
import * as enums from "./enums.js";

/** The name of each attribute of a response in the contract. */
export const RESPONSE_FIELDS = {
  type: "response_type",
  redirectUrl: "response_redirect_url",
  body: "response_body",
  code: "response_code",
  headers: "response_headers",
  heading: "response_heading",
  text: "response_text",
  linkLabel: "response_link_label",
  linkUrl: "response_link_url",
  language: "response_language",
} as const;

/** The checks of the attributes of a response. */
export const RESPONSE = {
  type: checks.wordOf(enums.ResponseType),
  redirectUrl: checks.text,
  body: checks.bytes,
  code: checks.whole32,
  headers: checkPairs,
  heading: checks.text,
  text: checks.text,
  linkLabel: checks.text,
  linkUrl: checks.text,
  language: checks.text,
};

/**
 * The response that a caller gets. In a case, a field that is not set has its default. In an override, it keeps the
 * value of the case. A redirect uses only the URL; body and headers belong to the type response; heading, text and
 * link belong to the type page; response and page use the code. The names and values of `headers` have together at
 * most 8,192 bytes.
 */
export abstract class ResponseFields extends Concealing {
  /** Redirect, response or page. Required in a case. */
  readonly type: ResponseType | undefined;
  /**
   * The target of a redirect: `/path` on `platform_url` (refused where none is configured) or an absolute `http` or
   * `https` URL, or one of a scheme that the operator allows (`redirect_schemes`), such as that of an app. At most
   * 2,048 characters, printable ASCII without spaces. `//`, `\`, user info and other schemes are refused, and always
   * `javascript`, `data`, `file` and `blob`. A redirect must have a URL when it is sent; a case of the activity
   * `record` must have it from the start.
   */
  readonly redirectUrl: string | undefined;
  /** The HTTP status: 200–299 or 400–599. Default 200; after a rejection 422. */
  readonly code: number | undefined;
  /**
   * The heading and title of a page: text, not HTML, 1–200 characters on one line. A page must have a heading when it
   * is sent; a case of the activity `record` must have it from the start.
   */
  readonly heading: string | undefined;
  /** The text of a page: text, not HTML, at most 2,000 characters. Line breaks are kept. Default empty. */
  readonly text: string | undefined;
  /**
   * The label of the link of a page: text on one line, at most 100 characters. It needs `linkUrl`. An empty label
   * removes the link. Default: no link.
   */
  readonly linkLabel: string | undefined;
  /** The target of the link of a page, by the rules of `redirectUrl`. It needs `linkLabel`. */
  readonly linkUrl: string | undefined;
  /**
   * The language of the texts of a page, as a tag of BCP 47: `nl`, `pt-BR`. Screen readers, browsers that translate
   * and fonts go by it. Default: the language in which the edge shows its own pages to the caller.
   */
  readonly language: string | undefined;

  /** @param attributes The attributes. Each has a default. */
  constructor(attributes: Given<ResponseFields> = {}) {
    super();
    this.type = attributes.type;
    this.redirectUrl = attributes.redirectUrl;
    this.code = attributes.code;
    this.heading = attributes.heading;
    this.text = attributes.text;
    this.linkLabel = attributes.linkLabel;
    this.linkUrl = attributes.linkUrl;
    this.language = attributes.language;
    conceal(this, {
      body: bytesOf(attributes.body),
      headers: attributes.headers && new Headers(attributes.headers),
    });
  }

  /**
   * The body, byte for byte. Default empty, at most 1 MiB (1,048,576 bytes). 204 and 205 have no body. Concealed in
   * debug output.
   */
  get body(): Uint8Array | undefined {
    return secretOf(this, "body");
  }

  /**
   * Replace, as a whole, the headers that they override. Without a `content-type` the caller gets `text/plain;
   * charset=utf-8` if the body is UTF-8, otherwise `application/octet-stream`. Concealed in debug output.
   */
  get headers(): Headers | undefined {
    return secretOf(this, "headers");
  }
}

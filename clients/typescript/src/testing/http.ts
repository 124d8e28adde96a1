/** HTTP requests to an edge, as the sender of a webhook or a browser makes them, and their replies. */

import { type IncomingMessage, request } from "node:http";
import { type Checks, checkOptions, must, positiveMs, text } from "../checks.js";
import { checkPairs, Headers, type PairsLike, Query } from "../pairs.js";

/** What a caller sends. */
export interface SendOptions {
  /** The HTTP method. Default: POST. */
  readonly method?: string | undefined;
  /** Header fields. A `Content-Type` replaces that of a form or JSON. */
  readonly headers?: PairsLike | undefined;
  /** The body, sent unchanged. */
  readonly body?: Uint8Array | string | undefined;
  /** The fields of a form, instead of a body. */
  readonly form?: PairsLike | undefined;
  /** A value to send as JSON, instead of a body. */
  readonly json?: unknown;
  /** The timeout of the caller in milliseconds. Default: 30,000. */
  readonly timeoutMs?: number | undefined;
}

/** What a visitor sends. */
export interface VisitOptions {
  /** Parameters to add to those of the URL. */
  readonly query?: PairsLike | undefined;
  /** Fields to send with POST, as OAuth's `form_post` and SAML do. Default: a GET without them. */
  readonly form?: PairsLike | undefined;
  /** Header fields, in addition to those of a browser. Equal names replace them. */
  readonly headers?: PairsLike | undefined;
  /** The timeout of the visitor in milliseconds. Default: 30,000. */
  readonly timeoutMs?: number | undefined;
}

const SEND = {
  method: text,
  headers: checkPairs,
  body: must("text or bytes", (value) => typeof value === "string" || value instanceof Uint8Array),
  form: checkPairs,
  json: () => {},
  timeoutMs: positiveMs,
} satisfies Checks<SendOptions>;

const VISIT = {
  query: checkPairs,
  form: checkPairs,
  headers: checkPairs,
  timeoutMs: positiveMs,
} satisfies Checks<VisitOptions>;

/** The reply that the caller of a URL received. */
export class Reply {
  /** The HTTP status. */
  readonly status: number;
  /** The header fields, in order. */
  readonly headers: Headers;
  /** The body. */
  readonly body: Uint8Array;

  constructor(status: number, headers: Headers, body: Uint8Array) {
    this.status = status;
    this.headers = headers;
    this.body = body;
  }

  /** The target of a redirect. Undefined if the reply is no redirect. */
  get location(): string | undefined {
    return this.headers.get("location");
  }

  /** Return the body as UTF-8. Invalid bytes are replaced. */
  text(): string {
    return new TextDecoder().decode(this.body);
  }

  /** Parse the body as JSON. @throws SyntaxError: The body is not JSON. */
  json(): unknown {
    return JSON.parse(this.text());
  }
}

/** The headers of a browser that navigates to a page. With its `Accept`, errors are readable pages. */
const BROWSER = {
  "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  Accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
  "Accept-Language": "en-GB,en;q=0.5",
  "Sec-Fetch-Dest": "document",
  "Sec-Fetch-Mode": "navigate",
  "Sec-Fetch-Site": "cross-site",
  "Upgrade-Insecure-Requests": "1",
};

/**
 * Send a request on a new connection to an edge, and return the reply. Redirects are not followed.
 *
 * @param edge The URL of the edge. The host of `url` is sent as `Host`, because it does not exist in a test.
 * @throws TypeError: More than one body is given, an option does not exist or has the wrong type, or the URL is not
 *   absolute.
 * @throws RangeError: The timeout is not positive.
 * @throws Error of Node: No connection was possible, or no reply arrived in time.
 */
export async function send(edge: string, url: string, options: SendOptions): Promise<Reply> {
  checkOptions("send", options, SEND);
  const { method = "POST", timeoutMs = 30_000 } = options;
  const { hostname, port } = new URL(edge);
  const { host, pathname, search } = new URL(url);
  const [body, kind] = contentOf(options);
  const given = new Headers(options.headers);
  const own = {
    Host: host,
    "Content-Length": String(body.length),
    ...(kind !== undefined && { "Content-Type": kind }),
  };
  const mine = Object.entries(own).filter(([name]) => !given.has(name));
  const headers = [...mine, ...given].flat(); // as Node takes headers in order, with repeated names
  const signal = AbortSignal.timeout(timeoutMs);
  const path = `${pathname}${search}`;
  const reply = await new Promise<IncomingMessage>((resolve, reject) => {
    // The types of Node know no array of names and values.
    const given = { hostname, port, method, path, headers: headers as never, signal, agent: false };
    request(given, resolve).on("error", reject).end(body);
  });
  const chunks: Buffer[] = [];
  for await (const chunk of reply) {
    chunks.push(chunk as Buffer);
  }
  const pairs = reply.rawHeaders.flatMap((name, index) =>
    index % 2 === 0 ? [[name, reply.rawHeaders[index + 1] ?? ""] as const] : [],
  );
  return new Reply(reply.statusCode ?? 0, new Headers(pairs), Buffer.concat(chunks));
}

/** Call a URL as a browser does. Redirects are not followed. */
export async function visit(edge: string, url: string, options: VisitOptions): Promise<Reply> {
  checkOptions("visit", options, VISIT);
  const { query = [], form, headers = [], timeoutMs } = options;
  const given = new Headers(headers);
  const mine = Object.entries(BROWSER).filter(([name]) => !given.has(name));
  const target = new URL(url);
  for (const [name, value] of new Query(query)) {
    target.searchParams.append(name, value);
  }
  return send(edge, target.href, {
    method: form === undefined ? "GET" : "POST",
    headers: [...mine, ...given],
    ...(form !== undefined && { form }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  });
}

/** Return the body of a request, and its content type. The type is undefined for a plain body. */
function contentOf({ body, form, json }: SendOptions): [Uint8Array, string | undefined] {
  if ([body, form, json].filter((each) => each !== undefined).length > 1) {
    throw new TypeError("a request has only one body: give one of body, form and json");
  }
  if (form !== undefined) {
    const fields = new URLSearchParams([...new Query(form)] as [string, string][]);
    return [Buffer.from(fields.toString()), "application/x-www-form-urlencoded"];
  }
  if (json !== undefined) {
    return [Buffer.from(JSON.stringify(json)), "application/json"];
  }
  return [typeof body === "string" ? Buffer.from(body) : (body ?? new Uint8Array()), undefined];
}

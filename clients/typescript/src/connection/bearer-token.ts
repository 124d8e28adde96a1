/**
 * Bearer token of a client, as the metadata of each request.
 *
 * A token file is read again with each request, so that a new token takes effect without a restart. If the file is
 * unusable at the start, the client throws; later it keeps the last token and logs the problem once. A token never
 * appears in debug output or in an error.
 */

import { readFileSync } from "node:fs";
import { Metadata } from "@grpc/grpc-js";
import type { Logger } from "../logger.js";
import type { TokenOptions } from "../options.js";
import { isLocal } from "./targets.js";

/** Returns the metadata of a request. */
export interface TokenMetadata {
  (): Promise<Metadata>;
  /** Returns whether the token file has another token than when it was last read. */
  readonly hasChanged?: () => boolean;
}

/**
 * Return the function that gives the metadata of each request.
 *
 * @throws TypeError: `token` and `tokenFile` are both given, or the token is malformed. For a function, the returned
 *   function throws it.
 * @throws Error of Node: The file cannot be read.
 */
export function tokenMetadata({ token, tokenFile }: TokenOptions, logger: Logger): TokenMetadata {
  if (token !== undefined && tokenFile !== undefined) {
    throw new TypeError("token and tokenFile exclude each other: give only one");
  }
  if (tokenFile !== undefined) {
    return fileMetadata(tokenFile, logger);
  }
  if (token === undefined) {
    return async () => new Metadata();
  }
  if (typeof token === "function") {
    return async () => authorization(await token());
  }
  authorization(token);
  return async () => authorization(token);
}

/** Log a warning if a token would leave this machine without TLS. */
export function warnOfPlainText(
  target: string,
  options: TokenOptions & { readonly tls?: unknown },
  logger: Logger,
): void {
  const hasToken = options.token !== undefined || options.tokenFile !== undefined;
  if (options.tls === undefined && hasToken && !isLocal(target)) {
    logger.warn({ target, hint: "pass tls to encrypt the connection" }, "token_sent_in_plain_text");
  }
}

function fileMetadata(file: string | URL, logger: Logger): TokenMetadata {
  const read = (): string => {
    const token = readFileSync(file, "utf8").trim();
    try {
      authorization(token);
    } catch (error) {
      throw new TypeError(`${file}: ${(error as Error).message}`);
    }
    return token;
  };
  let last = read();
  let problem = "";
  const readAgain = (): string => {
    try {
      last = read();
      problem = "";
    } catch (error) {
      const { message } = error as Error;
      if (message !== problem) {
        problem = message;
        logger.error({ action: "keep_last_token", problem }, "token_file_unusable");
      }
    }
    return last;
  };
  const hasChanged = (): boolean => last !== readAgain();
  return Object.assign(async () => authorization(readAgain()), { hasChanged });
}

function authorization(token: string): Metadata {
  // gRPC would reject it too, and repeat the token in its error.
  if (typeof token !== "string" || !/^[!-~]+$/.test(token)) {
    throw new TypeError("the token is empty or contains characters that a token cannot have");
  }
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

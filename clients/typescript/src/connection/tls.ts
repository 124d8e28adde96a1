/**
 * TLS of clients and handler servers, from PEM files.
 *
 * Files are checked for changes whenever they are needed, so that a new certificate takes effect without a restart. If a
 * file is unusable at the start, that is an error; later the last usable files stay in use, and the problem is logged
 * once. Nothing of a key appears in debug output or in an error.
 */

import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { Logger } from "../logger.js";

/** TLS of a client: the authorities that it trusts, and its own certificate. */
export interface Tls {
  /** PEM file of the certificate authorities to trust. Default: the public ones that Node includes. */
  readonly caFile?: string | URL | undefined;
  /** PEM file of the client's certificate, with its intermediate certificates. Default: none. */
  readonly certFile?: string | URL | undefined;
  /** PEM file of its private key, without a password. Required with `certFile`. */
  readonly keyFile?: string | URL | undefined;
  /** The name that the server's certificate must have. Default: the host of the target. Several servers need it. */
  readonly serverName?: string | undefined;
}

/** The contents of PEM files. Undefined for a file that is not given. */
export interface PemContents {
  readonly ca: Buffer | undefined;
  readonly key: Buffer | undefined;
  readonly cert: Buffer | undefined;
}

/** PEM files that are usable for TLS. */
export class PemFiles {
  readonly #files: Tls;
  readonly #logger: Logger;
  #stats: string;
  #problem = "";
  #contents: PemContents;

  /**
   * @throws TypeError: Only one of `certFile` and `keyFile` is given, or a file has no usable content.
   * @throws Error of Node: A file cannot be read.
   */
  constructor(files: Tls, logger: Logger) {
    if ((files.certFile === undefined) !== (files.keyFile === undefined)) {
      throw new TypeError("certFile and keyFile must be given together");
    }
    this.#files = files;
    this.#logger = logger;
    this.#stats = statsOf(files);
    this.#contents = readChecked(files);
  }

  /** The last usable contents. */
  get contents(): PemContents {
    return this.#contents;
  }

  /** Read the files again if they changed, and return whether their contents differ. */
  reloadIfChanged(): boolean {
    const stats = statsOf(this.#files);
    if (stats === this.#stats) {
      return false;
    }
    let contents: PemContents;
    try {
      contents = readChecked(this.#files);
    } catch (error) {
      // Checked again the next time: the cause may be outside the files.
      const { message } = error as Error;
      if (message !== this.#problem) {
        this.#problem = message;
        this.#logger.error({ action: "keep_last_files", problem: message }, "tls_files_unusable");
      }
      return false;
    }
    this.#stats = stats;
    this.#problem = "";
    if (equal(contents, this.#contents)) {
      return false;
    }
    this.#contents = contents;
    this.#logger.info({}, "tls_files_reloaded");
    return true;
  }
}

/** Node leaves a certificate out that is cut off, and takes a file without any. */
const CERTIFICATE_BEGINS = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/g;
const WHOLE_CERTIFICATE = /-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----[^-]+-----END \1-----/g;

/** Read files that OpenSSL accepts. gRPC would fail every connection with others, without the reason. */
function readChecked(files: Tls): PemContents {
  const contents = { ca: read(files.caFile), key: read(files.keyFile), cert: read(files.certFile) };
  const { caFile, certFile, keyFile } = files;
  if (contents.ca !== undefined) {
    check(`${caFile}`, () => createSecureContext({ ca: contents.ca }));
    const text = contents.ca.toString("latin1");
    const [begun, whole] = [CERTIFICATE_BEGINS, WHOLE_CERTIFICATE].map((part) => text.match(part)?.length ?? 0);
    if (begun === 0 || begun !== whole) {
      throw new TypeError(`${caFile}: no usable PEM content`);
    }
  }
  if (contents.cert !== undefined) {
    const { cert, key } = contents;
    check(`${certFile} with ${keyFile}`, () => createSecureContext({ cert, key }));
    const ended = new Date(new X509Certificate(contents.cert).validTo);
    if (ended <= new Date()) {
      throw new TypeError(`${certFile}: the certificate expired on ${ended.toISOString().slice(0, 10)}: renew it`);
    }
  }
  return contents;
}

function check(names: string, create: () => unknown): void {
  try {
    create();
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code === "ERR_OSSL_X509_KEY_VALUES_MISMATCH") {
      throw new TypeError(`${names}: the key does not belong to the certificate`);
    }
    throw new TypeError(`${names}: no usable PEM content${code && ` (${code})`}`);
  }
}

function read(file: string | URL | undefined): Buffer | undefined {
  return file === undefined ? undefined : readFileSync(file);
}

function equal(left: PemContents, right: PemContents): boolean {
  const same = (one: Buffer | undefined, other: Buffer | undefined): boolean =>
    one === other || (one !== undefined && other !== undefined && one.equals(other));
  return same(left.ca, right.ca) && same(left.key, right.key) && same(left.cert, right.cert);
}

/**
 * How long after a change another one has another time on every file system, in nanoseconds: the clock of most kernels
 * ticks every few milliseconds, that of some file systems every two seconds.
 */
const SETTLED_NS = 2_000_000_000n;

let looks = 0;

/** Return a text that differs after a file was written, replaced or made readable, or has just changed. */
function statsOf({ caFile, certFile, keyFile }: Tls): string {
  return [caFile, certFile, keyFile]
    .map((file) => {
      const stats = file === undefined ? undefined : statSync(file, { bigint: true, throwIfNoEntry: false });
      if (stats === undefined) {
        return "-";
      }
      if (BigInt(Date.now()) * 1_000_000n - stats.ctimeNs < SETTLED_NS) {
        looks += 1;
        return `look ${looks}`; // it may change again without a trace in its status
      }
      return `${stats.ctimeNs} ${stats.mtimeNs} ${stats.size} ${stats.ino}`;
    })
    .join("/");
}

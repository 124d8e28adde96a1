/** Forms of a request: urlencoded, and multipart with files. */

import { Dicer } from "@fastify/busboy";
import { Concealing, conceal, secretOf } from "./concealing.js";
import { Reject } from "./decisions.js";
import { type Headers, Query } from "./pairs.js";
import { Response } from "./response.js";

/** How many parts a multipart form can have. */
const MAX_PARTS = 1000;
/** Largest head of a part, in bytes. */
const MAX_HEAD = 16_384;

const BOUNDARY = /;[ \t]*boundary=(?:"([ !#-[\]-~]{0,69}[!#-[\]-~])"|([!#-:<-[\]-~]{1,70}))[ \t]*(?:;|$)/i;
const HEAD = /^(?:\r\n[\w!#$%&'*+.^`|~-]+:[\t -~\x80-\xff]*){1,8}$/;
const DISPOSITION = /^form-data[ \t]*(?:;[ \t]*[\w*-]+=(?:"(?:[^"\\]|\\.)*"|[^ \t";]*)[ \t]*){0,8};?$/is;
const PARAMETER = /;[ \t]*([\w*-]+)=(?:"((?:[^"\\]|\\.)*)"|([^ \t";]*))/gs;
const FOLDER = /^(?:.*[/\\])?(?:[a-z]:)?/is;

/** A file of a multipart form. All of it is as the caller chose it. Debug output has none of it. */
export class FormFile extends Concealing {
  /** @internal */
  constructor(field: string, filename: string, contentType: string, content: Uint8Array) {
    super();
    conceal(this, { field, filename, contentType, content });
  }

  /** The name of the field. */
  get field(): string {
    return secretOf(this, "field");
  }

  /**
   * The name that the caller gave the file, without folders and the letter of a drive. It is untrusted: it can be empty, very
   * long, or that of another file, with any ending. Show it, but never store a file under it.
   */
  get filename(): string {
    return secretOf(this, "filename");
  }

  /** What the caller says of the content. Empty if it says nothing. */
  get contentType(): string {
    return secretOf(this, "contentType");
  }

  /** The bytes. */
  get content(): Uint8Array {
    return secretOf(this, "content");
  }
}

/** The fields of a form, and its files. */
export class Form extends Query {
  readonly #files: readonly FormFile[];

  /** @internal */
  constructor(fields: Iterable<readonly [string, string]>, files: readonly FormFile[] = []) {
    super(fields);
    this.#files = Object.freeze(files);
  }

  /** The files, in order. Only multipart forms have files. */
  get files(): readonly FormFile[] {
    return this.#files;
  }
}

interface Part {
  header: Readonly<Record<string, readonly string[]>>;
  readonly content: Uint8Array[];
}

/** Read a body as a form, or reject with a {@link Reject} with the code 400. */
export async function readForm(headers: Headers, body: Uint8Array): Promise<Form> {
  const [type = "", ...others] = headers.getAll("content-type");
  const mediaType = trim(type.split(";", 1)[0] ?? "").toLowerCase();
  if (others.length === 0 && ["", "application/x-www-form-urlencoded"].includes(mediaType)) {
    return new Form(new URLSearchParams(new TextDecoder().decode(body)));
  }
  const boundary = mediaType === "multipart/form-data" && others.length === 0 ? boundaryOf(type) : undefined;
  const strict = boundary === undefined ? undefined : strictParts(boundary, body);
  if (boundary === undefined || strict === undefined) {
    throw noForm();
  }
  const fields: [string, string][] = [];
  const files: FormFile[] = [];
  for (const { header, content } of await partsOf(boundary, strict)) {
    const names = namesOf(header["content-disposition"] ?? []);
    const [name, filename] = [names.get("name"), names.get("filename")];
    const bytes = Buffer.concat(content);
    if (name === undefined) {
      throw noForm();
    }
    if (filename === undefined) {
      fields.push([name, bytes.toString()]);
    } else if (filename !== "" || bytes.length > 0) {
      // else an input in which no file was chosen
      const base = filename.replace(FOLDER, "");
      const kind = trim(utf8(header["content-type"]?.[0] ?? ""));
      files.push(new FormFile(name, /^\.*$/.test(base) ? "" : base, kind, new Uint8Array(bytes)));
    }
  }
  return new Form(fields, files);
}

function noForm(): Reject {
  return new Reject(new Response("the body is not a form", { code: 400 }));
}

/** Return the boundary of a type that has one. */
function boundaryOf(type: string): string | undefined {
  const [, quoted, plain] = BOUNDARY.exec(type) ?? [];
  return type.match(/boundary=/gi)?.length === 1 ? (quoted ?? plain) : undefined;
}

/**
 * Return the parts of a body, from the first boundary to the last, if all parsers read them alike: each has a head of single
 * lines, and no line begins like a boundary.
 */
function strictParts(boundary: string, body: Uint8Array): Uint8Array | undefined {
  const delimiter = `\r\n--${boundary}`;
  const [preamble = "", ...pieces] = `\r\n${Buffer.from(body).toString("latin1")}`.split(delimiter, MAX_PARTS + 2);
  let end = preamble.length; // in the body, which has no line break before it
  for (const piece of pieces) {
    end += delimiter.length;
    if (piece.startsWith("--")) {
      return body.subarray(preamble.length, end);
    }
    const [head = "", content] = piece.split("\r\n\r\n", 2);
    if (content === undefined || head.length > MAX_HEAD || !HEAD.test(head)) {
      return undefined;
    }
    end += piece.length;
  }
  return undefined;
}

function partsOf(boundary: string, body: Uint8Array): Promise<Part[]> {
  return new Promise((resolve, reject) => {
    const parts: Part[] = [];
    new Dicer({ boundary })
      .on("part", (stream) => {
        const part: Part = { header: {}, content: [] };
        parts.push(part);
        stream.on("header", (header) => {
          part.header = header as Part["header"];
        });
        stream.on("data", (bytes: Buffer) => part.content.push(bytes));
        stream.on("error", reject);
      })
      .on("finish", () => resolve(parts))
      .on("error", reject)
      .end(body);
  });
}

/** Return the parameters of the disposition of a part. Empty if it has none of a form, or a parameter twice. */
function namesOf(dispositions: readonly string[]): Map<string, string> {
  const [given = "", ...others] = dispositions.map((each) => trim(utf8(each)));
  const found = DISPOSITION.test(given) ? [...given.matchAll(PARAMETER)] : [];
  const names = new Map(
    found.map(([, name = "", quoted, plain = ""]) => [
      name.toLowerCase(),
      quoted === undefined ? plain : quoted.replace(/\\(["\\])/g, "$1"),
    ]),
  );
  return others.length === 0 && names.size === found.length ? names : new Map();
}

/** Remove blanks as HTTP has them. The method of text removes others, too. */
function trim(text: string): string {
  let end = text.length;
  while (end > 0 && " \t".includes(text.charAt(end - 1))) {
    end -= 1; // a pattern would take a time with the square of the length
  }
  return text.slice(0, end).replace(/^[ \t]+/, "");
}

function utf8(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString();
}

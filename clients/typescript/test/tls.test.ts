/** TLS, with the certificates that `tests/languages/test_typescript.py` makes. */

import assert from "node:assert/strict";
import fs from "node:fs";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { inspect, promisify } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { CallbackClient, HandlerServer, Handlers, NotFoundError, Response, UnavailableError } from "@callback/client";
import { Client, credentials, Server, ServerCredentials, type ServiceError, status } from "@grpc/grpc-js";
import {
  HandleCallbackRequestSchema,
  type HandleCallbackResponse,
  HandleCallbackResponseSchema,
} from "#gen/callback/v1/callback_handler_service_pb.js";
import { CallbacksService } from "#gen/callback/v1/callbacks_service_pb.js";
import { PemFiles } from "../src/connection/tls.js";
import { standardErrorLogger } from "../src/logger.js";
import { definitionOf, refusalOf } from "./scripted-server.js";
import { Events } from "./support.js";

const CERTIFICATES = process.env["TEST_CERTIFICATES"] ?? "";
const METHOD = "/callback.v1.CallbackHandlerService/HandleCallback";

describe("TLS", { skip: CERTIFICATES === "" && "TEST_CERTIFICATES is not set" }, () => {
  let folder: string;
  const file = (name: string): string => join(folder, name);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "callback-tls-"));
    for (const name of ["ca.pem", "server.pem", "server.key", "client.pem", "client.key", "old.pem", "old.key"]) {
      await copyFile(join(CERTIFICATES, name), file(name));
    }
  });

  after(() => rm(folder, { recursive: true }));

  /** Ask a handler server as the Callback server does, with a certificate or without one. */
  async function ask(address: string, { withCertificate = true } = {}): Promise<HandleCallbackResponse> {
    const read = (name: string): Promise<Buffer | null> =>
      withCertificate ? readFile(file(name)) : Promise.resolve(null);
    const ssl = credentials.createSsl(
      await readFile(file("ca.pem")),
      await read("client.key"),
      await read("client.pem"),
    );
    const client = new Client(address, ssl);
    const request = Buffer.from(
      toBinary(HandleCallbackRequestSchema, create(HandleCallbackRequestSchema, { callbackActivity: "act" })),
    );
    try {
      return (await promisify((done: (error: ServiceError | null, reply?: HandleCallbackResponse) => void) =>
        client.makeUnaryRequest(
          METHOD,
          (bytes: Buffer) => bytes,
          (bytes) => fromBinary(HandleCallbackResponseSchema, bytes),
          request,
          done,
        ),
      )()) as HandleCallbackResponse;
    } finally {
      client.close();
    }
  }

  test("with a certificate that has expired is refused at the start", async () => {
    const old = { certFile: file("old.pem"), keyFile: file("old.key") };
    const refused = { name: "TypeError", message: /old\.pem: the certificate expired on 2021-01-01: renew it$/ };
    assert.throws(() => new CallbackClient({ target: "localhost:1", tls: old }), refused);
    const handlers = new Handlers().activity("act", () => new Response("x"));
    await assert.rejects(new HandlerServer(handlers, "localhost:0", { tls: old }).start(), refused);
  });

  test("on one side only is named in the error", async () => {
    const handlers = new Handlers().activity("act", () => new Response("x"));
    const pair = { certFile: file("server.pem"), keyFile: file("server.key") };
    for (const [served, connected, advice] of [
      [undefined, { caFile: file("ca.pem") }, /the server does not use TLS: connect without it/],
      [pair, undefined, /if this one does, connect with TLS/],
    ] as const) {
      const options = { tls: served, graceMs: 0, logger: new Events() };
      await using server = await new HandlerServer(handlers, "localhost:0", options).start();
      const client = new CallbackClient({ target: server.address, tls: connected, retry: false });
      await assert.rejects(client.getCallback("5f0c"), advice);
      client.close();
    }
  });

  test("lets a handler server accept only clients with a certificate and a name of its list", async () => {
    const handlers = new Handlers().activity("act", () => new Response("x"));
    const files = { certFile: file("server.pem"), keyFile: file("server.key"), clientCaFile: file("ca.pem") };
    for (const [clientNames, code] of [
      [["callback.internal"], status.OK],
      [["other.internal"], status.PERMISSION_DENIED],
    ] as const) {
      const events = new Events();
      await using server = await new HandlerServer(handlers, "127.0.0.1:0", {
        tls: { ...files, clientNames },
        logger: events,
      }).start();
      const asked = ask(server.address);
      await (code === status.OK ? asked : assert.rejects(asked, { code }));
      await assert.rejects(ask(server.address, { withCertificate: false }), { code: status.UNAVAILABLE });
    }
    assert.throws(
      () =>
        new HandlerServer(handlers, "127.0.0.1:0", { tls: { ...files, clientCaFile: undefined, clientNames: ["a"] } }),
      /requires clientCaFile/,
    );
  });

  test("lets a client trust only its authorities, and follow a changed file", async () => {
    const key_cert = {
      private_key: await readFile(file("server.key")),
      cert_chain: await readFile(file("server.pem")),
    };
    const server = new Server();
    server.addService(definitionOf(CallbacksService), {
      getCallback: (_: unknown, done: (error: object) => void) =>
        done(refusalOf(status.NOT_FOUND, "CALLBACK_NOT_FOUND")),
    });
    const port = await promisify(server.bindAsync.bind(server))(
      "127.0.0.1:0",
      ServerCredentials.createSsl(null, [key_cert]),
    );
    await copyFile(join(CERTIFICATES, "other-ca.pem"), file("trusted.pem"));
    const events = new Events();
    const tls = { caFile: file("trusted.pem") };
    const client = new CallbackClient({
      target: `127.0.0.1:${port}`,
      tls,
      logger: events,
      retry: false,
      token: "s3cret",
    });
    await assert.rejects(client.getCallback("x"), UnavailableError);
    await writeFile(file("trusted.pem"), "no certificate");
    await assert.rejects(client.getCallback("x"), UnavailableError);
    assert.equal((await events.of("tls_files_unusable"))["action"], "keep_last_files");
    await copyFile(file("ca.pem"), file("trusted.pem"));
    await assert.rejects(client.getCallback("x"), NotFoundError);
    assert.doesNotMatch(inspect(client, { depth: 9, showHidden: true }), /s3cret/);
    client.close();
    server.forceShutdown();
  });

  test("follows a new certificate of a handler server", async () => {
    const handlers = new Handlers().activity("act", () => new Response("x"));
    const tls = { certFile: file("changing.pem"), keyFile: file("changing.key") };
    await copyFile(join(CERTIFICATES, "other.pem"), tls.certFile);
    await copyFile(join(CERTIFICATES, "other.key"), tls.keyFile);
    const events = new Events();
    await using server = await new HandlerServer(handlers, "127.0.0.1:0", { tls, graceMs: 0, logger: events }).start();
    await assert.rejects(ask(server.address), { code: status.UNAVAILABLE });
    await copyFile(file("server.key"), tls.keyFile);
    await copyFile(file("server.pem"), tls.certFile);
    await events.of("tls_files_reloaded");
    await ask(server.address);
  });

  test("reads a file again that changes twice in one tick of the clock", async (context) => {
    const { statSync } = fs;
    const tick = (time: bigint): bigint => time - (time % 2_000_000_000n);
    const coarse = (path: fs.PathLike): Partial<fs.BigIntStats> => {
      const { ctimeNs, mtimeNs } = statSync(path, { bigint: true });
      return { ctimeNs: tick(ctimeNs), mtimeNs: tick(mtimeNs), size: 0n, ino: 0n };
    };
    context.mock.method(fs, "statSync", coarse as typeof fs.statSync);
    syncBuiltinESMExports();
    try {
      await copyFile(file("ca.pem"), file("changing.pem"));
      const files = new PemFiles({ caFile: file("changing.pem") }, standardErrorLogger);
      await copyFile(file("server.pem"), file("changing.pem"));
      assert.equal(files.reloadIfChanged(), true);
    } finally {
      context.mock.restoreAll();
      syncBuiltinESMExports();
    }
  });

  test("refuses files that cannot be used, and names them", () => {
    const wrong = { tls: { caFile: file("ca.pem"), certFile: file("client.pem"), keyFile: file("server.key") } };
    assert.throws(() => new CallbackClient(wrong), /client\.pem with .*server\.key: the key does not belong/);
    assert.throws(
      () => new CallbackClient({ tls: { caFile: file("client.key") } }),
      /client\.key: no usable PEM content/,
    );
    assert.throws(() => new CallbackClient({ tls: { caFile: file("none.pem") } }), /ENOENT/);
  });
});

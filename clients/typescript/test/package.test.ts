/** The package as users install it, and each snippet of its README in a project of its own. */

import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { CallbackClient, Response, type Worker } from "@callback/client";
import { system } from "./system.js";

const run = promisify(execFile);
const ROOT = process.cwd();
const DOCUMENTED_TARGET = "127.0.0.1:50051";

/** A program of the project, with its output. */
class Program {
  output = "";
  readonly #child: ChildProcess;
  readonly #news = new EventEmitter();

  constructor(folder: string, file: string) {
    this.#child = spawn(process.execPath, [file], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.output += chunk.toString();
        this.#news.emit("news");
      });
    }
    this.#child.once("close", () => this.#news.emit("news"));
  }

  /** Wait until the output has what a pattern describes. */
  async printed(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = pattern.exec(this.output);
      if (found !== null) {
        return found[0];
      }
      assert.equal(this.#child.exitCode, null, this.output);
      await once(this.#news, "news");
    }
  }

  /** Wait for its end, which must be a success. */
  async end(): Promise<void> {
    while (this.#child.exitCode === null && this.#child.signalCode === null) {
      await once(this.#news, "news");
    }
    assert.deepEqual([this.#child.exitCode, this.#child.signalCode], [0, null], this.output);
  }

  /** Ask it to stop, and wait for its end. */
  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.end();
  }
}

describe("a project with the package", () => {
  const snippets = new Map<string, string>();
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "callback-project-"));
    const readme = await readFile("README.md", "utf8");
    for (const [, name = "", text = ""] of readme.matchAll(/^```[jt]s\n\/\/ (\S+)\n([\s\S]*?)^```/gm)) {
      snippets.set(name, text.replaceAll(DOCUMENTED_TARGET, system.target));
    }
    assert.equal(snippets.size, [...readme.matchAll(/^```[jt]s$/gm)].length);
    const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder]);
    await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module", private: true }));
    const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
    await run("npm", [...install, `./${stdout.trim()}`], { cwd: folder });
    for (const [name, text] of snippets) {
      await writeFile(join(folder, name), text);
    }
  });

  after(() => rm(folder, { recursive: true, force: true }));

  test("has the licence, the README and the types, and no other package needs more than to be installed", async () => {
    const installed = join(folder, "node_modules", "@callback", "client");
    assert.deepEqual((await readdir(installed)).sort(), ["LICENSE", "README.md", "dist", "package.json"]);
    const { version, license } = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
    assert.equal(license, "Apache-2.0");
    assert.equal(version, JSON.parse(await readFile("package.json", "utf8")).version);
  });

  test("sees no generated type in the public names", async () => {
    const seen = new Set<string>();
    const visit = async (file: string): Promise<void> => {
      if (!seen.has(file)) {
        seen.add(file);
        const text = await readFile(file, "utf8");
        assert.doesNotMatch(text, /@bufbuild|@grpc|\bgen\//, file);
        for (const [, target = ""] of text.matchAll(/from "(\.[^"]+)\.js"/g)) {
          await visit(join(file, "..", `${target}.d.ts`));
        }
      }
    };
    await visit(join(ROOT, "dist", "index.d.ts"));
    await visit(join(ROOT, "dist", "testing", "index.d.ts"));
    assert(seen.size > 10);
  });

  test("compiles each snippet, with the documented configuration and each way to find modules", async () => {
    const readme = await readFile("README.md", "utf8");
    const [, documented = ""] = /^```json\n(.*"compilerOptions".*)\n```$/m.exec(readme) ?? [];
    const { compilerOptions } = JSON.parse(documented);
    const here = {
      typeRoots: [join(ROOT, "node_modules", "@types")],
      allowJs: true,
      checkJs: true,
      outDir: "compiled",
    };
    const strictest = { exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true };
    for (const [name, more] of Object.entries({
      documented: {},
      node16: { ...strictest, module: "node16" },
      bundler: { ...strictest, module: "preserve" },
    })) {
      const options = { ...compilerOptions, ...here, ...more };
      const project = join(folder, `tsconfig.${name}.json`);
      await writeFile(project, JSON.stringify({ compilerOptions: options, files: [...snippets.keys()] }));
      await run(join(ROOT, "node_modules", ".bin", "tsc"), ["-p", project]).catch((error) => {
        assert.fail(`${name}: ${error.stdout}`);
      });
    }
  });

  test("handles a callback in its worker, which ends at SIGTERM", async () => {
    const worker = new Program(folder, "worker.mjs");
    await worker.printed(/worker_connected/);
    const generate = new Program(folder, "generate.mjs");
    const url = await generate.printed(/http:\S+/);
    assert.equal((await system.visit(url, { query: { trxid: "1" } })).location, "https://shop.example/thankyou");
    await worker.printed(/order 5 is paid/);
    await Promise.all([generate.end(), worker.stop()]);
  });

  test("runs the handlers of the README", async () => {
    const { handlers } = await import(pathToFileURL(join(folder, "handlers.mjs")).href);
    const installed = await import(pathToFileURL(join(folder, "node_modules/@callback/client/dist/index.js")).href);
    const running: Awaited<ReturnType<Worker["start"]>> = await new installed.Worker(handlers, {
      target: system.target,
    }).start();
    await running.connected();
    const made = await system.client.generateCallbackUrl("stock-changed", new Response());
    const reply = await system.send(made.url, { json: { sku: "s1" } });
    assert.deepEqual([reply.status, reply.json()], [202, { received: "s1" }]);
    await running.stop();
  });

  for (const [name, expected] of [
    ["requests.mjs", /closed: CLOSED_BY_OWNER/],
    ["watch.mjs", /CASE_CREATED [0-9a-f]{32} true/],
    ["server.mjs", /listening on 127\.0\.0\.1:\d+/],
    ["shop.test.mjs", /# pass 1/],
  ] as const) {
    test(`runs ${name}`, async () => {
      const program = new Program(folder, name);
      await program.printed(expected);
      await program.end();
    });
  }

  test("runs secure.ts", async () => {
    const tokenFile = join(folder, "token");
    await writeFile(tokenFile, "secret");
    const { connect } = await import(pathToFileURL(join(folder, "compiled", "secure.js")).href);
    const caFile = process.env["TEST_CERTIFICATES"] && join(process.env["TEST_CERTIFICATES"], "ca.pem");
    const [client] = connect(system.target, tokenFile, caFile);
    assert.equal(client.constructor.name, CallbackClient.name);
  });
});

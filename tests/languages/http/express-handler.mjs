/** The HTTP handler under test in Express: what `tests/support/http_scenarios.py` asks of a handler. */

import { existsSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { UnverifiedRequestError, verifyHandlerRequest } from "@callback/client";
import express from "express";

const app = express();

app.all("/callback", express.raw({ type: () => true, limit: "8mb" }), async (request, response) => {
  const call = verifyHandlerRequest(process.env.SECRET, request.headers, request.body ?? "");
  if (call.reason !== "CALL") {
    return response.status(204).end();
  }
  switch (call.activityCase) {
    case "reject":
      return response.status(422).send("no");
    case "fail":
      throw new Error("as the scenario says");
    case "wait":
      while (!existsSync("released")) {
        await setTimeout(20);
      }
      break;
    case "echo":
      response.set({ "content-type": "application/x-echo", "x-echo": `${call.method} ${call.headers.get("x-value")}` });
      return response.end(Buffer.from(call.body));
    case "redirect":
      return response.redirect(307, `https://shop.example/${call.query.get("to")}`);
    case "keep-open":
      return response.set("callback-decision", "keep-open").end();
    case "large":
      return response.end(Buffer.alloc(1024 * 1024 + 1));
  }
  const isLater = call.activityCase === "later" && call.attempt === 1;
  return isLater ? response.status(503).end() : response.status(201).send(`done ${call.attempt}`);
});

app.use((error, _request, response, _next) => {
  response.sendStatus(error instanceof UnverifiedRequestError ? 401 : 500);
});

app.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening"));

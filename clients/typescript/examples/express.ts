/** A shop with Express: it generates a callback for each payment, and a worker in the same process decides the calls. */

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { CallbackClient, Handlers, Redirect, Reject, Worker } from "@callback/client";
import express from "express";

/** Start the shop, and return its URL and the function that stops it. */
export async function start({ port = 3000, target = "127.0.0.1:50051" } = {}) {
  const paid = new Set<string>();
  const handlers = new Handlers().activity("express-order-paid", (call) => {
    if (call.query.get("status") !== "paid") {
      throw new Reject("the order is not paid");
    }
    paid.add(call.activityCase);
    return new Redirect(`/orders/${call.activityCase}`);
  });
  const client = new CallbackClient({ target });
  const worker = await new Worker(handlers, { target }).start();

  const app = express();
  app.post("/orders/:id/payment", async (request, response) => {
    const { id } = request.params;
    const options = { activityCase: id, requestId: `express order ${id}` };
    const { url } = await client.generateCallbackUrl("express-order-paid", new Redirect("/"), options);
    response.json({ url });
  });
  app.get("/orders/:id", (request, response) => {
    response.json({ paid: paid.has(request.params.id) });
  });
  const server = app.listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (error) {
    await worker.stop(); // the port is taken: the process can end
    throw error;
  }

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop(): Promise<void> {
      const closed = once(server, "close");
      server.close();
      await worker.stop(); // running calls finish first
      await closed; // and so do requests
      client.close();
    },
  };
}

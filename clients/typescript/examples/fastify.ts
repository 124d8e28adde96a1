/** A shop with Fastify: a plugin runs the worker in the same process, from the start of the server to its close. */

import { CallbackClient, Handlers, Redirect, Reject, Worker } from "@callback/client";
import fastify, { type FastifyInstance } from "fastify";

interface Options {
  readonly handlers: Handlers;
  readonly target: string;
}

/** Fastify plugin: run a worker, with the log of the server. */
async function callbackWorker(app: FastifyInstance, { handlers, target }: Options): Promise<void> {
  const worker = await new Worker(handlers, { target, logger: app.log }).start();
  app.addHook("onClose", () => worker.stop()); // running calls finish first
}

/** Start the shop, and return its URL and the function that stops it. */
export async function start({ port = 3000, target = "127.0.0.1:50051" } = {}) {
  const paid = new Set<string>();
  const handlers = new Handlers().activity("fastify-order-paid", (call) => {
    if (call.query.get("status") !== "paid") {
      throw new Reject("the order is not paid");
    }
    paid.add(call.activityCase);
    return new Redirect(`/orders/${call.activityCase}`);
  });
  const client = new CallbackClient({ target });

  const app = fastify();
  app.register(callbackWorker, { handlers, target });
  app.addHook("onClose", async () => client.close());
  app.post<{ Params: { id: string } }>("/orders/:id/payment", async ({ params: { id } }) => {
    const options = { activityCase: id, requestId: `fastify order ${id}` };
    const { url } = await client.generateCallbackUrl("fastify-order-paid", new Redirect("/"), options);
    return { url };
  });
  app.get<{ Params: { id: string } }>("/orders/:id", async ({ params: { id } }) => ({ paid: paid.has(id) }));

  try {
    return { url: await app.listen({ port, host: "127.0.0.1" }), stop: () => app.close() };
  } catch (error) {
    await app.close(); // stops the worker if the port is taken: the process can end
    throw error;
  }
}

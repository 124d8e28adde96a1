/** The examples: a web application and a worker in one process. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { start as startExpress } from "../examples/express.js";
import { start as startFastify } from "../examples/fastify.js";
import { allOf, until } from "./support.js";
import { system } from "./system.js";

for (const [name, start, shopActivity] of [
  ["Express", startExpress, "express-order-paid"],
  ["Fastify", startFastify, "fastify-order-paid"],
] as const) {
  describe(`a shop with ${name}`, () => {
    test("gets a payment from its own worker", async () => {
      const shop = await start({ port: 0, target: system.target });
      await until(async () => {
        const served = await allOf(system.client.listActivities());
        return served.some(({ activity, workerCount }) => activity === shopActivity && workerCount > 0);
      });
      const order = `${shop.url}/orders/5`;
      assert.deepEqual(await (await fetch(order)).json(), { paid: false });
      const { url } = (await (await fetch(`${order}/payment`, { method: "POST" })).json()) as { url: string };
      const reply = await system.visit(url, { query: { status: "paid" } });
      assert.equal(reply.location, "https://shop.example/orders/5");
      assert.deepEqual(await (await fetch(order)).json(), { paid: true });
      await shop.stop();
    });

    test("leaves no worker behind if its port is taken", async () => {
      const port = Number(system.target.split(":").at(-1));
      await assert.rejects(start({ port, target: system.target }), /EADDRINUSE/);
      await until(async () => {
        const served = await allOf(system.client.listActivities());
        return served.every(({ activity, workerCount }) => activity !== shopActivity || workerCount === 0);
      });
    });
  });
}

/** What the library of a provider accepts: as verify.py, for libraries of Node. It runs where these are installed. */

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Readable } from "node:stream";

console.debug = console.error = () => {};
const require = createRequire(resolve("package.json"));

const verifiers = {
  atlassian({ secret, body, headers }) {
    const XHubSignature = require("x-hub-signature");
    return new XHubSignature("sha256", secret).verify(headers["x-hub-signature"], body);
  },
  async clerk({ secret, body, url, headers }) {
    const { verifyWebhook } = require("@clerk/backend/webhooks");
    return verifyWebhook(new Request(url, { method: "POST", headers, body }), { signingSecret: secret });
  },
  contentful({ secret, body, url, headers }) {
    const { verifyRequest } = require("@contentful/node-apps-toolkit");
    return verifyRequest(secret, { method: "POST", path: new URL(url).pathname + new URL(url).search, headers, body }, 300);
  },
  async github({ secret, body, headers }) {
    const { verify } = await import(resolve("node_modules/@octokit/webhooks-methods/dist-node/index.js"));
    return verify(secret, body, headers["x-hub-signature-256"]);
  },
  linear({ secret, body, headers }) {
    const { LinearWebhookClient } = require("@linear/sdk/webhooks");
    const time = JSON.parse(body).webhookTimestamp;
    return new LinearWebhookClient(secret).verify(Buffer.from(body), headers["linear-signature"], time);
  },
  async mux({ secret, body, headers }) {
    const { Mux } = require("@mux/mux-node");
    await new Mux({ tokenId: "i", tokenSecret: "s" }).webhooks.verifySignature(body, headers, secret);
    return true;
  },
  sanity({ secret, body, headers }) {
    return require("@sanity/webhook").isValidSignature(body, headers["sanity-webhook-signature"], secret);
  },
  async shopify({ secret, body, url, headers }) {
    require("@shopify/shopify-api/adapters/node");
    const { shopifyApi, ApiVersion } = require("@shopify/shopify-api");
    const app = { apiKey: "k", apiSecretKey: secret, hostName: "box.example", isEmbeddedApp: false };
    const shopify = shopifyApi({ ...app, apiVersion: Object.values(ApiVersion)[0], logger: { log: () => {} } });
    const others = { "x-shopify-topic": "orders/create", "x-shopify-api-version": "2026-01", "x-shopify-shop-domain": "a.b" };
    const rawRequest = { method: "POST", url, headers: { ...others, ...headers } };
    return (await shopify.webhooks.validate({ rawBody: body, rawRequest })).valid;
  },
  async twitch({ secret, body, headers }) {
    const { EventSubMiddleware } = require("@twurple/eventsub-http");
    const config = { apiClient: {}, hostName: "box.example", strictHostCheck: false, logger: { minLevel: "critical" } };
    const [listener, handlers, events] = [new EventSubMiddleware({ ...config, secret }), new Map(), []];
    listener.apply({ post: (path, handler) => handlers.set(path, handler), get: () => {} });
    const { id } = listener.onStreamOnline("1337", (event) => events.push(event));
    const request = Object.assign(Readable.from([Buffer.from(body)]), { params: { id }, headers });
    const response = { setHeader: () => {}, writeHead: () => {}, end: () => {} };
    await handlers.get("event/:id")(request, response, () => {});
    return events.length === 1;
  },
  webflow({ secret, body, headers }) {
    const { WebflowClient } = require("webflow-api");
    return new WebflowClient({ accessToken: "t" }).webhooks.verifySignature({ headers, body, secret });
  },
  x({ secret, body, headers }) {
    return require("twitter-autohook").validateSignature(headers, { consumer_secret: secret }, body);
  },
  async zoom({ secret, body, headers }) {
    const { AwsLambdaReceiver } = require("@zoom/rivet/users");
    const receiver = new AwsLambdaReceiver({ webhooksSecretToken: secret });
    return (await receiver.start()({ body, headers, isBase64Encoded: false }, {})).statusCode === 200;
  },
};

async function accepted(sent) {
  try {
    const said = await verifiers[process.argv[2]](sent);
    return said !== false && said !== undefined;
  } catch (error) {
    if (process.argv.includes("--raise")) throw error;
    return false;
  }
}

const found = [];
for (const sent of JSON.parse(readFileSync(0, "utf8"))) found.push(await accepted(sent));
console.log(JSON.stringify(found));
process.exit(); // the library for Twitch remembers ids for ten minutes, with a timer

// What accepting.py is, with the client for Node: `accepting.mjs push ACTIVITY PORT`, `accepting.mjs pull ACTIVITY SERVER TOKEN_FILE`.

import { Handlers, HandlerServer, Worker } from "@callback/client";

const [how, activity, address, tokenFile] = process.argv.slice(2);
const handlers = new Handlers().activity(activity, () => {});

if (how === "push") {
  await new HandlerServer(handlers, `127.0.0.1:${address}`).run();
} else {
  await new Worker(handlers, { target: address, tokenFile }).run();
}

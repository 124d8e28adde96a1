/** All tests, in one process: they share one system. */

import { after } from "node:test";
import { pushServer, system } from "./system.js";
import "./client.test.js";
import "./contract.test.js";
import "./examples.test.js";
import "./handler-requests.test.js";
import "./options.test.js";
import "./package.test.js";
import "./requests.test.js";
import "./secrets.test.js";
import "./tls.test.js";
import "./vectors.test.js";
import "./worker.test.js";

after(async () => {
  await system.stop();
  await pushServer.stop();
});

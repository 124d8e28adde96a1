// A handler that accepts: `handler.mjs PORT` listens for Restate's server.

import * as restate from "@restatedev/restate-sdk";

// The SDK needs this, which Node.js has since version 22.
Promise.withResolvers ??= function () {
  const made = {};
  made.promise = new this((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

const accepting = restate.service({ name: "accepting", handlers: { accept: async () => "thank you" } });

restate.serve({ services: [accepting], port: Number(process.argv[2]) });

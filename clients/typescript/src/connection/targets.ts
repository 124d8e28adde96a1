/**
 * Checks of gRPC targets: whether a target names an address and a port, and whether it is on this machine.
 *
 * A target must name its port because gRPC would silently use port 443. A token in plain text must not leave this
 * machine.
 */

import { BlockList, isIP } from "node:net";

/** The address at which `callback up` listens. */
export const DEFAULT_TARGET = "127.0.0.1:50051";

const HOST = String.raw`(?:[^\s,:/\[\]]+|\[[0-9a-fA-F:.]+(?:%\w+)?\])`;
const HOST_PORT = new RegExp(`^${HOST}:([0-9]{1,5})$`);
const ONLY_HOST = new RegExp(`^${HOST}$`);
const WITHOUT_PORT = /^(?:unix|xds):\/{0,3}[^\s/].*$/;
const ADDRESS = /^(?:\[([^\]]+)\](?::\w+)?|([^:]+)(?::\w+)?)$/;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

/** Check that a target is valid. @throws TypeError: It is not. The message says what is wrong with it. */
export function checkTarget(target: string): void {
  const problem = targetProblem(target);
  if (problem !== undefined) {
    throw new TypeError(`the target ${JSON.stringify(target)} ${problem}`);
  }
}

/** Return whether a target is a Unix socket, or has only loopback addresses. Only `localhost` is a local name. */
export function isLocal(target: string): boolean {
  return target.startsWith("unix:") || partsOf(target).addresses.split(",").every(isLoopback);
}

function targetProblem(target: string): string | undefined {
  if (/^https?:\/\//i.test(target)) {
    return "is a URL. Use HOST:PORT without a scheme, such as 127.0.0.1:50051";
  }
  if (WITHOUT_PORT.test(target)) {
    return undefined;
  }
  const { scheme, addresses } = partsOf(target);
  const parts = scheme === "ipv4" || scheme === "ipv6" ? addresses.split(",") : [addresses];
  const ports = parts.map((part) => Number(HOST_PORT.exec(part)?.[1]));
  if (ports.every((port) => port > 0 && port <= 65_535)) {
    return undefined;
  }
  if (parts.some((part) => ONLY_HOST.test(part))) {
    return "has no port. Use HOST:PORT, such as 127.0.0.1:50051";
  }
  return "is not valid. Use HOST:PORT or a gRPC target such as dns:///callback:50051 or unix:/run/callback.sock";
}

/** Return the scheme of a target, empty if it has none, and its address or addresses. */
function partsOf(target: string): { scheme: string; addresses: string } {
  const [, scheme = "", rest = target] = /^(dns|ipv4|ipv6):(.*)$/.exec(target) ?? [];
  // In dns://SERVER/HOST:PORT the DNS server comes first.
  return { scheme, addresses: rest.startsWith("//") ? rest.slice(2).replace(/^[^/]*\/?/, "") : rest };
}

function isLoopback(address: string): boolean {
  const [, inBrackets, plain] = ADDRESS.exec(address) ?? [];
  const host = inBrackets ?? plain ?? address;
  const family = isIP(host);
  return host === "localhost" || (family !== 0 && LOOPBACK.check(host, family === 4 ? "ipv4" : "ipv6"));
}

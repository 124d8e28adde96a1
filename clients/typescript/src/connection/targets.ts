/**
 * Targets of gRPC: whether one names an address and a port, whether it is on this machine, and several servers in one.
 *
 * A target must name its port because gRPC would silently use port 443. A token in plain text must not leave this
 * machine.
 */

import { BlockList, isIP } from "node:net";
import { MASK } from "../concealing.js";

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

/** A server of a target. */
export interface Host {
  /** The host with its port. */
  readonly server: string;
  /** A name, or an IP address. */
  readonly host: string;
  readonly port: string;
}

/**
 * Check that a target is valid.
 *
 * @param tls The TLS of the connection: with several servers, it needs the name in the certificates of all.
 * @throws TypeError: It is not valid. The message says what is wrong with it.
 */
export function checkTarget(target: string, tls: { readonly serverName?: string | undefined } | undefined): void {
  const shown = JSON.stringify(target.replace(/^.*@/s, `${MASK}@`)); // a URL can have a password before the @
  const problem = targetProblem(target);
  if (problem !== undefined) {
    throw new TypeError(`the target ${shown} ${problem}`);
  }
  if (tls !== undefined && tls.serverName === undefined && hasSeveral(target)) {
    throw new TypeError(`the target ${shown} has several servers, so tls needs the serverName of all`);
  }
}

/**
 * Return the hosts of a valid target with their ports, in order. Empty: gRPC finds the server in a way of its own.
 *
 * That is a Unix socket, addresses (`ipv4:`), or a name with the DNS server to ask (`dns://SERVER/HOST:PORT`).
 */
export function hostsOf(target: string): readonly Host[] {
  const { scheme, addresses } = partsOf(target);
  if (WITHOUT_PORT.test(target) || scheme === "ipv4" || scheme === "ipv6" || /^dns:\/\/[^/]/.test(target)) {
    return [];
  }
  return addresses.split(",").map((server) => {
    const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(server) ?? [];
    return { server, host: host.replace(/^\[|\]$/g, ""), port };
  });
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
  const parts = scheme === "dns" ? [addresses] : addresses.split(",");
  const ports = parts.map((part) => Number(HOST_PORT.exec(part)?.[1]));
  if (ports.every((port) => port > 0 && port <= 65_535)) {
    return undefined;
  }
  if (parts.some((part) => ONLY_HOST.test(part))) {
    return "has no port. Use HOST:PORT, such as 127.0.0.1:50051";
  }
  return "is not valid. Use HOST:PORT or a gRPC target such as dns:///callback:50051 or unix:/run/callback.sock";
}

/** Return whether a target lists several servers, separated by commas. */
function hasSeveral(target: string): boolean {
  return !WITHOUT_PORT.test(target) && partsOf(target).addresses.includes(",");
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

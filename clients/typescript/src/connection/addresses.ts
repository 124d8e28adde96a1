/**
 * Addresses of the servers of a target. They are looked up again and again while the target is in use.
 *
 * gRPC knows no list of names. It looks a single name up again only when a connection is lost, so it would never use a
 * server that joins, nor leave an address that the name no longer has.
 */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { ChannelOptions } from "@grpc/grpc-js";
import { type Host, hostsOf } from "./targets.js";

/** The longest interval between two look-ups. The real one is random, from 80 % of it. */
const INTERVAL_MS = 5000;
/** The shortest interval between two look-ups because of failures. */
const FAILURE_INTERVAL_MS = 1000;

/** Any address of a name is as good as another one. A list has an order. */
const SHUFFLE = JSON.stringify({ loadBalancingConfig: [{ pick_first: { shuffleAddressList: true } }] });

/**
 * The addresses of a valid target, as a target of gRPC.
 *
 * A name that does not exist is left out. While the resolver fails, the last addresses stay. If none is known, gRPC is
 * left to look up the first name, and to say why that fails.
 */
export class Addresses {
  /** The target as of the last look-up. */
  target: string;
  /** The name that the certificate of the server must have. Undefined: gRPC takes it from the target. */
  readonly serverName: string | undefined;
  /** The channel options that belong to the target. */
  readonly options: ChannelOptions;
  readonly #hosts: readonly Host[];
  #used = "";
  #places = new Map<string, readonly string[]>();
  #search: Promise<void> | undefined;
  #hasLooked = false;
  #startedAt = Number.NEGATIVE_INFINITY;
  #dueAt = 0;

  constructor(target: string) {
    const hosts = hostsOf(target);
    const [first] = hosts;
    const isOne = first !== undefined && hosts.length === 1;
    this.#hosts = isOne && isIP(first.host) !== 0 ? [] : hosts;
    this.target = hosts.length > 1 ? `dns:///${first?.server}` : target;
    const isName = isOne && this.#hosts.length === 1;
    this.serverName = isName ? first.host : undefined;
    this.options = isName ? { "grpc.default_authority": first.server, "grpc.service_config": SHUFFLE } : {};
  }

  /** Return the target as of the last look-up, and start the next one if it is due. Only the first one is waited for. */
  async current(): Promise<string> {
    this.#lookUpIfDue();
    if (!this.#hasLooked) {
      await this.#search;
    }
    return this.target;
  }

  /** Look up the names now, or as soon as they may be, because no server was reachable. */
  failed(): void {
    this.#dueAt = Math.min(this.#dueAt, this.#startedAt + FAILURE_INTERVAL_MS);
    this.#lookUpIfDue();
  }

  #lookUpIfDue(): void {
    if (this.#hosts.length > 0 && this.#search === undefined && performance.now() >= this.#dueAt) {
      this.#startedAt = performance.now();
      this.#dueAt = this.#startedAt + INTERVAL_MS * (0.8 + Math.random() / 5);
      this.#search = this.#lookUp();
    }
  }

  async #lookUp(): Promise<void> {
    const found = await Promise.all(this.#hosts.map(async (each) => [each.server, await this.#find(each)] as const));
    this.#places = new Map(found);
    const list = [...new Set(found.flatMap(([, places]) => places))];
    const used = list.toSorted().join();
    if (list.length > 0 && used !== this.#used) {
      this.#used = used;
      this.target = targetOf(list);
    }
    this.#hasLooked = true;
    this.#search = undefined;
  }

  /** Return the addresses of a server with its port. */
  async #find({ server, host, port }: Host): Promise<readonly string[]> {
    try {
      const places = await lookup(host, { all: true });
      return places.map(({ address, family }) => (family === 6 ? `[${address}]:${port}` : `${address}:${port}`));
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "ENOTFOUND" ? [] : (this.#places.get(server) ?? []);
    }
  }
}

/** Return the target with these addresses, in their order. */
function targetOf(list: readonly string[]): string {
  if (!list.some((each) => each.startsWith("["))) {
    return `ipv4:${list.join()}`;
  }
  // A list has addresses of one kind. An IPv6 socket reaches IPv4 by mapped addresses (RFC 4291, 2.5.5.2).
  return `ipv6:${list.map((each) => (each.startsWith("[") ? each : each.replace(/^(.*):/, "[::ffff:$1]:"))).join()}`;
}

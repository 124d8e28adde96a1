/** gRPC channels: their options, with the reason for each, and requests over them. */

import { type DescMessage, type DescMethod, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { type ChannelOptions, Client, credentials } from "@grpc/grpc-js";
import type { Addresses } from "./addresses.js";
import type { PemFiles } from "./tls.js";

/** The largest message accepted, in bytes; the server has the same limit. A full page of a list exceeds gRPC's 4 MiB. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** The options of every client channel. */
export const CHANNEL_OPTIONS: ChannelOptions = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  // Pings detect a dead peer while a call waits, well within the default deadline, and the next call opens a new
  // connection.
  "grpc.keepalive_time_ms": 5_000,
  "grpc.keepalive_timeout_ms": 3_000,
  // Reconnect to a restarted server within two seconds; gRPC would wait up to two minutes.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 2_000,
  // Connections to an internal service do not use the web proxy that the environment may name.
  "grpc.enable_http_proxy": 0,
};

/** The options of a handler server. */
export const SERVER_OPTIONS: ChannelOptions = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
};

/** Return a new channel to the addresses of now, which connects with its first request. */
export function openChannel(
  { target, serverName, options: own }: Addresses,
  tls: { readonly files: PemFiles; readonly serverName: string | undefined } | undefined,
  options: ChannelOptions,
): Client {
  if (tls === undefined) {
    return new Client(target, credentials.createInsecure(), { ...options, ...own });
  }
  const { ca = null, key = null, cert = null } = tls.files.contents;
  const name = tls.serverName ?? serverName;
  const override = name === undefined ? {} : { "grpc.ssl_target_name_override": name };
  return new Client(target, credentials.createSsl(ca, key, cert), { ...options, ...own, ...override });
}

/** Return the path of a method. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Return the function that writes a message. */
export function writerOf<Desc extends DescMessage>(schema: Desc): (message: MessageShape<Desc>) => Buffer {
  return (message) => bufferOf(toBinary(schema, message));
}

/** Return the function that reads a message. */
export function readerOf<Desc extends DescMessage>(schema: Desc): (bytes: Uint8Array) => MessageShape<Desc> {
  return (bytes) => fromBinary(schema, bytes);
}

/** Return a view of bytes as a `Buffer`, which gRPC takes. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * The generated messages and services of the contract, for programs that need gRPC itself: those of this package, so that
 * a program has one copy. They can be used with `@bufbuild/protobuf` and `@connectrpc/connect`.
 */

export * from "./gen/callback/v1/audit_service_pb.js";
export * from "./gen/callback/v1/callback_handler_service_pb.js";
export * from "./gen/callback/v1/callback_pb.js";
export * from "./gen/callback/v1/callbacks_service_pb.js";
export * from "./gen/callback/v1/operations_service_pb.js";
export * from "./gen/callback/v1/profiles_service_pb.js";
export * from "./gen/callback/v1/worker_service_pb.js";

export type { CallOptions, StreamOptions } from "./call-options.ts";
export { Client, ClientStream } from "./client.ts";
export type { Metadata } from "./codec.ts";
export { Code, ConnectionClosedError, codeName, type ErrorDetail, TtrpcError } from "./errors.ts";
export { MAX_PAYLOAD } from "./frame.ts";
export type { CallContext, Method, StreamMethod, UnaryHandler } from "./method.ts";
export { Server, type ServerOptions } from "./server.ts";
export type { MessageStream } from "./stream.ts";

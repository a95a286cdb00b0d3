import type { Answer, DuplexHandler, StreamHandler, UnaryHandler } from "./call.ts";

/**
 * How much a call says in the log: "change" alters something and is told at level info, "read" is asked all the time and is told
 * at level debug. Failures are told at their own level.
 */
export type Weight = "change" | "read";

interface Codec<Request, Response> {
  readonly weight: Weight;
  decode(bytes: Buffer): Request;
  encode(answer: Answer<Response>): Buffer;
}

export interface UnaryMethod<Request, Response> extends Codec<Request, Response> {
  readonly kind: "unary";
}

export interface StreamMethod<Request, Response> extends Codec<Request, Response> {
  readonly kind: "stream";
}

export interface DuplexMethod<Request, Response> extends Codec<Request, Response> {
  readonly kind: "duplex";
}

/** A method of whatever messages. */
export type AnyMethod = UnaryMethod<unknown, unknown> | StreamMethod<unknown, unknown> | DuplexMethod<unknown, unknown>;

interface Decodes<Message> {
  decode(bytes: Uint8Array): Message;
}

interface Encodes<Message> {
  encode(message: Message): { finish(): Buffer };
}

function codec<Request, Response>(weight: Weight, request: Decodes<Request>, response: Encodes<Response>): Codec<Request, Response> {
  return {
    weight,
    decode: (bytes) => request.decode(bytes),
    encode: (answer) => (Buffer.isBuffer(answer) ? answer : response.encode(answer).finish()),
  };
}

/** Asks something. */
export function read<Request, Response>(request: Decodes<Request>, response: Encodes<Response>): UnaryMethod<Request, Response> {
  return { kind: "unary", ...codec("read", request, response) };
}

/** Alters something. */
export function change<Request, Response>(request: Decodes<Request>, response: Encodes<Response>): UnaryMethod<Request, Response> {
  return { kind: "unary", ...codec("change", request, response) };
}

/** Answers one request with many messages. */
export function stream<Request, Response>(
  request: Decodes<Request>,
  response: Encodes<Response>,
  weight: Weight = "read",
): StreamMethod<Request, Response> {
  return { kind: "stream", ...codec(weight, request, response) };
}

/** Takes many messages and answers many, at the same time; alters something. */
export function duplex<Request, Response>(request: Decodes<Request>, response: Encodes<Response>): DuplexMethod<Request, Response> {
  return { kind: "duplex", ...codec("change", request, response) };
}

/** A handler for each method of a table. */
export type HandlersOf<Methods> = {
  readonly [Name in keyof Methods]: Methods[Name] extends UnaryMethod<infer Request, infer Response>
    ? UnaryHandler<Request, Response>
    : Methods[Name] extends StreamMethod<infer Request, infer Response>
      ? StreamHandler<Request, Response>
      : Methods[Name] extends DuplexMethod<infer Request, infer Response>
        ? DuplexHandler<Request, Response>
        : never;
};

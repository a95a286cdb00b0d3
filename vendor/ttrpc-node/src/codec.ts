import { Code, type ErrorDetail, TtrpcError } from "./errors.ts";

/** Metadata of a call: lower-case keys, each with one or more values. */
export type Metadata = ReadonlyMap<string, readonly string[]>;

/** ttrpc.Request: service 1, method 2, payload 3, timeout_nano 4, metadata 5 (repeated KeyValue{key 1, value 2}). */
export interface Request {
  service: string;
  method: string;
  /** Absent is not the same as empty: a stream's request without a payload carries no first message. */
  payload?: Uint8Array;
  /** 0n: no limit. */
  timeoutNano: bigint;
  metadata: Metadata;
}

/** google.rpc.Status: code 1, message 2, details 3 (repeated Any{type_url 1, value 2}). */
export interface Status {
  code: number;
  message: string;
  details: readonly ErrorDetail[];
}

/** ttrpc.Response: status 1, payload 2. No status means OK. */
export interface Response {
  status?: Status;
  payload: Uint8Array;
}

export function encodeRequest(request: Request): Uint8Array {
  const parts: Uint8Array[] = [];
  putText(parts, 1, request.service);
  putText(parts, 2, request.method);
  if (request.payload !== undefined) putBytes(parts, 3, request.payload);
  if (request.timeoutNano !== 0n) putVarint(parts, 4, request.timeoutNano);
  for (const [key, values] of request.metadata) {
    for (const value of values) {
      const pair: Uint8Array[] = [];
      putText(pair, 1, key);
      putText(pair, 2, value);
      putBytes(parts, 5, Buffer.concat(pair));
    }
  }
  return Buffer.concat(parts);
}

/** @throws TtrpcError INVALID_ARGUMENT when the bytes are no Request. */
export function decodeRequest(bytes: Uint8Array): Request {
  const metadata = new Map<string, string[]>();
  const request: Request = { service: "", method: "", timeoutNano: 0n, metadata };
  for (const field of fields(bytes)) {
    if (field.number === 1) request.service = text(field);
    else if (field.number === 2) request.method = text(field);
    else if (field.number === 3) request.payload = field.bytes;
    else if (field.number === 4) request.timeoutNano = BigInt.asIntN(64, field.varint);
    else if (field.number === 5) {
      const [key, value] = pairOf(field.bytes);
      const values = metadata.get(key.toLowerCase());
      if (values === undefined) metadata.set(key.toLowerCase(), [value]);
      else values.push(value);
    }
  }
  return request;
}

export function encodeResponse(response: Response): Uint8Array {
  const parts: Uint8Array[] = [];
  if (response.status !== undefined) {
    const status: Uint8Array[] = [];
    if (response.status.code !== 0) putVarint(status, 1, BigInt(response.status.code));
    putText(status, 2, response.status.message);
    for (const detail of response.status.details) {
      const any: Uint8Array[] = [];
      putText(any, 1, detail.typeUrl);
      if (detail.value.length > 0) putBytes(any, 2, detail.value);
      putBytes(status, 3, Buffer.concat(any));
    }
    putBytes(parts, 1, Buffer.concat(status));
  }
  if (response.payload.length > 0) putBytes(parts, 2, response.payload);
  return Buffer.concat(parts);
}

/** @throws TtrpcError INVALID_ARGUMENT when the bytes are no Response. */
export function decodeResponse(bytes: Uint8Array): Response {
  const response: Response = { payload: new Uint8Array(0) };
  for (const field of fields(bytes)) {
    if (field.number === 1) response.status = decodeStatus(field.bytes);
    else if (field.number === 2) response.payload = field.bytes;
  }
  return response;
}

function decodeStatus(bytes: Uint8Array): Status {
  const details: ErrorDetail[] = [];
  const status: Status = { code: 0, message: "", details };
  for (const field of fields(bytes)) {
    if (field.number === 1) status.code = Number(BigInt.asIntN(32, field.varint));
    else if (field.number === 2) status.message = text(field);
    else if (field.number === 3) {
      const detail: ErrorDetail = { typeUrl: "", value: new Uint8Array(0) };
      for (const inner of fields(field.bytes)) {
        if (inner.number === 1) detail.typeUrl = text(inner);
        else if (inner.number === 2) detail.value = inner.bytes;
      }
      details.push(detail);
    }
  }
  return status;
}

function pairOf(bytes: Uint8Array): [string, string] {
  let key = "";
  let value = "";
  for (const field of fields(bytes)) {
    if (field.number === 1) key = text(field);
    else if (field.number === 2) value = text(field);
  }
  return [key, value];
}

// The protobuf wire format (protobuf.dev/programming-guides/encoding), as far as the three messages need it.

interface Field {
  number: number;
  /** The value of a varint field; 0n for the other wire types. */
  varint: bigint;
  /** The value of a length-delimited field; empty for the other wire types. */
  bytes: Uint8Array;
}

const none = new Uint8Array(0);

function* fields(bytes: Uint8Array): Generator<Field> {
  let at = 0;
  while (at < bytes.length) {
    const key = takeVarint(bytes, at);
    at = key.next;
    const number = Number(key.value >> 3n);
    if (number === 0) throw malformed("field number 0");
    switch (Number(key.value & 7n)) {
      case 0: {
        const { value, next } = takeVarint(bytes, at);
        at = next;
        yield { number, varint: value, bytes: none };
        break;
      }
      case 1:
        at += 8;
        break;
      case 2: {
        const { value, next } = takeVarint(bytes, at);
        if (value > BigInt(bytes.length - next)) throw malformed(`field ${number} is longer than the message`);
        at = next + Number(value);
        yield { number, varint: 0n, bytes: bytes.subarray(next, at) };
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        throw malformed(`field ${number} has an unknown wire type`);
    }
    if (at > bytes.length) throw malformed(`field ${number} is longer than the message`);
  }
}

function takeVarint(bytes: Uint8Array, from: number): { value: bigint; next: number } {
  let value = 0n;
  for (let at = from, shift = 0n; shift < 70n; at++, shift += 7n) {
    const byte = bytes[at];
    if (byte === undefined) throw malformed("a varint is cut off");
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return { value: BigInt.asUintN(64, value), next: at + 1 };
  }
  throw malformed("a varint has more than ten bytes");
}

function varintBytes(value: bigint): Uint8Array {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 0x7fn; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  out.push(Number(rest));
  return Uint8Array.from(out);
}

function putVarint(parts: Uint8Array[], number: number, value: bigint): void {
  parts.push(varintBytes(BigInt(number << 3)), varintBytes(value));
}

function putBytes(parts: Uint8Array[], number: number, value: Uint8Array): void {
  parts.push(varintBytes(BigInt((number << 3) | 2)), varintBytes(BigInt(value.length)), value);
}

function putText(parts: Uint8Array[], number: number, value: string): void {
  if (value !== "") putBytes(parts, number, Buffer.from(value));
}

function text(field: Field): string {
  return Buffer.from(field.bytes.buffer, field.bytes.byteOffset, field.bytes.byteLength).toString();
}

function malformed(why: string): TtrpcError {
  return new TtrpcError(Code.INVALID_ARGUMENT, `malformed ttrpc message: ${why}`);
}

import protobuf from "protobufjs/minimal.js";

/**
 * The protobufjs runtime that generated code imports, with one difference: int64 and uint64 fields are `bigint` in both
 * directions. Plain protobufjs gives `Long` objects when it reads, and when it writes a bigint it sends 0 and says nothing;
 * here anything but a bigint in range throws. CRI times are nanoseconds since 1970, past what a number holds.
 */
const { Reader: BaseReader, BufferReader, BufferWriter, util, roots } = protobuf;

const scratch = new BigInt64Array(1);
const unsignedScratch = new BigUint64Array(scratch.buffer);
const halves = new Int32Array(scratch.buffer);

type Halves = { low: number; high: number; unsigned: boolean };

/** The two 32-bit halves that protobufjs works with. */
function toHalves(value: unknown, unsigned: boolean): Halves {
  if (typeof value !== "bigint") throw new TypeError(`a 64-bit protobuf field must be a bigint, not ${typeof value} (${String(value)})`);
  scratch[0] = value;
  const kept = unsigned ? unsignedScratch[0] : scratch[0];
  if (kept !== value) throw new RangeError(`${value} does not fit into ${unsigned ? "a uint64" : "an int64"} protobuf field`);
  return { low: halves[0] ?? 0, high: halves[1] ?? 0, unsigned };
}

function fromHalves(value: Halves, unsigned: boolean): bigint {
  halves[0] = value.low;
  halves[1] = value.high;
  return (unsigned ? unsignedScratch[0] : scratch[0]) ?? 0n;
}

// protobufjs types 64-bit values as Long; the overrides below replace exactly those, hence their casts.
class Reader extends BufferReader {
  static override readonly recursionLimit = BaseReader.recursionLimit;

  static override create(bytes: Uint8Array): Reader {
    return new Reader(Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }

  override int64(): never {
    return fromHalves(super.int64() as unknown as Halves, false) as never;
  }

  override uint64(): never {
    return fromHalves(super.uint64() as unknown as Halves, true) as never;
  }
}

class Writer extends BufferWriter {
  static override create(): Writer {
    return new Writer();
  }

  override int64(value: unknown): this {
    super.int64(toHalves(value, false) as never);
    return this;
  }

  override uint64(value: unknown): this {
    super.uint64(toHalves(value, true) as never);
    return this;
  }

  override int64s(values: readonly unknown[]): this {
    super.int64s(values.map((value) => toHalves(value, false)) as never);
    return this;
  }

  override uint64s(values: readonly unknown[]): this {
    super.uint64s(values.map((value) => toHalves(value, true)) as never);
    return this;
  }
}

export default { Reader, Writer, util, roots };

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import protobuf from "protobufjs/minimal.js";
import { containerd, google } from "./shim/task.js";
import wire from "./wire.ts";

test("int64 crosses as bigint over its whole range, bit for bit as protobufjs writes it", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (seconds) => {
      const bytes = google.protobuf.Timestamp.encode({ seconds, nanos: 7 }).finish();
      const back = google.protobuf.Timestamp.decode(bytes);
      assert.equal(back.seconds, seconds);
      assert.equal(back.nanos, 7);
      const oracle = protobuf.Writer.create()
        .uint32(8)
        .int64(seconds.toString() as never)
        .uint32(16)
        .int32(7)
        .finish();
      if (seconds !== 0n) assert.deepEqual(bytes, Buffer.from(oracle));
    }),
  );
});

test("uint64 and packed lists keep their range", () => {
  const values = [0n, 1n, 2n ** 63n, 2n ** 64n - 1n];
  const bytes = new wire.Writer().uint64s(values).finish();
  assert.deepEqual(wire.Reader.create(bytes).uint64s(), values);
});

test("what is not a 64-bit bigint throws instead of becoming 0", () => {
  const encode = (seconds: unknown): unknown => google.protobuf.Timestamp.encode({ seconds: seconds as bigint }).finish();
  assert.throws(() => encode(5), /must be a bigint, not number/);
  assert.throws(() => encode("5"), /must be a bigint, not string/);
  assert.throws(() => encode({ low: 5, high: 0 }), /must be a bigint, not object/);
  assert.throws(() => encode(2n ** 63n), /does not fit into an int64/);
  assert.throws(() => wire.Writer.create().uint64(-1n), /does not fit into a uint64/);
});

test("an absent 64-bit field reads as 0n, and a zero is not sent", () => {
  assert.equal(google.protobuf.Timestamp.decode(new Uint8Array()).seconds, 0n);
  assert.equal(google.protobuf.Timestamp.encode({ seconds: 0n }).finish().length, 0);
});

test("reads plain Uint8Arrays and refuses endless nesting", () => {
  const bytes = new Uint8Array(containerd.types.Mount.encode({ type: "overlay", options: ["a", "b"] }).finish());
  assert.deepEqual({ ...containerd.types.Mount.decode(bytes) }, { type: "overlay", options: ["a", "b"] });
  assert.equal(typeof wire.Reader.recursionLimit, "number");
});

test("negative enum values survive", () => {
  const { BootstrapParams, LogLevel } = containerd.runtime.bootstrap.v1;
  const bytes = BootstrapParams.encode({ instanceId: "x", logLevel: LogLevel.LOG_LEVEL_DEBUG }).finish();
  assert.equal(BootstrapParams.decode(bytes).logLevel, -4);
});

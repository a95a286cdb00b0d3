import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CriFormatter, type RecordSink } from "./cri-format.ts";
import { RecordClock } from "./record-clock.ts";

class MemorySink implements RecordSink {
  buffer = Buffer.alloc(16);
  position = 0;

  makeRoom(bytes: number): void {
    if (this.buffer.length - this.position >= bytes) return;
    this.buffer = Buffer.concat([this.buffer], this.position + bytes);
  }

  get text(): string {
    return this.buffer.toString("latin1", 0, this.position);
  }
}

function format(chunks: Uint8Array[], options: { maxLineSize: number; tty?: boolean }): string {
  const sink = new MemorySink();
  const clock = new RecordClock(() => ({ seconds: 1_763_942_400, nanos: 999_999_990 }));
  const formatter = new CriFormatter({ stream: "stdout", tty: options.tty ?? false, maxLineSize: options.maxLineSize, clock, sink });
  for (const chunk of chunks) formatter.write(chunk, chunk.length);
  formatter.end();
  return sink.text;
}

function contents(text: string): string[] {
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => line.slice(31));
}

/** The reader's side, as the kubelet does it. */
function join(text: string): string {
  let all = "";
  for (const line of text.split("\n").slice(0, -1)) {
    const match = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout ([PF]) (.*)$/s.exec(line);
    assert.ok(match !== null, `not a record: ${JSON.stringify(line)}`);
    all += match[2] + (match[1] === "F" ? "\n" : "");
  }
  return all;
}

const bytes = fc.uint8Array({ maxLength: 400 }).chain((data) =>
  // Newlines and carriage returns are what matters: make them frequent.
  fc.array(fc.nat({ max: 20 }), { minLength: data.length, maxLength: data.length }).map((picks) => {
    return Buffer.from(data.map((byte, at) => ((picks[at] ?? 0) < 3 ? 10 : (picks[at] ?? 0) < 5 ? 13 : byte)));
  }),
);

function cut(data: Buffer, cuts: number[]): Buffer[] {
  const at = [0, ...cuts.map((position) => position % (data.length + 1)), data.length].sort((a, b) => a - b);
  return at.slice(1).map((end, index) => data.subarray(at[index], end));
}

test("chunks cut anywhere give the same records", () => {
  fc.assert(
    fc.property(
      bytes,
      fc.array(fc.nat(), { maxLength: 8 }),
      fc.integer({ min: 1, max: 40 }),
      fc.boolean(),
      (data, cuts, maxLineSize, tty) => {
        const whole = format([data], { maxLineSize, tty });
        const parts = format(cut(data, cuts), { maxLineSize, tty });
        assert.deepEqual(contents(parts), contents(whole));
      },
    ),
    { numRuns: 2000 },
  );
});

test("a reader who joins the records has every byte back", () => {
  fc.assert(
    fc.property(bytes, fc.array(fc.nat(), { maxLength: 8 }), fc.integer({ min: 1, max: 40 }), (data, cuts, maxLineSize) => {
      assert.equal(join(format(cut(data, cuts), { maxLineSize })), data.toString("latin1"));
    }),
    { numRuns: 2000 },
  );
});

test("no record has more than maxLineSize bytes, and only the last fragment of a line has fewer", () => {
  fc.assert(
    fc.property(bytes, fc.integer({ min: 1, max: 40 }), (data, maxLineSize) => {
      const records = contents(format([data], { maxLineSize }));
      for (const [index, record] of records.entries()) {
        const partial = record.startsWith("stdout P ");
        const content = record.slice("stdout P ".length);
        assert.ok(content.length <= maxLineSize);
        if (partial && index < records.length - 1) assert.equal(content.length, maxLineSize);
      }
    }),
  );
});

test("times of one container's records grow by a nanosecond, over the second's end as well", () => {
  const records = format([Buffer.from("a\n".repeat(20))], { maxLineSize: 16 })
    .split("\n")
    .slice(0, -1);
  const times = records.map((record) => record.slice(0, 30));
  assert.equal(times[0], "2025-11-24T00:00:00.999999990Z");
  assert.equal(times[9], "2025-11-24T00:00:00.999999999Z");
  assert.equal(times[10], "2025-11-24T00:00:01.000000000Z");
  assert.equal(times[19], "2025-11-24T00:00:01.000000009Z");
});

test("empty lines, a line of exactly the limit, and the \\r of a terminal", () => {
  assert.deepEqual(contents(format([Buffer.from("\n\n")], { maxLineSize: 4 })), ["stdout F ", "stdout F "]);
  assert.deepEqual(contents(format([Buffer.from("abcd\nabcde\n")], { maxLineSize: 4 })), ["stdout F abcd", "stdout P abcd", "stdout F e"]);
  assert.deepEqual(contents(format([Buffer.from("ab\r\n$ ")], { maxLineSize: 4, tty: true })), ["stdout F ab", "stdout P $ "]);
  assert.deepEqual(contents(format([Buffer.from("ab\r\n")], { maxLineSize: 4 })), ["stdout F ab\r"]);
});

test("the clock follows a wall clock that is set back by more than a second, and hides smaller steps", () => {
  let now = { seconds: 100, nanos: 0 };
  const clock = new RecordClock(() => now);
  const header = Buffer.from("0000-00-00T00:00:00.000000000Z stdout F ");
  const time = (): string => {
    clock.begin(header);
    const text = header.toString("latin1", 0, 30);
    clock.next(header);
    return text;
  };
  assert.equal(time(), "1970-01-01T00:01:40.000000000Z");
  now = { seconds: 99, nanos: 500_000_000 };
  assert.equal(time(), "1970-01-01T00:01:40.000000001Z");
  now = { seconds: 50, nanos: 7 };
  assert.equal(time(), "1970-01-01T00:00:50.000000007Z");
});

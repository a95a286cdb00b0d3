import assert from "node:assert/strict";
import { test } from "node:test";
import type { WriteStream } from "node:tty";
import type { crid } from "../../api/crid/admin/v1/admin.js";
import { bytesText, json, table } from "./output.ts";
import { progressView } from "./progress-view.ts";
import { PullsView } from "./pulls-view.ts";

type Blob = InstanceType<typeof crid.admin.v1.Blob>;

function screen(isTTY: boolean, rows = 24): { stream: WriteStream; text: () => string } {
  let written = "";
  const write = (text: string): boolean => {
    written += text;
    return true;
  };
  return { stream: { isTTY, rows, columns: 80, write } as unknown as WriteStream, text: () => written };
}

const blob = (digit: string, state: string, bytes: bigint, size = 1000n): Blob => ({
  digest: `sha256:${digit.repeat(64)}`,
  state,
  bytes,
  size,
});
const pull = (...blobs: Blob[]) => ({ ref: "a:1", startedAtMs: 0n, blobs });

test("in a pipe: a line for each change, none twice, no control characters", () => {
  const { stream, text } = screen(false);
  const view = progressView(stream, { quiet: false });
  view.show("a: pulling", pull(blob("a", "waiting", 0n), blob("b", "downloading", 1n)));
  view.show("a: pulling", pull(blob("a", "waiting", 0n), blob("b", "downloading", 900n)));
  view.show("a: pulling", pull(blob("a", "done", 1000n), blob("b", "done", 1000n)));
  view.end();
  assert.deepEqual(text().split("\n"), [
    "a: pulling",
    "layer bbbbbbbbbbbb: downloading (1000 B)",
    "layer aaaaaaaaaaaa: done (1000 B)",
    "layer bbbbbbbbbbbb: done (1000 B)",
    "",
  ]);
});

test("on a terminal: a bar a layer, drawn over the last picture, and never higher than the screen", () => {
  const { stream, text } = screen(true);
  const view = progressView(stream, { quiet: false });
  view.show("a: pulling", pull(blob("a", "downloading", 500n)));
  assert.match(text(), /aaaaaaaaaaaa: downloading \[={15}> {14}\] 500 B \/ 1000 B\n/);
  assert.match(text(), /elapsed: 0\.\d s {3}total: 500 B/);
  view.show("a: pulling", pull(blob("a", "done", 1000n)));
  assert.ok(text().includes("\u001b[3A"), "the three lines are drawn over");
  assert.match(text(), /aaaaaaaaaaaa: done +\[={30}\] 1000 B\n/);
  view.end();

  const small = screen(true, 6);
  progressView(small.stream, { quiet: false }).show("many", pull(...[..."0123456789"].map((digit) => blob(digit, "waiting", 0n))));
  assert.equal(small.text().split("\n").length - 1, 5);
  assert.match(small.text(), /\.\.\. and 8 more/);
});

test("all pulls: a line for each change of one, and its end, in a pipe; bars in place on a terminal", () => {
  const { stream, text } = screen(false);
  const view = new PullsView(stream);
  const other = { ref: "b:2", startedAtMs: 5n, blobs: [] };
  for (const pulls of [
    [],
    [other],
    [other, pull(blob("a", "downloading", 1n))],
    [other, pull(blob("a", "done", 1000n), blob("b", "waiting", 0n))],
    [other],
    [],
  ])
    view.show(pulls);
  // The same image again is another pull.
  view.show([{ ...other, startedAtMs: 6n }]);
  assert.deepEqual(text().split("\n"), [
    "b:2: resolving",
    "a:1: aaaaaaaaaaaa: downloading (1000 B)",
    "a:1: aaaaaaaaaaaa: done (1000 B)",
    "a:1: over",
    "b:2: over",
    "b:2: resolving",
    "",
  ]);

  const terminal = screen(true);
  const bars = new PullsView(terminal.stream);
  bars.show([other, { ...pull(blob("a", "downloading", 500n)), startedAtMs: BigInt(Date.now()) }]);
  assert.match(terminal.text(), /b:2: resolving\n.*a:1: 500 B in 0 s\n.* {2}aaaaaaaaaaaa: downloading \[={15}> {14}\] 500 B \/ 1000 B\n/);
  bars.show([]);
  assert.ok(terminal.text().endsWith("\u001b[3A\u001b[2Kno pull under way\n\u001b[0J"));
});

test("quiet: nothing", () => {
  const { stream, text } = screen(true);
  progressView(stream, { quiet: true }).show("a", undefined);
  assert.equal(text(), "");
});

test("tables, sizes, JSON", () => {
  assert.equal(
    table(
      ["A", "B"],
      [
        ["long", ""],
        ["x", "y"],
      ],
    ),
    "A      B\nlong\nx      y\n",
  );
  assert.deepEqual([0, 1023, 1024, 1536n, 5 * 1024 ** 3, 3 * 1024 ** 4].map(bytesText), [
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.5 KiB",
    "5.0 GiB",
    "3.0 TiB",
  ]);
  class Message {
    declare count: bigint;
    declare list: string[];
    declare unset: string | null;
  }
  Object.assign(Message.prototype, { count: 7n, list: [], unset: null });
  assert.equal(json({ one: new Message() }).replaceAll(/\s/g, ""), '{"one":{"count":7,"list":[]}}');
});

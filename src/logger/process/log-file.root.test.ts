import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MNT_DETACH, mount, umount } from "../../linux/mount.ts";
import { BufferPool } from "./buffer-pool.ts";
import { CriFormatter } from "./cri-format.ts";
import { LogFile } from "./log-file.ts";
import { RecordClock } from "./record-clock.ts";

test("on a file system that fills up the log keeps whole records, and goes on when there is room", async () => {
  const dir = await mkdtemp(join(tmpdir(), "crid-log-file-"));
  mount("tmpfs", dir, "tmpfs", 0, "size=256k");
  try {
    const said: string[] = [];
    const path = join(dir, "0.log");
    const ballast = join(dir, "ballast");
    await writeFile(ballast, Buffer.alloc(200 * 1024));
    const pool = new BufferPool({ bufferBytes: 128 * 1024, keep: 4 });
    const file = await LogFile.open({ path, pool, say: (message) => said.push(message) });
    const formatter = new CriFormatter({ stream: "stdout", tty: false, maxLineSize: 1024, clock: new RecordClock(), sink: file });
    const line = Buffer.from(`${"x".repeat(99)}\n`);
    const write = async (count: number): Promise<void> => {
      for (let at = 0; at < count; at++) formatter.write(line, line.length);
      await file.settled();
    };
    await write(1000);
    const text = await readFile(path, "latin1");
    assert.ok(text.endsWith("x\n"), "a half-written record stayed");
    const kept = text.split("\n").length - 1;
    assert.equal(kept + file.counts.droppedRecords, 1000);
    assert.equal((await stat(path)).size, file.counts.writtenBytes);
    assert.equal(said.length, 1);
    await rm(ballast);
    await write(10);
    assert.equal((await readFile(path, "latin1")).split("\n").length - 1, kept + 10);
    assert.equal(said.length, 2);
    await file.close();
    assert.equal(pool.inUseBytes, 0);
  } finally {
    umount(dir, MNT_DETACH);
    await rm(dir, { recursive: true });
  }
});

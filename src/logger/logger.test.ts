import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, openSync, writeFileSync } from "node:fs";
import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { isKind } from "../base/errors.ts";
import { gone, LoggerFixture, readLog } from "./logger-fixture.ts";

const never = new AbortController().signal;

/** The lines that `seq 1 count` prints. */
function numbers(count: number): string {
  return Array.from({ length: count }, (_, at) => `${at + 1}\n`).join("");
}

/** What a shim is to the logger: opens both ends of the fifo, writes, lets go. Resolves once it has them open, as Create does. */
async function writer(fifo: string, script: string): Promise<{ exit: Promise<unknown> }> {
  const child = spawn("sh", ["-c", `exec 3<>"$0"; echo open; exec >&3; ${script}`, fifo], { stdio: ["ignore", "pipe", "inherit"] });
  const exit = once(child, "exit");
  await once(child.stdout, "data");
  return { exit };
}

/** assert.equal without a page of diff. */
function same(actual: string, expected: string): void {
  if (actual === expected) return;
  let at = 0;
  while (actual[at] === expected[at]) at++;
  const show = (text: string): string => JSON.stringify(text.slice(Math.max(0, at - 40), at + 40));
  assert.fail(`${actual.length} bytes for ${expected.length}, other than expected from ${at} on: ${show(actual)} for ${show(expected)}`);
}

class Collect extends Writable {
  readonly chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.chunks.push(Buffer.from(chunk));
    done();
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString("latin1");
  }
}

test("both streams come into the log in whole records, and drained means all of it", async () => {
  await using fixture = await LoggerFixture.make();
  const client = fixture.client({ maxLineSize: 1000 });
  const [stdout, stderr, logPath] = [fixture.fifo("out"), fixture.fifo("err"), fixture.path("logs/pod/0.log")];
  await client.open({ id: "c1", logPath, stdout, stderr, tty: false });
  const out = await writer(stdout, "seq 1 20000; printf unfinished");
  const err = await writer(stderr, "head -c 5000 /dev/zero | tr '\\0' x; echo; seq 1 100");
  await client.created("c1");
  await Promise.all([out.exit, err.exit]);
  assert.equal(await client.drained("c1", { timeoutMs: 5000 }), true);
  same(await readLog(logPath), `${numbers(20000)}unfinished`);
  same(await readLog(logPath, "stderr"), `${"x".repeat(5000)}\n${numbers(100)}`);
  assert.equal((await stat(logPath)).mode & 0o777, 0o640);
  await client.close("c1");
  assert.deepEqual(await client.list(), []);
});

test("without created, and with a child that keeps the pipe, output is not taken to have ended", async () => {
  await using fixture = await LoggerFixture.make();
  const client = fixture.client();
  const [stdout, logPath] = [fixture.fifo("out"), fixture.path("0.log")];
  await client.open({ id: "c1", logPath, stdout, stderr: "", tty: true });
  const early = await writer(stdout, "echo early");
  await early.exit;
  assert.equal(await client.drained("c1", { timeoutMs: 50 }), false);
  const kept = await writer(stdout, "echo kept; sleep 0.5");
  await delay(100);
  await client.created("c1");
  assert.equal(await client.drained("c1", { timeoutMs: 50 }), false);
  await kept.exit;
  assert.equal(await client.drained("c1", { timeoutMs: 5000 }), true);
  assert.equal(await readLog(logPath), "early\nkept\n");
});

test("the daemon is killed and another takes over: no line lost, none twice, the writer never waits", async () => {
  await using fixture = await LoggerFixture.make();
  const [stdout, logPath] = [fixture.fifo("out"), fixture.path("0.log")];
  const module = pathToFileURL(join(import.meta.dirname, "logger-fixture.ts")).href;
  const clientModule = pathToFileURL(join(import.meta.dirname, "logger-client.ts")).href;
  const script = `
    import { LoggerClient } from ${JSON.stringify(clientModule)};
    import { silentLogger } from ${JSON.stringify(new URL("../base/log.ts", module).href)};
    const client = new LoggerClient({ stateDir: ${JSON.stringify(fixture.dir)}, command: ${JSON.stringify(fixture.command())}, log: silentLogger(), maxLineSize: 16384 });
    await client.open({ id: "c1", logPath: ${JSON.stringify(logPath)}, stdout: ${JSON.stringify(stdout)}, stderr: "", tty: false });
    console.log("open");
    process.stdin.once("data", async () => { await client.created("c1"); console.log("created"); });`;
  const daemon = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["pipe", "pipe", "inherit"] });
  await once(daemon.stdout, "data");
  const process1 = await writer(stdout, "for i in $(seq 1 40); do seq $((i*1000-999)) $((i*1000)); sleep 0.01; done");
  daemon.stdin.write("go\n");
  await once(daemon.stdout, "data");
  daemon.kill("SIGKILL");
  await once(daemon, "exit");
  await process1.exit;
  const client = fixture.client();
  assert.deepEqual(await client.list(), ["c1"]);
  await client.open({ id: "c1", logPath, stdout, stderr: "", tty: false });
  assert.equal(await client.drained("c1", { timeoutMs: 5000 }), true);
  same(await readLog(logPath), numbers(40000));
});

test("the logger is killed: the client starts another, which goes on where the fifo stands", async () => {
  await using fixture = await LoggerFixture.make();
  const client = fixture.client();
  const [stdout, logPath] = [fixture.fifo("out"), fixture.path("0.log")];
  await client.open({ id: "c1", logPath, stdout, stderr: "", tty: false });
  const go = fixture.path("go");
  const shim = await writer(stdout, `echo before; while [ ! -e ${go} ]; do sleep 0.01; done; seq 1 2000`);
  await client.created("c1");
  while ((await readFile(logPath, "latin1")) === "") await delay(5);
  const pid = await fixture.pid();
  process.kill(pid, "SIGKILL");
  await gone(pid);
  await writeFile(go, "");
  await shim.exit;
  assert.equal(await client.drained("c1", { timeoutMs: 5000 }), true);
  same(await readLog(logPath), `before\n${numbers(2000)}`);
  assert.notEqual(await fixture.pid(), pid);
});

test("an orderly end of the logger loses nothing, not even of an unfinished line", async () => {
  await using fixture = await LoggerFixture.make();
  const client = fixture.client();
  const [stdout, logPath] = [fixture.fifo("out"), fixture.path("0.log")];
  await client.open({ id: "c1", logPath, stdout, stderr: "", tty: false });
  const shim = await writer(stdout, "for i in $(seq 1 30); do printf 'half '; sleep 0.01; echo $i; done");
  await client.created("c1");
  for (let round = 0; round < 3; round++) {
    const pid = await fixture.pid();
    process.kill(pid, "SIGTERM");
    await gone(pid);
    await client.ensureRunning();
  }
  await shim.exit;
  assert.equal(await client.drained("c1", { timeoutMs: 5000 }), true);
  same(await readLog(logPath), Array.from({ length: 30 }, (_, at) => `half ${at + 1}\n`).join(""));
});

for (const version of [0, 99]) {
  test(`a logger of another protocol version (${version}) is replaced while output comes: no line lost, none twice`, async () => {
    await using fixture = await LoggerFixture.make();
    const old = fixture.client({ protocolVersion: version, maxLineSize: 100 });
    const [stdout, logPath] = [fixture.fifo("out"), fixture.path("0.log")];
    await old.open({ id: "c1", logPath, stdout, stderr: "", tty: false });
    const { exit } = await writer(
      stdout,
      "i=0; while [ $i -lt 20 ]; do seq $((i * 1000 + 1)) $((i * 1000 + 1000)); i=$((i + 1)); sleep 0.05; done",
    );
    await old.created("c1");
    const before = await fixture.pid();
    old.disconnect();
    await delay(200);
    const client = fixture.client();
    await client.ensureRunning();
    await gone(before);
    assert.notEqual(await fixture.pid(), before);
    assert.deepEqual(await client.list(), ["c1"]);
    await exit;
    assert.equal(await client.drained("c1", { timeoutMs: 10_000 }), true);
    same(await readLog(logPath), numbers(20_000));
  });
}

test("rotation while output comes: the two files together have every line, and the old one is not touched again", async () => {
  await using fixture = await LoggerFixture.make();
  const client = fixture.client();
  const [stdout, logPath] = [fixture.fifo("out"), fixture.path("0.log")];
  await client.open({ id: "c1", logPath, stdout, stderr: "", tty: false });
  const shim = await writer(stdout, "seq 1 300000");
  await client.created("c1");
  const parts: string[] = [];
  for (let round = 0; round < 4; round++) {
    await delay(10);
    const rotated = fixture.path(`0.log.${round}`);
    await rename(logPath, rotated);
    await client.reopen("c1");
    await stat(logPath);
    parts.push(await readLog(rotated));
  }
  await shim.exit;
  assert.equal(await client.drained("c1", { timeoutMs: 5000 }), true);
  for (const [round, part] of parts.entries()) assert.equal(await readLog(fixture.path(`0.log.${round}`)), part);
  parts.push(await readLog(logPath));
  same(parts.join(""), numbers(300000));
});

test("a new log that cannot be opened leaves the old one in use", async () => {
  await using fixture = await LoggerFixture.make();
  const client = fixture.client();
  const [stdout, logPath] = [fixture.fifo("out"), fixture.path("0.log")];
  await client.open({ id: "c1", logPath, stdout, stderr: "", tty: false });
  writeFileSync(fixture.path("file"), "");
  await assert.rejects(client.reopen("c1", fixture.path("file/0.log")), /open container log .*file\/0\.log/);
  await assert.rejects(client.reopen("c9"), (error) => isKind(error, "not-found"));
  const shim = await writer(stdout, "echo still");
  await client.created("c1");
  await shim.exit;
  await client.drained("c1", { timeoutMs: 5000 });
  assert.equal(await readLog(logPath), "still\n");
});

test("a full disk costs lines, which are counted, and never holds the container", async () => {
  await using fixture = await LoggerFixture.make();
  const client = fixture.client();
  const [stdout, logPath] = [fixture.fifo("out"), fixture.path("0.log")];
  await client.open({ id: "c1", logPath: "/dev/full", stdout, stderr: "", tty: false });
  const go = fixture.path("go");
  const shim = await writer(
    stdout,
    `seq 1 200000; echo $? > ${fixture.path("done")}; while [ ! -e ${go} ]; do sleep 0.01; done; echo after`,
  );
  await client.created("c1");
  while ((await stat(fixture.path("done")).catch(() => undefined)) === undefined) await delay(10);
  while ((await client.stats()).droppedRecords < 200000) await delay(10);
  await client.reopen("c1", logPath);
  await writeFile(go, "");
  await shim.exit;
  assert.equal(await client.drained("c1", { timeoutMs: 5000 }), true);
  assert.equal(await readLog(logPath), "after\n");
  assert.equal((await client.stats()).droppedRecords, 200000);
  const said = await readFile(fixture.path("logger.log"), "utf8");
  assert.equal(said.match(/ENOSPC/g)?.length, 2, said);
  assert.match(said, /200000 lines were dropped/);
});

test("what cannot be opened is named, and nothing stays behind", async () => {
  await using fixture = await LoggerFixture.make();
  const client = fixture.client();
  const stdout = fixture.fifo("out");
  const base = { id: "c1", stdout, stderr: "", tty: false };
  await assert.rejects(client.open({ ...base, logPath: "", stderr: fixture.path("missing") }), (error) => {
    return isKind(error, "not-found") && error.message.includes("missing");
  });
  writeFileSync(fixture.path("plain"), "");
  await assert.rejects(client.open({ ...base, logPath: "", stdout: fixture.path("plain") }), /not a fifo/);
  await assert.rejects(client.open({ ...base, logPath: fixture.path("plain/0.log") }), /open container log/);
  assert.deepEqual(await client.list(), []);
  await client.open({ ...base, logPath: "" });
  assert.deepEqual(await client.list(), ["c1"]);
});

test("several attached readers see the output from then on, each the streams it wants; a terminal's prompt comes first", async () => {
  await using fixture = await LoggerFixture.make();
  const client = fixture.client();
  const [stdout, stderr, tty] = [fixture.fifo("out"), fixture.fifo("err"), fixture.fifo("tty")];
  await client.open({ id: "c1", logPath: fixture.path("0.log"), stdout, stderr, tty: false });
  await client.open({ id: "c2", logPath: "", stdout: tty, stderr: "", tty: true });
  const [out, outAndErr, err, prompt] = [new Collect(), new Collect(), new Collect(), new Collect()];
  const feed = openSync(tty, constants.O_RDWR | constants.O_NONBLOCK);
  writeFileSync(feed, "/ # ");
  const attached = Promise.all([
    client.attach("c1", { stdout: out, signal: never }),
    client.attach("c1", { stdout: outAndErr, stderr: err, signal: never }),
    delay(100).then(() => client.attach("c2", { stdout: prompt, signal: never })),
  ]);
  while ((await client.stats()).attached < 3) await delay(5);
  const shims = [await writer(stdout, "seq 1 100000"), await writer(stderr, "echo oops")];
  await Promise.all([client.created("c1"), client.created("c2")]);
  await Promise.all(shims.map(({ exit }) => exit));
  closeSync(feed);
  await attached;
  same(out.text, numbers(100000));
  same(outAndErr.text, numbers(100000));
  assert.equal(err.text, "oops\n");
  assert.equal(prompt.text, "/ # ");
  await assert.rejects(client.attach("c9", { stdout: out, signal: never }), (error) => isKind(error, "not-found"));
});

test("an attachment ends with its signal or its writable, and leaves the log alone", async () => {
  await using fixture = await LoggerFixture.make();
  const client = fixture.client();
  const [stdout, logPath] = [fixture.fifo("out"), fixture.path("0.log")];
  await client.open({ id: "c1", logPath, stdout, stderr: "", tty: false });
  const controller = new AbortController();
  const first = client.attach("c1", { stdout: new PassThrough(), signal: controller.signal });
  const target = new PassThrough();
  const second = client.attach("c1", { stdout: target, signal: never });
  while ((await client.stats()).attached < 2) await delay(5);
  controller.abort(new Error("enough"));
  await assert.rejects(first, /enough/);
  target.destroy();
  await assert.rejects(second);
  while ((await client.stats()).attached > 0) await delay(5);
  const shim = await writer(stdout, "seq 1 1000");
  await client.created("c1");
  await shim.exit;
  assert.equal(await client.drained("c1", { timeoutMs: 5000 }), true);
  same(await readLog(logPath), numbers(1000));
});

test("a container that floods does not hold up another's lines", async () => {
  await using fixture = await LoggerFixture.make();
  const client = fixture.client();
  const [flood, quiet] = [fixture.fifo("flood"), fixture.fifo("quiet")];
  await client.open({ id: "flood", logPath: fixture.path("flood.log"), stdout: flood, stderr: "", tty: false });
  await client.open({ id: "quiet", logPath: fixture.path("quiet.log"), stdout: quiet, stderr: "", tty: false });
  const flooding = await writer(flood, "yes | head -c 60000000");
  await client.created("flood");
  const feed = openSync(quiet, constants.O_RDWR | constants.O_NONBLOCK);
  const waits: number[] = [];
  for (let line = 1; line <= 20; line++) {
    const at = performance.now();
    writeFileSync(feed, `${line}\n`);
    while ((await readLog(fixture.path("quiet.log"))) !== numbers(line)) await delay(1);
    waits.push(performance.now() - at);
    await delay(5);
  }
  closeSync(feed);
  waits.sort((a, b) => a - b);
  assert.ok((waits[10] ?? 0) < 250, `a line took ${waits[10]} ms`);
  await flooding.exit;
  assert.equal(await client.drained("flood", { timeoutMs: 20_000 }), true);
});

test("clients that start at once find one logger", async () => {
  await using fixture = await LoggerFixture.make();
  const clients = [fixture.client(), fixture.client(), fixture.client()];
  await Promise.all(clients.map((client) => client.ensureRunning()));
  const stdout = fixture.fifo("out");
  await clients[0]?.open({ id: "c1", logPath: "", stdout, stderr: "", tty: false });
  for (const client of clients) assert.deepEqual(await client.list(), ["c1"]);
  const [file, ...args] = fixture.command();
  const second = spawn(file ?? "", args, { stdio: ["ignore", "ignore", "pipe"] });
  const [said] = (await once(second.stderr, "data")) as [Buffer];
  assert.match(said.toString(), /another logger holds/);
});

test("a logger that does not start is an error that says where to look", async () => {
  await using fixture = await LoggerFixture.make();
  const client = new (await import("./logger-client.ts")).LoggerClient({
    stateDir: fixture.dir,
    command: ["/bin/false"],
    log: (await import("../base/log.ts")).silentLogger(),
    maxLineSize: 100,
  });
  await assert.rejects(client.ensureRunning(), (error) => isKind(error, "unavailable") && error.message.includes("logger.log"));
});

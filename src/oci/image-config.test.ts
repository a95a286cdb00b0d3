import assert from "node:assert/strict";
import { test } from "node:test";
import { containerConfigFixture, imageConfigFixture } from "./fixtures.ts";
import { mergeEnv, processArgs, processCwd, processEnv } from "./image-config.ts";

test("args: the CRI's command replaces entrypoint and cmd, its args only cmd", () => {
  const image = imageConfigFixture({ entrypoint: ["entry"], cmd: ["cmd"] });
  assert.deepEqual(processArgs({ command: [], args: [] }, image), ["entry", "cmd"]);
  assert.deepEqual(processArgs({ command: [], args: ["a"] }, image), ["entry", "a"]);
  assert.deepEqual(processArgs({ command: ["c"], args: [] }, image), ["c"]);
  assert.deepEqual(processArgs({ command: ["c"], args: ["a"] }, image), ["c", "a"]);
  assert.deepEqual(processArgs({ command: [], args: [] }, imageConfigFixture({ entrypoint: [""], cmd: ["cmd"] })), ["cmd"]);
  assert.throws(() => processArgs({ command: [], args: [] }, imageConfigFixture({ cmd: [] })), /no command specified/);
});

test("env: request over image over defaults, byte for byte where JSON can carry it", () => {
  const b64 = (text: string | Buffer): string => Buffer.from(text).toString("base64");
  const { env, lossy } = processEnv({
    env: [
      { name: "A", valueBase64: b64("request=1\n") },
      { name: "BIN", valueBase64: b64(Buffer.from([0xff, 0x41])) },
      { name: "EMPTY", valueBase64: "" },
    ],
    image: { env: ["A=image", "B=image", "PATH=/own"] },
    hostname: "h",
    terminal: true,
  });
  assert.deepEqual(env, ["PATH=/own", "TERM=xterm", "HOSTNAME=h", "A=request=1\n", "B=image", "BIN=\ufffdA", "EMPTY="]);
  assert.deepEqual(lossy, ["BIN"]);
});

test("env: what execve cannot carry is refused, naming it", () => {
  const one = (name: string, value: Buffer): unknown =>
    processEnv({ env: [{ name, valueBase64: value.toString("base64") }], image: { env: [] }, hostname: "h", terminal: false });
  assert.throws(() => one("X", Buffer.from([65, 0])), /env X: the value contains a NUL/);
  assert.throws(() => one("A=B", Buffer.from("x")), /"A=B"/);
  assert.throws(() => one("", Buffer.from("x")), /empty/);
});

test("mergeEnv: a bare name removes", () => {
  assert.deepEqual(mergeEnv(["A=1", "B=2"], ["A", "C=3", "B=4"]), ["B=4", "C=3"]);
});

test("cwd", () => {
  assert.equal(processCwd(containerConfigFixture(), imageConfigFixture()), "/");
  assert.equal(processCwd(containerConfigFixture(), imageConfigFixture({ workingDir: "/img" })), "/img");
  assert.equal(processCwd(containerConfigFixture({ workingDir: "/own" }), imageConfigFixture({ workingDir: "/img" })), "/own");
  assert.throws(() => processCwd(containerConfigFixture({ workingDir: "own" }), imageConfigFixture()), /not an absolute path/);
});

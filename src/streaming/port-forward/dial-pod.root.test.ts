import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { DirectSocket } from "../../base/direct-socket.ts";
import { isKind } from "../../base/errors.ts";
import { MNT_DETACH, umount } from "../../linux/mount.ts";
import { makeNetns, netnsIdentity } from "../../linux/namespaces.ts";
import { dialPod } from "./dial-pod.ts";

async function said(direct: DirectSocket): Promise<string> {
  let all = "";
  direct.start((chunk) => {
    all += chunk.toString();
  });
  await once(direct.socket, "end");
  direct.socket.destroy();
  return all;
}

const never = new AbortController().signal;

test("a pod's localhost is reached from outside, IPv4 and IPv6, and nothing else of the process moves", async () => {
  const dir = await mkdtemp(join(tmpdir(), "crid-dial-"));
  const netnsPath = join(dir, "net");
  makeNetns(netnsPath);
  const home = netnsIdentity();
  const script = `
    const { createServer } = require("node:net");
    const serve = (host, port, word) => new Promise((done) => createServer((socket) => socket.end(word)).listen(port, host, done));
    Promise.all([serve("127.0.0.1", 4000, "four"), serve("::1", 6000, "six")]).then(() => console.log("up"));`;
  const pod = spawn("nsenter", [`--net=${netnsPath}`, process.execPath, "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await once(pod.stdout, "data");
    const dial = (port: number): Promise<string> => dialPod({ sandboxId: "p1", netnsPath, port, signal: never }).then(said);
    assert.equal(await dial(4000), "four");
    assert.equal(await dial(6000), "six");
    assert.deepEqual(
      await Promise.all(Array.from({ length: 20 }, (_, at) => dial(at % 2 === 0 ? 4000 : 6000))).then((all) => all.length),
      20,
    );
    await assert.rejects(dial(5000), (error) => {
      return (
        isKind(error, "unavailable") && error.message.includes(`"${netnsPath}"`) && error.message.includes("connection refused IPv6: dial")
      );
    });
    await assert.rejects(dialPod({ sandboxId: "p1", netnsPath: join(dir, "gone"), port: 1, signal: never }), /network namespace is gone/);
    assert.equal(netnsIdentity(), home);
  } finally {
    const gone = once(pod, "exit");
    pod.kill("SIGKILL");
    await gone;
    umount(netnsPath, MNT_DETACH);
    await rm(dir, { recursive: true });
  }
});

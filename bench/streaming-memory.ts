import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "./measures.ts";
import type { Peer } from "./peer.ts";
import { LeanSpdyClient } from "./stream-client.ts";
import { inPods } from "./streaming.ts";

/** The daemon's memory in MiB once it has come to rest: two readings, two seconds apart, that differ by less than a percent. */
async function settled(peer: Peer): Promise<number> {
  let last = peer.memory().rss;
  for (let attempt = 0; attempt < 15; attempt++) {
    await sleep(2000);
    const { rss } = peer.memory();
    if (Math.abs(rss - last) < last * 0.01) return rss;
    last = rss;
  }
  return last;
}

async function openExec(peer: Peer, containerId: string, cmd: string[], onOutput: (payload: Buffer) => void = () => {}) {
  const { url } = await peer.client.exec({ containerId, cmd, stdin: true, stdout: true });
  const client = await LeanSpdyClient.dial(url, "v4.channel.k8s.io");
  const over = Promise.withResolvers<void>();
  await client.open({ streamtype: "error" }, () => over.resolve());
  const stdin = await client.open({ streamtype: "stdin" });
  await client.open({ streamtype: "stdout" }, onOutput);
  return { client, stdin, over: over.promise };
}

/** What each of many open execs costs the daemon (the shim and the command are others'); and whether it is given back. */
export async function openExecs(context: Context, count: number): Promise<void> {
  const { report } = context;
  await inPods(context, async (containers) => {
    for (const [peer, { containerId }] of containers) {
      let heard = 0;
      const open = async (many: number): Promise<(() => void)[]> => {
        const clients: (() => void)[] = [];
        for (let at = 0; at < many; at++) {
          const { client, stdin } = await openExec(peer, containerId, ["cat"], () => heard++);
          client.send(stdin, Buffer.from("x"));
          clients.push(() => client.close());
        }
        return clients;
      };
      const closeAll = async (clients: (() => void)[]): Promise<void> => {
        for (const close of clients) close();
        await sleep(2000);
      };
      // What the first ones load and grow stays.
      await closeAll(await open(100));
      const before = await settled(peer);
      heard = 0;
      const clients = await open(count);
      for (let waited = 0; waited < 300 && heard < count; waited++) await sleep(100);
      if (heard < count) throw new Error(`${peer.name}: ${heard} of ${count} execs answer`);
      const during = await settled(peer);
      await closeAll(clients);
      const after = await settled(peer);
      report.add(`daemon memory of an open exec, of ${count}`, "KiB", peer.name, ((during - before) * 1024) / count);
      report.add(`daemon RSS before ${count} execs`, "MiB", peer.name, before);
      report.add(`daemon RSS after ${count} execs`, "MiB", peer.name, after);
    }
  });
}

/** Bulk into and out of an exec: MiB/s, and the daemon's memory before, at most and after. */
export async function transfers(context: Context, mebibytes: number): Promise<void> {
  const { report } = context;
  const bytes = mebibytes * 2 ** 20;
  const chunk = Buffer.alloc(32 * 1024, "in");
  await inPods(context, async (containers) => {
    for (const [peer, { containerId }] of containers) {
      const into = async (): Promise<void> => {
        const { client, stdin, over } = await openExec(peer, containerId, ["sh", "-c", "cat > /dev/null"]);
        for (let sent = 0; sent < bytes; sent += chunk.length) if (!client.send(stdin, chunk)) await client.drained();
        client.finish(stdin);
        await over;
        client.close();
      };
      const out = async (): Promise<void> => {
        let got = 0;
        const { client, over } = await openExec(
          peer,
          containerId,
          ["dd", "if=/dev/zero", "bs=65536", `count=${bytes / 65_536}`],
          (payload) => {
            got += payload.length;
          },
        );
        await over;
        client.close();
        if (got !== bytes) throw new Error(`${peer.name}: ${got} of ${bytes} bytes came`);
      };
      const before = await settled(peer);
      peer.resetPeak();
      for (const [name, move] of [
        ["into", into],
        ["out of", out],
      ] as const) {
        const cpu = peer.cpuMs();
        const started = performance.now();
        try {
          await move();
        } catch (error) {
          // containerd has been seen to reset the connection under bulk input; that is no reason to have no figures for the rest.
          if (peer.name === "crid") throw error;
          process.stderr.write(`${peer.name}: ${name} an exec: ${String(error)}\n`);
          continue;
        }
        report.add(`${name} an exec`, "MiB/s", peer.name, (mebibytes * 1000) / (performance.now() - started));
        report.add(`CPU of a GiB ${name} an exec`, "ms", peer.name, ((peer.cpuMs() - cpu) * 1024) / mebibytes);
      }
      const peak = peer.peakRss();
      report.add(`daemon RSS before ${mebibytes} MiB both ways`, "MiB", peer.name, before);
      report.add("daemon RSS, most meanwhile", "MiB", peer.name, peak);
      report.add("daemon RSS afterwards", "MiB", peer.name, await settled(peer));
    }
  });
}

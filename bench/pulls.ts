import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { type Context, scrapeLoopDelay } from "./measures.ts";
import type { Peer } from "./peer.ts";
import { createContainer, podConfig, timed } from "./pod.ts";

const deadlineMs = 600_000;

/** Writes out what anybody has left to be written, so that it is not counted to the next call. */
function settle(): void {
  execFileSync("sync");
}

/**
 * Pulls an image, again while it is there, and removes it, in turn; with memory and crid's event loop for a big one. crid answers a removal before the
 * bytes are given back, and ImageFsInfo after: so both are timed, the removal and until the room is there.
 */
export async function pulls(
  { report, peers }: Context,
  figure: string,
  image: string,
  rounds: number,
  options: { metrics?: string } = {},
): Promise<void> {
  for (let round = -1; round < rounds; round++) {
    for (const peer of round % 2 === 0 ? peers : peers.toReversed()) {
      settle();
      peer.resetPeak();
      const loop = peer.name === "crid" ? options.metrics : undefined;
      if (loop !== undefined) await scrapeLoopDelay(loop);
      const cpu = peer.cpuMs();
      const pull = await timed(() => peer.client.pullImage({ image: { image } }, deadlineMs));
      const cpuUsed = peer.cpuMs() - cpu;
      const delay = loop === undefined ? undefined : await scrapeLoopDelay(loop);
      const peak = peer.peakRss();
      settle();
      const again = await timed(() => peer.client.pullImage({ image: { image } }, deadlineMs));
      settle();
      const remove = await timed(() => peer.client.removeImage({ image: { image: pull.value.imageRef } }, deadlineMs));
      const room = await timed(() => peer.client.imageFsInfo({}, deadlineMs));
      // The first one starts what idles.
      if (round < 0) continue;
      report.add(`pull ${figure}`, "ms", peer.name, pull.ms);
      report.add(`CPU of a pull, ${figure}`, "ms", peer.name, cpuUsed);
      report.add(`pull ${figure}, all present`, "ms", peer.name, again.ms);
      report.add(`remove ${figure}`, "ms", peer.name, remove.ms);
      report.add(`remove ${figure}, and ImageFsInfo`, "ms", peer.name, remove.ms + room.ms);
      if (options.metrics !== undefined) report.add(`peak RSS, pull ${figure}`, "MiB", peer.name, peak);
      if (delay === undefined) continue;
      report.add(`event loop delay p99, pull ${figure}`, "ms", peer.name, delay.p99);
      report.add(`event loop delay max, pull ${figure}`, "ms", peer.name, delay.max);
    }
  }
}

function dropCaches(): void {
  settle();
  writeFileSync("/proc/sys/vm/drop_caches", "3");
}

const readAll = "find /usr /bin -xdev -type f -exec cat {} + | wc -c";

/**
 * A container on a big image: its start, and reading every file of it: the first time, with what the pull has left in the page cache, and once more;
 * then, in a third as many rounds, from the disk. crid's layers as EROFS images and as directories, each beside containerd's.
 */
export async function rootFileSystems(context: Context, directories: Peer, image: string, rounds: number): Promise<void> {
  const forms: [string, Peer[]][] = [
    ["EROFS", context.peers],
    ["directories", [directories, ...context.peers.slice(1)]],
  ];
  const each = async (measure: (peer: Peer, form: string) => Promise<void>): Promise<void> => {
    for (const [form, peers] of forms) for (const peer of peers) await measure(peer, form);
  };
  await directories.start();
  try {
    for (const peer of [directories, ...context.peers]) await peer.client.pullImage({ image: { image } }, deadlineMs);
    for (let round = -1; round < rounds; round++)
      await each((peer, form) => readCached(context, peer, { form, image, counts: round >= 0 }));
    // Last: what one drops is gone for the others too.
    for (let round = 0; round < Math.ceil(rounds / 3); round++) await each((peer, form) => readFromDisk(context, peer, { form, image }));
  } finally {
    for (const peer of [directories, ...context.peers]) {
      await peer.client.removeImage({ image: { image } }, deadlineMs);
    }
    await directories.stop();
  }
}

async function readCached(context: Context, peer: Peer, o: { form: string; image: string; counts: boolean }): Promise<void> {
  const { startMs, read } = await inContainer(context, peer, o.image, async (container) => ({
    startMs: container.startMs,
    read: [await container.read(), await container.read()] as const,
  }));
  if (!o.counts) return;
  const { report } = context;
  report.add(`create + start, layers of crid as ${o.form}`, "ms", peer.name, startMs);
  report.add(`read 45,000 files, layers of crid as ${o.form}`, "ms", peer.name, read[0]);
  report.add(`read them again, layers of crid as ${o.form}`, "ms", peer.name, read[1]);
}

async function readFromDisk({ report, directory }: Context, peer: Peer, o: { form: string; image: string }): Promise<void> {
  const ms = await inContainer({ directory }, peer, o.image, async ({ read }) => {
    dropCaches();
    return read();
  });
  report.add(`read them from the disk, layers of crid as ${o.form}`, "ms", peer.name, ms);
}

/** @param use gets what it took to create and start the container, and what reads all of its files and answers how long that took */
async function inContainer<T>(
  { directory }: Pick<Context, "directory">,
  peer: Peer,
  image: string,
  use: (container: { startMs: number; read: () => Promise<number> }) => Promise<T>,
): Promise<T> {
  const pod = podConfig(directory, { hostNetwork: true });
  const { podSandboxId } = await peer.client.runPodSandbox({ config: pod });
  const create = await timed(() => createContainer(peer, podSandboxId, pod, ["sleep", "3600"], "main", image));
  const containerId = create.value;
  const start = await timed(() => peer.client.startContainer({ containerId }));
  const read = async (): Promise<number> => {
    const { ms, value } = await timed(() => peer.client.execSync({ containerId, cmd: ["sh", "-c", readAll], timeout: 300n }, deadlineMs));
    if (Number(Buffer.from(value.stdout).toString()) < 1e8) throw new Error(`${peer.name}: the files of ${image} are not all there`);
    return ms;
  };
  const result = await use({ startMs: create.ms + start.ms, read });
  await peer.client.stopPodSandbox({ podSandboxId });
  await peer.client.removePodSandbox({ podSandboxId });
  return result;
}

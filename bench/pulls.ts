import { execFileSync } from "node:child_process";
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

const readAll = "find /usr /bin -xdev -type f -exec cat {} + | wc -c";

/**
 * A container on a big image: its start, and reading every file of it, the first time after the start and once more. crid's layers as EROFS
 * images and as directories, each beside containerd's.
 */
export async function rootFileSystems(context: Context, directories: Peer, image: string, rounds: number): Promise<void> {
  const forms: [string, Peer[]][] = [
    ["EROFS", context.peers],
    ["directories", [directories, ...context.peers.slice(1)]],
  ];
  await directories.start();
  try {
    for (const peer of [directories, ...context.peers]) await peer.client.pullImage({ image: { image } }, deadlineMs);
    for (let round = -1; round < rounds; round++) {
      for (const [form, peers] of forms) for (const peer of peers) await oneContainer(context, peer, form, image, round >= 0);
    }
  } finally {
    for (const peer of [directories, ...context.peers]) {
      await peer.client.removeImage({ image: { image } }, deadlineMs);
    }
    await directories.stop();
  }
}

async function oneContainer({ report, directory }: Context, peer: Peer, form: string, image: string, counts: boolean): Promise<void> {
  const pod = podConfig(directory, { hostNetwork: true });
  const { podSandboxId } = await peer.client.runPodSandbox({ config: pod });
  const create = await timed(() => createContainer(peer, podSandboxId, pod, ["sleep", "3600"], "main", image));
  const start = await timed(() => peer.client.startContainer({ containerId: create.value }));
  const read = () =>
    timed(() => peer.client.execSync({ containerId: create.value, cmd: ["sh", "-c", readAll], timeout: 300n }, deadlineMs));
  const first = await read();
  const again = await read();
  if (Number(Buffer.from(first.value.stdout).toString()) < 1e8) throw new Error(`${peer.name}: the files of ${image} are not all there`);
  await peer.client.stopPodSandbox({ podSandboxId });
  await peer.client.removePodSandbox({ podSandboxId });
  if (!counts) return;
  report.add(`create + start, layers of crid as ${form}`, "ms", peer.name, create.ms + start.ms);
  report.add(`read 45,000 files, layers of crid as ${form}`, "ms", peer.name, first.ms);
  report.add(`read them again, layers of crid as ${form}`, "ms", peer.name, again.ms);
}

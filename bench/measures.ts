import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Peer } from "./peer.ts";
import { busybox, createContainer, podConfig, timed } from "./pod.ts";
import type { Report } from "./report.ts";

export interface Context {
  report: Report;
  peers: Peer[];
  /** Where the pods' log directories go. */
  directory: string;
}

/** One pod's life, step by step; called in turn for each peer, so that a drift of the machine meets both. */
export async function podLife({ report, peers, directory }: Context, rounds: number): Promise<void> {
  for (let round = -2; round < rounds; round++) {
    for (const peer of round % 2 === 0 ? peers : peers.toReversed()) {
      const pod = podConfig(directory);
      const cpu = peer.cpuMs();
      const run = await timed(() => peer.client.runPodSandbox({ config: pod }));
      const podId = run.value.podSandboxId;
      const create = await timed(() => createContainer(peer, podId, pod, ["sleep", "3600"]));
      const start = await timed(() => peer.client.startContainer({ containerId: create.value }));
      const exec = await timed(() => peer.client.execSync({ containerId: create.value, cmd: ["true"], timeout: 10n }));
      const stop = await timed(() => peer.client.stopPodSandbox({ podSandboxId: podId }));
      const remove = await timed(() => peer.client.removePodSandbox({ podSandboxId: podId }));
      const cpuUsed = peer.cpuMs() - cpu;
      if (round < 0) continue;
      report.add("RunPodSandbox", "ms", peer.name, run.ms);
      report.add("CreateContainer", "ms", peer.name, create.ms);
      report.add("StartContainer", "ms", peer.name, start.ms);
      report.add("pod to running", "ms", peer.name, run.ms + create.ms + start.ms);
      report.add("ExecSync", "ms", peer.name, exec.ms);
      report.add("StopPodSandbox", "ms", peer.name, stop.ms);
      report.add("RemovePodSandbox", "ms", peer.name, remove.ms);
      report.add("StopPodSandbox + RemovePodSandbox", "ms", peer.name, stop.ms + remove.ms);
      report.add("CPU of a pod's life", "ms", peer.name, cpuUsed);
    }
  }
}

/** Lists with `count` stopped pods of one created container each, and Version beside. */
export async function lists({ report, peers, directory }: Context, count: number, rounds: number): Promise<void> {
  const made = new Map<Peer, string[]>();
  for (const peer of peers) {
    const pods: string[] = [];
    made.set(peer, pods);
    for (let at = 0; at < count; at++) {
      const pod = podConfig(directory, { hostNetwork: true });
      const { podSandboxId } = await peer.client.runPodSandbox({ config: pod });
      pods.push(podSandboxId);
      await createContainer(peer, podSandboxId, pod, ["true"]);
      await peer.client.stopPodSandbox({ podSandboxId });
    }
  }
  for (let round = -5; round < rounds; round++) {
    for (const peer of peers) {
      const containers = await timed(() => peer.client.listContainers({}));
      const pods = await timed(() => peer.client.listPodSandbox({}));
      const version = await timed(() => peer.client.version({}));
      if (containers.value.containers.length < count)
        throw new Error(`${peer.name} lists ${containers.value.containers.length} containers`);
      if (round < 0) continue;
      report.add(`ListContainers(${count})`, "ms", peer.name, containers.ms);
      report.add(`ListPodSandbox(${count})`, "ms", peer.name, pods.ms);
      report.add("Version", "ms", peer.name, version.ms);
    }
  }
  for (const [peer, pods] of made) {
    for (const podSandboxId of pods) await peer.client.removePodSandbox({ podSandboxId });
  }
}

/** A container that writes 80-byte lines as fast as they are taken; MiB of payload a second. */
export async function logThroughput({ report, peers, directory }: Context, rounds: number, mebibytes: number): Promise<void> {
  const line = "x".repeat(79);
  for (let round = 0; round < rounds; round++) {
    for (const peer of peers) {
      const pod = podConfig(directory);
      const { podSandboxId } = await peer.client.runPodSandbox({ config: pod });
      // The lines come from a file, so that the log is measured and not how fast a shell's tools make lines.
      const command = ["sh", "-c", `yes ${line} | head -c ${1 << 20} > /tmp/x; for i in $(seq ${mebibytes}); do cat /tmp/x; done`];
      const containerId = await createContainer(peer, podSandboxId, pod, command);
      const started = performance.now();
      await peer.client.startContainer({ containerId });
      const size = await waitExit(peer, containerId, `${pod.logDirectory}/main.log`);
      const seconds = (performance.now() - started) / 1000;
      // The last line of each mebibyte is cut, and goes on in the next one.
      const lines = (mebibytes << 20) / 80;
      if (size < lines * (80 + 39)) throw new Error(`${peer.name} lost log lines: ${size} bytes for ${lines} lines`);
      report.add("log throughput", "MiB/s", peer.name, mebibytes / seconds);
      await peer.client.stopPodSandbox({ podSandboxId });
      await peer.client.removePodSandbox({ podSandboxId });
    }
  }
}

async function waitExit(peer: Peer, containerId: string, log: string): Promise<number> {
  for (let attempt = 0; attempt < 6000; attempt++) {
    const { status } = await peer.client.containerStatus({ containerId });
    // CONTAINER_EXITED
    if (status?.state === 2) return statSync(log).size;
    await sleep(20);
  }
  throw new Error(`${peer.name}: the container does not end`);
}

/** Memory without pods, then with 20. */
export async function memory({ report, peers, directory }: Context): Promise<void> {
  for (const peer of peers) {
    recordMemory(report, peer, "idle");
    const pods: string[] = [];
    for (let at = 0; at < 20; at++) {
      const pod = podConfig(directory);
      const { podSandboxId } = await peer.client.runPodSandbox({ config: pod });
      pods.push(podSandboxId);
      const containerId = await createContainer(peer, podSandboxId, pod, ["sleep", "3600"]);
      await peer.client.startContainer({ containerId });
    }
    recordMemory(report, peer, "20 pods");
    for (const podSandboxId of pods) {
      await peer.client.stopPodSandbox({ podSandboxId });
      await peer.client.removePodSandbox({ podSandboxId });
    }
  }
}

function recordMemory(report: Report, peer: Peer, when: string): void {
  const { rss, pss, pssWithHelpers } = peer.memory();
  report.add(`daemon RSS, ${when}`, "MiB", peer.name, rss);
  report.add(`daemon PSS, ${when}`, "MiB", peer.name, pss);
  report.add(`daemon and helpers PSS, ${when}`, "MiB", peer.name, pssWithHelpers);
}

/** From the start of the process to its first answer. Leaves the daemons running. */
export async function coldStart({ report, peers }: Context, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const peer of peers) {
      await peer.stop();
      report.add("cold start", "ms", peer.name, await peer.start());
    }
  }
}

/** Everything that the other measures need present. */
export async function prepare(peers: Peer[]): Promise<void> {
  for (const peer of peers) await peer.client.pullImage({ image: { image: busybox } });
}

/**
 * The delay of crid's event loop while four pods at a time come and go and one container logs at full speed: the 99th percentile
 * that its metrics give for that time.
 */
export async function loopDelay({ report, peers, directory }: Context, pods: number, metrics: string): Promise<void> {
  for (const peer of peers) {
    const noisyPod = podConfig(directory);
    const { podSandboxId: noisyId } = await peer.client.runPodSandbox({ config: noisyPod });
    const noisy = await createContainer(peer, noisyId, noisyPod, ["sh", "-c", `yes ${"x".repeat(79)} | head -c 4g`]);
    await peer.client.startContainer({ containerId: noisy });
    if (peer.name === "crid") await scrapeLoopDelay(metrics);
    const started = performance.now();
    let left = pods;
    const worker = async (): Promise<void> => {
      while (left-- > 0) {
        const pod = podConfig(directory);
        const { podSandboxId } = await peer.client.runPodSandbox({ config: pod });
        await peer.client.startContainer({ containerId: await createContainer(peer, podSandboxId, pod, ["sleep", "3600"]) });
        await peer.client.stopPodSandbox({ podSandboxId });
        await peer.client.removePodSandbox({ podSandboxId });
      }
    };
    await Promise.all([worker(), worker(), worker(), worker()]);
    report.add("pod cycle, 4 at a time beside a noisy log", "ms", peer.name, (performance.now() - started) / pods);
    if (peer.name === "crid") {
      const { p99, max } = await scrapeLoopDelay(metrics);
      report.add("event loop delay p99 meanwhile", "ms", peer.name, p99);
      report.add("event loop delay max meanwhile", "ms", peer.name, max);
    }
    await peer.client.stopPodSandbox({ podSandboxId: noisyId });
    await peer.client.removePodSandbox({ podSandboxId: noisyId });
  }
}

/** Each scrape covers the time since the one before. */
export async function scrapeLoopDelay(metrics: string): Promise<{ p99: number; max: number }> {
  const text = await (await fetch(`http://${metrics}/metrics`)).text();
  const quantile = (name: string): number =>
    Number(new RegExp(`^crid_event_loop_delay_seconds\\{quantile="${name}"\\} (\\S+)`, "m").exec(text)?.[1]) * 1000;
  return { p99: quantile("0.99"), max: quantile("1") };
}

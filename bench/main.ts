import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Context, coldStart, lists, logThroughput, loopDelay, memory, podLife, prepare } from "./measures.ts";
import { nriPlugin } from "./nri.ts";
import { pulls, rootFileSystems } from "./pulls.ts";
import { Report } from "./report.ts";
import { cridMetrics, makePeers } from "./runtimes.ts";
import { echo, portForward } from "./streaming.ts";
import { openExecs, transfers } from "./streaming-memory.ts";

// Run by hack/bench inside network and mount namespaces of its own, with a registry in them.
const { values } = parseArgs({
  options: {
    json: { type: "string" },
    rounds: { type: "string", default: "20" },
    only: { type: "string", multiple: true },
    large: { type: "boolean", default: false },
    big: { type: "boolean", default: false },
    "big-image": { type: "string" },
    crid: { type: "string" },
    "root-tmpfs": { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
  },
});
const registry = process.env.REGISTRY;
if (registry === undefined) throw new Error("bench: REGISTRY is not set; run it through `npm run bench`");

const rounds = Number(values.rounds);
const directory = mkdtempSync(join(tmpdir(), "crid-bench-"));
// Gone with the mount namespace that this runs in.
if (values["root-tmpfs"]) execFileSync("mount", ["-t", "tmpfs", "-o", "size=8g", "tmpfs", directory]);
const second = 16 + (process.pid % 200);
const { crid, containerd, directories } = makePeers({
  directory,
  ...(values.crid === undefined ? {} : { executable: values.crid }),
  registry,
  subnets: { crid: `10.${second}.0.0/20`, containerd: `10.${second + 1}.0.0/20` },
});
const context: Context = { report: new Report(), peers: [crid, containerd], directory };
const bigImage = values["big-image"] ?? (values.big ? "docker.io/crid/big:1" : undefined);

const measures: [string, () => Promise<void>][] = [
  ["cold-start", () => coldStart(context, rounds)],
  ["memory", () => memory(context)],
  ["pod-life", () => podLife(context, rounds)],
  ["log", () => logThroughput(context, Math.max(3, Math.ceil(rounds / 4)), 64)],
  ["loop-delay", () => loopDelay(context, 40, cridMetrics)],
  ["echo", () => echo(context, Math.max(1, Math.ceil(rounds / 10)), 1000)],
  ["port-forward", () => portForward(context, Math.max(3, Math.ceil(rounds / 4)), 256)],
  ["execs", () => openExecs(context, 500)],
  ["transfers", () => transfers(context, 1024)],
  ["nri", () => nriPlugin(context, 5 * rounds)],
  ["lists", () => lists(context, 100, 5 * rounds)],
  ["pull", () => pulls(context, "a small image", "registry.k8s.io/e2e-test-images/nginx:1.14-2", rounds)],
  ["pull-layers", () => pulls(context, "20 layers", "docker.io/crid/twenty-layers:1", rounds)],
  ["pull-zstd", () => pulls(context, "zstd", "docker.io/crid/zstd:1", rounds)],
];
if (bigImage !== undefined) {
  measures.push(["pull-big", () => pulls(context, "a big image", bigImage, Math.ceil(rounds / 2), { metrics: cridMetrics })]);
  if (values.big)
    measures.push([
      "pull-big-zstd",
      () => pulls(context, "a big image, zstd", "docker.io/crid/big-zstd:1", Math.ceil(rounds / 2), { metrics: cridMetrics }),
    ]);
  measures.push(["rootfs", () => rootFileSystems(context, directories, bigImage, Math.ceil(rounds / 2))]);
}
if (values.large) measures.push(["lists-large", () => lists(context, 1000, rounds)]);

try {
  for (const peer of context.peers) await peer.start();
  await prepare(context.peers);
  for (const [name, measure] of measures) {
    if (values.only !== undefined && !values.only.includes(name)) continue;
    const started = performance.now();
    await measure();
    process.stderr.write(`${name}: ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
  }
  process.stdout.write(`${context.report.toString()}\n`);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(context.report.rows(), undefined, 2)}\n`);
} finally {
  for (const peer of context.peers) await peer.stop();
  for (const peer of [...context.peers, directories]) await peer.close();
  if (values["root-tmpfs"]) execFileSync("umount", ["--lazy", directory]);
  if (!values.keep) rmSync(directory, { recursive: true, force: true });
}

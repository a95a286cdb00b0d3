import { spawn } from "node:child_process";
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readReport, type SpecResult } from "./report.ts";

const repo = join(import.meta.dirname, "../..");
const tools = join(repo, ".tools");
const binary = join(tools, "bin/critest");

/** The spec that pulls an image by a digest that is written into critest. */
export const digestSpec = "public image with digest";

export interface CritestOptions {
  /** The binary; the unmodified one unless given. */
  file?: string;
  socket: string;
  /** Where the runtime serves NRI; critest skips its specs without it. */
  nriSocket: string;
  /** Its report, output and working directory; made when absent. */
  directory: string;
  parallel: number;
  focus?: string | undefined;
  skip?: string | undefined;
  flags?: string[];
}

/**
 * Runs critest once; answers what became of each spec and how long all took. Its output is in `<directory>/critest.log`.
 *
 * @throws when critest wrote no report: it did not come as far as running specs
 */
export async function runCritest(options: CritestOptions): Promise<{ results: SpecResult[]; ms: number }> {
  const { directory, parallel } = options;
  mkdirSync(directory, { recursive: true });
  const report = join(directory, "report.json");
  const endpoint = `unix://${options.socket}`;
  const args = [`-runtime-endpoint=${endpoint}`, `-image-endpoint=${endpoint}`, `-ginkgo.json-report=${report}`, "-ginkgo.no-color"];
  args.push(`-nri-socket=${options.nriSocket}`);
  // ginkgo refuses one process with -parallel 1.
  if (parallel > 1) args.push(`-parallel=${parallel}`);
  if (options.focus !== undefined) args.push(`-ginkgo.focus=${options.focus}`);
  if (options.skip !== undefined) args.push(`-ginkgo.skip=${options.skip}`);
  args.push(...(options.flags ?? []));
  const log = join(directory, "critest.log");
  const output = openSync(log, "w");
  const started = performance.now();
  // Without a configuration file of crictl it reads crictl.yaml of the current directory: there is none in this one.
  const child = spawn(options.file ?? binary, args, {
    cwd: directory,
    stdio: ["ignore", output, output],
    env: { ...process.env, PATH: `${join(tools, "bin")}:${process.env.PATH ?? ""}` },
  });
  closeSync(output);
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", resolve);
  });
  const ms = performance.now() - started;
  if (!existsSync(report)) throw new Error(`critest wrote no report:\n${readFileSync(log, "utf8").split("\n").slice(-30).join("\n")}`);
  const results = readReport(report);
  if (status !== 0 && !results.some(({ outcome }) => outcome === "failed"))
    results.push(failure(`critest ended with ${status}; see ${log}`, ms));
  return { results, ms };
}

/** A failure of critest itself, which no spec stands for. */
function failure(reason: string, ms: number): SpecResult {
  return { name: "critest", group: "critest", outcome: "failed", reason, ms, flaky: false };
}

/** A copy of critest that pulls the local stand-in of the image that has a fixed digest: one hex string is another, all else is the same. */
export function critestWithLocalDigest(directory: string): string {
  const images = JSON.parse(readFileSync(join(tools, "images.json"), "utf8")) as Record<string, string>;
  const repository = "gcr.io/k8s-staging-cri-tools/test-image-digest";
  const digest = images[`${repository}:latest`];
  if (digest === undefined) throw new Error(`.tools/images.json has no ${repository}:latest: run hack/images`);
  const text = readFileSync(binary).toString("latin1");
  const wanted = /test-image-digest@sha256:([0-9a-f]{64})/.exec(text)?.[1];
  if (wanted === undefined) throw new Error("critest names no digest of test-image-digest: another version than 1.37?");
  mkdirSync(directory, { recursive: true });
  const copy = join(directory, "critest");
  writeFileSync(copy, Buffer.from(text.replaceAll(wanted, digest.slice("sha256:".length)), "latin1"));
  chmodSync(copy, 0o755);
  return copy;
}

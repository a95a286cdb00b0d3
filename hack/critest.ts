// Conformance: critest against crid (or, for comparison, containerd). Runs inside hack/isolated; see hack/critest.

import { appendFileSync, chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { benchmarkParameters } from "../test/critest/benchmark.ts";
import { critestWithLocalDigest, digestSpec, runCritest } from "../test/critest/critest.ts";
import type { SpecResult } from "../test/critest/report.ts";
import { Runtime, type RuntimeName } from "../test/critest/runtime.ts";
import { allowedSkips } from "../test/critest/skips.ts";
import { byGroup, flakes, judge } from "../test/critest/verdict.ts";

const { values } = parseArgs({
  options: {
    focus: { type: "string" },
    runs: { type: "string", default: "1" },
    parallel: { type: "string", default: "8" },
    runtime: { type: "string", default: "crid" },
    benchmark: { type: "boolean", default: false },
    json: { type: "string" },
    /** Keeps the directory with critest's output and the runtime's log even when all is well. */
    keep: { type: "boolean", default: false },
  },
});
const registry = process.env.REGISTRY;
if (registry === undefined) fail("this runs in hack/isolated: use hack/critest");
if (values.runtime !== "crid" && values.runtime !== "containerd") fail(`--runtime is crid or containerd, not ${values.runtime}`);
const name: RuntimeName = values.runtime;
const runs = natural("--runs", values.runs);
const parallel = natural("--parallel", values.parallel);

writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
const directory = mkdtempSync(join(tmpdir(), "crid-critest-"));
// The root of a pod's user namespace is nobody to the host, and must get through to its rootfs.
chmodSync(directory, 0o711);
const runtime = new Runtime({ name, directory, registry });
const all: SpecResult[][] = [];
const seconds: number[] = [];
const problems: string[] = [];

await runtime.start();
try {
  for (let run = 1; run <= runs; run++) {
    const { results, ms } = values.benchmark ? await benchmark(run) : await validate(run);
    all.push(results);
    seconds.push(ms / 1000);
    const verdict = judge(results, allowedSkips);
    problems.push(...verdict.problems.map((problem) => (runs > 1 ? `run ${run}: ${problem}` : problem)));
    say(
      `run ${run} of ${runs}: ${(ms / 1000).toFixed(1)} s: ${verdict.passed} passed, ${verdict.failed} failed, ${verdict.skipped} skipped`,
    );
    problems.push(...runtime.leftovers().map((thing) => `left behind by run ${run}: ${thing}`));
    if (!runtime.running) {
      problems.push(`${name} died; see ${runtime.logFile}`);
      break;
    }
  }
} finally {
  await runtime.stop();
}
report();

/** The whole suite over SPDY, the spec of the fixed digest with a copy of critest, then the streaming specs over WebSocket. */
async function validate(run: number): Promise<{ results: SpecResult[]; ms: number }> {
  const { focus } = values;
  const results: SpecResult[] = [];
  const common = { socket: runtime.socket, nriSocket: runtime.nriSocket, parallel };
  const spdy = await runCritest({ ...common, directory: join(directory, `${run}-spdy`), focus, skip: digestSpec });
  results.push(...spdy.results);
  if (focus === undefined || new RegExp(focus).test(`[k8s.io] Image Manager ${digestSpec}`)) {
    const place = join(directory, `${run}-digest`);
    const { results: digest } = await runCritest({
      ...common,
      parallel: 1,
      directory: place,
      focus: digestSpec,
      file: critestWithLocalDigest(place),
    });
    results.push(...digest);
  }
  if (focus === undefined || new RegExp(focus).test("[k8s.io] Streaming")) {
    const flags = ["-websocket-exec", "-websocket-attach", "-websocket-portforward"];
    const place = join(directory, `${run}-websocket`);
    const websocket = await runCritest({ ...common, directory: place, focus: "Streaming", flags });
    results.push(
      ...websocket.results.map((result) => ({ ...result, group: `${result.group} (WebSocket)`, name: `WebSocket: ${result.name}` })),
    );
  }
  return { results, ms: spdy.ms };
}

async function benchmark(run: number): Promise<{ results: SpecResult[]; ms: number }> {
  const place = join(directory, `${run}-benchmark`);
  const flags = ["-benchmark", ...benchmarkParameters(place)];
  return runCritest({ socket: runtime.socket, nriSocket: runtime.nriSocket, parallel: 1, directory: place, focus: values.focus, flags });
}

function report(): void {
  say("");
  for (const line of byGroup(all.flat())) say(line);
  const { passed, failed, skipped, allowed } = judge(all.flat(), allowedSkips);
  for (const [reason, skips] of allowed) say(`skipped: ${skips / all.length} specs: ${reason}`);
  for (const flake of flakes(all)) problems.push(`flaky: ${flake}`);
  for (const problem of problems) say(problem);
  if (process.env.TEST_COUNTS !== undefined) appendFileSync(process.env.TEST_COUNTS, `${passed} ${failed} ${skipped}\n`);
  if (values.json !== undefined)
    writeFileSync(values.json, JSON.stringify({ runtime: name, parallel, seconds, runs: all, problems }, null, 2));
  if (problems.length > 0 || values.keep) say(`critest's output and the log of ${name}: ${directory}`);
  else rmSync(directory, { recursive: true, force: true });
  say(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}

function natural(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) fail(`${option} is a number from 1, not ${text}`);
  return value;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function fail(message: string): never {
  process.stderr.write(`error: ${message}\n`);
  process.exit(2);
}

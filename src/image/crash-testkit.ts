import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { LayerForm } from "../snapshot/snapshotter.ts";

const source = join(import.meta.dirname, "..");

/** All failpoints in the source whose name begins with one of the prefixes: a new one is tested without being listed anywhere. */
export function failpointsOf(...prefixes: string[]): string[] {
  const names = new Set<string>();
  for (const file of readdirSync(source, { recursive: true }).map(String)) {
    if (!file.endsWith(".ts") || file.endsWith(".test.ts")) continue;
    for (const [, name = ""] of readFileSync(join(source, file), "utf8").matchAll(/failpoint\(\s*"([^"]+)"/g))
      if (prefixes.some((prefix) => name.startsWith(prefix))) names.add(name);
  }
  assert.ok(names.size >= prefixes.length, `failpoints that begin with ${prefixes.join(", ")}: ${[...names].join(", ")}`);
  return [...names].sort();
}

let compiledFiles: string | undefined;
/** Most of such a process's time would go into taking the types off the same files each time. */
function compiled(): string {
  if (compiledFiles !== undefined) return compiledFiles;
  const made = mkdtempSync(join(tmpdir(), "crid-compiled-"));
  process.on("exit", () => rmSync(made, { recursive: true, force: true }));
  compiledFiles = made;
  return made;
}

type Act =
  | { do: "pull" | "remove" | "export"; ref: string }
  | { do: "import"; archive: string }
  | { do: "tag" | "untag"; ref: string; name: string }
  /** Checks, and repairs what is wrong. */
  | { do: "repair" }
  /** Without a start before, as `crid state rebuild`. */
  | { do: "rebuild" }
  /** The start itself, which collects what nothing refers to. */
  | { do: "start" };

/** What the process that dies does: pull these first, then, with the failpoint armed, one thing more. */
export interface Doomed {
  root: string;
  form: LayerForm;
  before: string[];
  act: Act;
  /** Configuration. */
  discardUnpackedLayers?: boolean;
  /** As in CRID_FAILPOINTS. */
  point: string;
}

/** Runs it in a process of its own, which the failpoint kills as `kill -9` does. @throws when it was not reached */
export async function dieDuring(doomed: Doomed): Promise<void> {
  const env = { ...process.env, NODE_COMPILE_CACHE: compiled() };
  const script = `import(${JSON.stringify(import.meta.url)}).then(({ doomed }) => doomed(${JSON.stringify(doomed)}))`;
  await assert.rejects(promisify(execFile)(process.execPath, ["-e", script], { env }), (error) => {
    assert.ok(error instanceof Error && "signal" in error);
    assert.equal(error.signal, "SIGKILL", `${doomed.point} was not reached: ${String(error)}`);
    return true;
  });
}

/** The process's part. @public */
export async function doomed({ root, form, before, act, point, discardUnpackedLayers = false }: Doomed): Promise<void> {
  const [{ startNode }, { armFailpoints }, { createReadStream }] = await Promise.all([
    import("./testkit.ts"),
    import("../base/failpoints.ts"),
    import("node:fs"),
  ]);
  if (act.do === "start") armFailpoints(point);
  const { images } = await startNode({ root, form, start: act.do !== "rebuild", images: { discardUnpackedLayers } });
  const o = { signal: AbortSignal.timeout(60_000) };
  for (const ref of before) await images.pull(ref, o);
  armFailpoints(point);
  if (act.do === "pull") await images.pull(act.ref, o);
  if (act.do === "remove") await images.remove(act.ref, o);
  if (act.do === "import") await images.import(createReadStream(act.archive), o);
  if (act.do === "export") for await (const _ of images.export([act.ref], o));
  if (act.do === "tag") images.tag(act.ref, act.name);
  if (act.do === "untag") images.untag(act.name);
  if (act.do === "repair") for await (const _ of images.repair(await images.check(o), o));
  if (act.do === "rebuild") await images.rebuild(o);
  // What goes on in the background is a part of it.
  await images.stop();
  // Not reached: told by the exit code.
  process.exit(3);
}

import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { removeCgroup } from "./cgroups.ts";
import { must, until } from "./shell.ts";

/** Kernel settings without a namespace that a kubelet sets at its start. */
const sysctls = [
  "vm/overcommit_memory",
  "vm/panic_on_oom",
  "kernel/panic",
  "kernel/panic_on_oops",
  "kernel/keys/root_maxkeys",
  "kernel/keys/root_maxbytes",
];

/** What a cluster leaves outside of its namespaces: enough to remove it from another process, also after a crash of the test. */
interface ClusterState {
  /** Pid 1 of the machine's namespaces, with its start time, since pids come again. */
  pid: number;
  started: string;
  cgroup: string;
  disks: string[];
  sysctls: Record<string, string>;
}

export function writeState(directory: string, state: { pid: number; cgroup: string; disks: string[] }): void {
  const settings = sysctls.map((name) => join("/proc/sys", name)).filter((path) => existsSync(path));
  const full: ClusterState = {
    ...state,
    started: startTime(state.pid) ?? "",
    sysctls: Object.fromEntries(settings.map((path) => [path, readFileSync(path, "utf8")])),
  };
  writeFileSync(join(directory, "state.json"), JSON.stringify(full, null, 2));
}

/** Ends a cluster and removes every trace of it. Answers what could not be removed. */
export async function takeDown(directory: string): Promise<string[]> {
  const state = JSON.parse(readFileSync(join(directory, "state.json"), "utf8")) as ClusterState;
  if (startTime(state.pid) === state.started) process.kill(state.pid, "SIGKILL");
  await until("the machine to end", 60_000, () => Promise.resolve(startTime(state.pid) === state.started ? undefined : true));
  for (const disk of state.disks) {
    if (existsSync(disk))
      await until(`${disk} to be unmounted`, 60_000, async () => ((await must(["losetup", "-j", disk])).trim() === "" ? true : undefined));
  }
  const left = await removeCgroup(state.cgroup);
  for (const [path, value] of Object.entries(state.sysctls)) if (readFileSync(path, "utf8") !== value) writeFileSync(path, value);
  rmSync(directory, { recursive: true, force: true });
  return left;
}

/** Field 22 of /proc/PID/stat; undefined when there is no such process, or only what is left for its parent to reap. */
function startTime(pid: number): string | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

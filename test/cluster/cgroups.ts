import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pause } from "./shell.ts";

const mount = "/sys/fs/cgroup";

/** The cgroup in every hierarchy: v1's controllers, and v2 where that is mounted beside them or alone. */
function everywhere(path: string): string[] {
  if (existsSync(join(mount, "cgroup.controllers"))) return [join(mount, path)];
  return readdirSync(mount)
    .map((controller) => join(mount, controller))
    .filter((root) => existsSync(join(root, "cgroup.procs")))
    .map((root) => join(root, path));
}

/** Makes the cgroup in every hierarchy. A v1 cpuset takes no process before it has cpus and memory nodes. */
export function makeCgroup(path: string): void {
  for (const directory of everywhere(path)) {
    mkdirSync(directory, { recursive: true });
    for (const file of ["cpuset.cpus", "cpuset.mems"]) initialise(directory, file);
  }
}

function initialise(directory: string, file: string): void {
  const path = join(directory, file);
  if (!existsSync(path) || readFileSync(path, "utf8").trim() !== "") return;
  const parent = join(directory, "..");
  initialise(parent, file);
  writeFileSync(path, readFileSync(join(parent, file), "utf8"));
}

export function moveToCgroup(path: string, pid: number): void {
  for (const directory of everywhere(path)) writeFileSync(join(directory, "cgroup.procs"), String(pid));
}

/** Removes the cgroup and all below it, whose processes must be ending. Answers the ones that stayed. */
export async function removeCgroup(path: string): Promise<string[]> {
  let left: string[] = [];
  for (let attempt = 0; attempt < 50; attempt++) {
    left = everywhere(path).filter((directory) => !removeTree(directory));
    if (left.length === 0) return [];
    await pause(100);
  }
  return left;
}

function removeTree(directory: string): boolean {
  if (!existsSync(directory)) return true;
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true })) if (entry.isDirectory()) removeTree(join(directory, entry.name));
    rmdirSync(directory);
    return true;
  } catch {
    return !existsSync(directory);
  }
}

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { nowNanos } from "../base/time.ts";
import { type MountEntry, parseMountinfo } from "../linux/mountinfo.ts";
import { type CgroupLayout, directoryOf, findLayout, type Hierarchy, hierarchies, hierarchyOf } from "./layout.ts";
import { type CgroupLimits, cgroupLimits } from "./limits.ts";
import { type MemoryDetail, memoryDetail } from "./memory-detail.ts";
import { parseNumber, parsePressure } from "./parse.ts";
import { type CgroupDriver, cgroupOf, type ProcessCgroups, parseProcCgroup } from "./paths.ts";
import type { CgroupStats, ReadFile, StatsReader } from "./stats.ts";
import { statsV1 } from "./stats-v1.ts";
import { statsV2 } from "./stats-v2.ts";
import { childrenOf, isGone, killTree, processesOf, removeTree } from "./tree.ts";

/**
 * One cgroup: an OCI `cgroupsPath` or the plain path of a cgroup, the same in every hierarchy; or the cgroups that a process
 * was found in.
 */
export type CgroupTarget = string | ProcessCgroups;

const readers: Record<1 | 2, StatsReader> = { 1: statsV1, 2: statsV2 };

/** How many cgroups are read for stats at a time. */
const maxReading = 4;

/** Reads cgroups, and ends them. Makes none: that is the OCI runtime's part. */
export class Cgroups {
  readonly #layout: CgroupLayout;
  readonly #pageSizes: readonly string[];
  readonly #log: Logger;
  #reading = 0;
  readonly #waiting: (() => void)[] = [];

  /** Looks at the mounts once: the hierarchies of a machine do not change while it runs. */
  constructor(options: { log: Logger; mounts?: readonly MountEntry[] }) {
    this.#log = options.log;
    const mounts = options.mounts ?? parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8"));
    this.#layout = findLayout(mounts, (mountPoint) => readText(join(mountPoint, "cgroup.controllers")).trim().split(" "));
    this.#pageSizes = hugepageSizes();
    if (this.#layout.v1.size === 0 && this.#layout.v2 === undefined) this.#log.warn("no cgroup file system is mounted: there are no stats");
  }

  /** 2 when cpu and memory are in the unified hierarchy, else 1 (also in the hybrid layout). */
  get version(): 1 | 2 {
    return this.#layout.version;
  }

  /** Which driver the daemon should use: systemd where it is pid 1 and cgroups are v2, else cgroupfs. */
  detectDriver(): CgroupDriver {
    // sd_booted(3): this directory exists exactly when systemd is the init of this machine.
    return this.version === 2 && existsSync("/run/systemd/system") ? "systemd" : "cgroupfs";
  }

  /** Whether the controller ("memory", "hugetlb") is there, in either version. */
  has(controller: string): boolean {
    return hierarchyOf(this.#layout, controller) !== undefined;
  }

  /** The cgroups of a process. @throws CridError not-found when there is no such process */
  async cgroupPaths(pid: number | "self"): Promise<ProcessCgroups> {
    try {
      return parseProcCgroup(await readFile(`/proc/${pid}/cgroup`, "utf8"));
    } catch (error) {
      if (isErrno(error, "ENOENT") || isErrno(error, "ESRCH"))
        throw new CridError("not-found", `there is no process ${pid}`, { cause: error });
      throw error;
    }
  }

  /** Whether the cgroup exists, in any hierarchy. */
  async exists(target: CgroupTarget): Promise<boolean> {
    for (const dir of this.#directories(target)) {
      const found = await stat(dir).catch((error: unknown) => {
        if (isErrno(error, "ENOENT")) return undefined;
        throw error;
      });
      if (found !== undefined) return true;
    }
    return false;
  }

  /** What the cgroup has used. @throws CridError not-found when it is gone */
  async readStats(target: CgroupTarget): Promise<CgroupStats> {
    // The kubelet asks for all containers at once: some twenty files each, whose reads must not crowd out everything else.
    if (this.#reading >= maxReading) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#reading++;
    try {
      return await this.#readStats(target);
    } finally {
      // Whoever waits takes the place over.
      const next = this.#waiting.shift();
      if (next === undefined) this.#reading--;
      else next();
    }
  }

  async #readStats(target: CgroupTarget): Promise<CgroupStats> {
    const at = nowNanos();
    const [cpu, memory, pids, io, hugetlb, psi] = await Promise.all([
      this.#cpu(target),
      this.#each(target, "memory", (reader, read) => reader.memory(read)),
      this.#pids(target),
      this.#each(target, this.#layout.v1.has("blkio") ? "blkio" : "io", (reader, read) => reader.io(read)),
      this.#hugetlb(target),
      this.#psi(target),
    ]);
    if (cpu === undefined && memory === undefined && pids === undefined) {
      throw new CridError("not-found", `there is no cgroup ${nameOf(target)}`);
    }
    return {
      at,
      ...(cpu !== undefined && { cpu }),
      ...(memory !== undefined && { memory }),
      ...(pids !== undefined && { pids }),
      ...(io !== undefined && { io }),
      ...(hugetlb !== undefined && { hugetlb }),
      ...(psi !== undefined && { psi }),
    };
  }

  /** How many processes of the cgroup the kernel has killed for lack of memory; 0 when the cgroup is gone. */
  async oomKills(target: CgroupTarget): Promise<number> {
    return (await this.#each(target, "memory", (reader, read) => reader.oomKills(read))) ?? 0;
  }

  /** The names of the cgroups right below, in any hierarchy; none when it is gone. */
  async children(target: CgroupTarget): Promise<string[]> {
    const below = await Promise.all(this.#directories(target).map(childrenOf));
    return [...new Set(below.flat())];
  }

  /** What of memory only metrics ask for; empty when the cgroup is gone. */
  async memoryDetail(target: CgroupTarget): Promise<MemoryDetail> {
    const hierarchy = hierarchyOf(this.#layout, "memory");
    const read = hierarchy === undefined ? undefined : this.#reader(target, hierarchy, "memory");
    return hierarchy === undefined || read === undefined ? {} : memoryDetail[hierarchy.version](read);
  }

  /** What the cgroup may use; all 0 when it is gone. */
  async limits(target: CgroupTarget): Promise<CgroupLimits> {
    const readerOf = (controller: string): ReadFile => {
      const hierarchy = hierarchyOf(this.#layout, controller);
      const read = hierarchy === undefined ? undefined : this.#reader(target, hierarchy, controller);
      return read ?? (() => Promise.resolve(undefined));
    };
    return cgroupLimits[this.version](readerOf("cpu"), readerOf("memory"));
  }

  /**
   * Refuses a memory limit that is below what is used now: the kernel would refuse it as well (v1), or kill (v2).
   *
   * @throws CridError failed-precondition
   */
  async checkMemoryLimit(target: CgroupTarget, limit: bigint): Promise<void> {
    const memory = await this.#each(target, "memory", (reader, read) => reader.memory(read));
    if (memory !== undefined && limit > 0n && limit < memory.usage) {
      throw new CridError(
        "failed-precondition",
        `memory limit ${limit} is below the ${memory.usage} bytes that ${nameOf(target)} uses now`,
      );
    }
  }

  /** The processes of the cgroup and of those below it. */
  async pids(target: CgroupTarget): Promise<number[]> {
    const all = new Set<number>();
    for (const dir of this.#directories(target)) {
      for (const pid of await processesOf(dir)) all.add(pid);
    }
    return [...all];
  }

  /**
   * Kills every process of the cgroup and of those below it; returns when the signals are sent (v2) or none is left (v1).
   *
   * @throws CridError invalid-argument for the root of a hierarchy, or when this process is in it.
   */
  async killAll(target: CgroupTarget): Promise<void> {
    this.#refuseRoot(target, "emptied");
    if ((await this.pids(target)).includes(process.pid)) {
      throw new CridError("invalid-argument", `cgroup ${nameOf(target)} holds the daemon itself: its processes are not killed`);
    }
    for (const dir of this.#directories(target)) await killTree(dir);
  }

  /**
   * Removes the cgroup and those below it from every hierarchy. Idempotent.
   *
   * @throws EBUSY while processes are in it; CridError invalid-argument for the root of a hierarchy.
   */
  async remove(target: CgroupTarget): Promise<void> {
    this.#refuseRoot(target, "removed");
    for (const dir of this.#directories(target)) await removeTree(dir);
  }

  #refuseRoot(target: CgroupTarget, what: string): void {
    const roots = hierarchies(this.#layout).map(({ hierarchy }) => join(hierarchy.mountPoint, "."));
    if (this.#directories(target).some((dir) => roots.includes(join(dir, ".")))) {
      throw new CridError("invalid-argument", `cgroup ${nameOf(target)} is the root of a hierarchy and cannot be ${what}`);
    }
  }

  /** The directory of the cgroup in each hierarchy. */
  #directories(target: CgroupTarget): string[] {
    return hierarchies(this.#layout).flatMap(({ hierarchy, controllers }) => {
      const path = pathIn(target, hierarchy, controllers);
      return path === undefined ? [] : [directoryOf(hierarchy, path)];
    });
  }

  #reader(target: CgroupTarget, hierarchy: Hierarchy, controller: string): ReadFile | undefined {
    const path = pathIn(target, hierarchy, [controller]);
    if (path === undefined) return undefined;
    const dir = directoryOf(hierarchy, path);
    return (file) => readOptional(join(dir, file));
  }

  async #each<T>(
    target: CgroupTarget,
    controller: string,
    use: (reader: StatsReader, read: ReadFile) => Promise<T>,
  ): Promise<T | undefined> {
    const hierarchy = hierarchyOf(this.#layout, controller);
    if (hierarchy === undefined) return undefined;
    const read = this.#reader(target, hierarchy, controller);
    return read === undefined ? undefined : use(readers[hierarchy.version], read);
  }

  /** v1 has the times in cpuacct and the throttling in cpu, which are often two mounts. v2's cpu.stat is there without the controller. */
  async #cpu(target: CgroupTarget): Promise<CgroupStats["cpu"]> {
    const { v1, v2 } = this.#layout;
    const accounting = v1.get("cpuacct");
    if (accounting === undefined) {
      const read = v2 === undefined ? undefined : this.#reader(target, v2, "cpu");
      return read === undefined ? undefined : statsV2.cpu(read);
    }
    const times = this.#reader(target, accounting, "cpuacct");
    const cpu = v1.get("cpu");
    const throttling = cpu === undefined ? undefined : this.#reader(target, cpu, "cpu");
    return statsV1.cpu(async (file) => (file === "cpu.stat" ? throttling?.(file) : times?.(file)));
  }

  /** The files are the same in both versions. */
  async #pids(target: CgroupTarget): Promise<CgroupStats["pids"]> {
    return this.#each(target, "pids", async (_reader, read) => {
      const [currentText, maxText] = await Promise.all([read("pids.current"), read("pids.max")]);
      const current = parseNumber(currentText);
      const limit = parseNumber(maxText);
      return current === undefined ? undefined : { current, ...(limit !== undefined && { limit }) };
    });
  }

  async #hugetlb(target: CgroupTarget): Promise<CgroupStats["hugetlb"]> {
    if (this.#pageSizes.length === 0) return undefined;
    return this.#each(target, "hugetlb", async (reader, read) => {
      const all = await Promise.all(this.#pageSizes.map((size) => reader.hugetlb(read, size)));
      return all.filter((one) => one !== undefined);
    });
  }

  async #psi(target: CgroupTarget): Promise<CgroupStats["psi"]> {
    const { v2 } = this.#layout;
    const read = v2 === undefined ? undefined : this.#reader(target, v2, "");
    if (read === undefined) return undefined;
    const [cpu, memory, io] = (await Promise.all(["cpu.pressure", "memory.pressure", "io.pressure"].map(read))).map(parsePressure);
    if (cpu === undefined && memory === undefined && io === undefined) return undefined;
    return { ...(cpu !== undefined && { cpu }), ...(memory !== undefined && { memory }), ...(io !== undefined && { io }) };
  }
}

function pathIn(target: CgroupTarget, hierarchy: Hierarchy, controllers: readonly string[]): string | undefined {
  if (typeof target === "string") return cgroupOf(target);
  if (hierarchy.version === 2) return target.v2;
  return controllers.map((controller) => target.v1.get(controller)).find((path) => path !== undefined);
}

function nameOf(target: CgroupTarget): string {
  return typeof target === "string" ? cgroupOf(target) : (target.v2 ?? target.v1.get("memory") ?? "of the process");
}

/** undefined when the cgroup or the file is not there; EOPNOTSUPP is a feature that is switched off (pressure files). */
async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "latin1");
  } catch (error) {
    if (isGone(error) || isErrno(error, "EOPNOTSUPP") || isErrno(error, "ENOTDIR")) return undefined;
    throw error;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

/** The huge page sizes of this machine as the hugetlb controller names them: /sys/kernel/mm/hugepages/hugepages-2048kB is "2MB". */
function hugepageSizes(): string[] {
  try {
    return readdirSync("/sys/kernel/mm/hugepages").flatMap((name) => {
      const kib = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
      if (kib === 0) return [];
      return kib >= 1 << 20 ? [`${kib >> 20}GB`] : kib >= 1024 ? [`${kib >> 10}MB`] : [`${kib}KB`];
    });
  } catch {
    return [];
  }
}

import { readdir, readFile, readlink } from "node:fs/promises";

/** Numbers of the processes of a container that only metrics ask for. */
export interface ProcessDetail {
  processes: number;
  fileDescriptors: number;
  sockets: number;
  /** The soft limit of open files of the first process; undefined when it is unlimited or unknown. */
  openFilesLimit?: bigint;
}

/** Of a container with more processes only so many are looked at: each costs a few reads of /proc. */
const mostProcesses = 200;

/** Reads /proc; processes that have ended meanwhile count as nothing. The first pid is taken for the container's own process. */
export async function readProcessDetail(pids: readonly number[]): Promise<ProcessDetail> {
  const detail: ProcessDetail = { processes: pids.length, fileDescriptors: 0, sockets: 0 };
  for (const pid of pids.slice(0, mostProcesses)) {
    const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
    detail.fileDescriptors += fds.length;
    const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")));
    detail.sockets += links.filter((link) => link.startsWith("socket:")).length;
  }
  const [first] = pids;
  const limits = first === undefined ? "" : await readFile(`/proc/${first}/limits`, "latin1").catch(() => "");
  const soft = /^Max open files\s+(\d+)\s/m.exec(limits)?.[1];
  return soft === undefined ? detail : { ...detail, openFilesLimit: BigInt(soft) };
}

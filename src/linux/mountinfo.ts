import { readFile } from "node:fs/promises";

/** One line of /proc/PID/mountinfo; see proc(5). */
export interface MountEntry {
  id: number;
  parentId: number;
  device: string;
  /** The directory within the file system that is mounted here; for a bound namespace "net:[4026531840]". */
  root: string;
  mountPoint: string;
  options: string[];
  /** Propagation: "shared:1", "master:2", "unbindable". */
  optional: string[];
  fsType: string;
  source: string;
  superOptions: string[];
}

/** The mounts of this process's mount namespace, in the order they were made. */
export async function readMountinfo(): Promise<MountEntry[]> {
  return parseMountinfo(await readFile("/proc/self/mountinfo", "utf8"));
}

/** @throws Error on a line that is no mountinfo. */
export function parseMountinfo(text: string): MountEntry[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map(parseLine);
}

function parseLine(line: string): MountEntry {
  const fields = line.split(" ");
  const dash = fields.indexOf("-", 6);
  const [id, parentId, device, root, mountPoint, options] = fields;
  const [fsType, source, superOptions] = dash < 0 ? [] : fields.slice(dash + 1);
  if (root === undefined || mountPoint === undefined || options === undefined || fsType === undefined || source === undefined) {
    throw new Error(`mountinfo: cannot read the line ${JSON.stringify(line)}`);
  }
  return {
    id: Number(id),
    parentId: Number(parentId),
    device: device ?? "",
    root: unescapeOctal(root),
    mountPoint: unescapeOctal(mountPoint),
    options: options.split(","),
    optional: fields.slice(6, dash),
    fsType,
    source: unescapeOctal(source),
    superOptions: (superOptions ?? "").split(","),
  };
}

/** The kernel writes space, tab, newline, backslash and # as an octal escape of three digits. Paths are UTF-8 bytes otherwise. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

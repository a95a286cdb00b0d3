import * as flags from "../linux/mount.ts";

const names: Record<string, number> = {
  ro: flags.MS_RDONLY,
  nosuid: flags.MS_NOSUID,
  nodev: flags.MS_NODEV,
  noexec: flags.MS_NOEXEC,
  noatime: flags.MS_NOATIME,
  nodiratime: flags.MS_NODIRATIME,
  relatime: flags.MS_RELATIME,
  strictatime: flags.MS_STRICTATIME,
  sync: flags.MS_SYNCHRONOUS,
  bind: flags.MS_BIND,
  rbind: flags.MS_BIND | flags.MS_REC,
};

/** Options as mount(8) takes them, as mount(2) wants them: a bit mask, and the rest for the file system. */
export function parseMountOptions(options: readonly string[]): { flags: number; data: string } {
  let mask = 0;
  const data: string[] = [];
  for (const option of options) {
    const flag = names[option];
    if (flag !== undefined) mask |= flag;
    else if (option !== "rw" && option !== "defaults") data.push(option);
  }
  return { flags: mask, data: data.join(",") };
}

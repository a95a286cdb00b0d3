import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { CridError, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { readMountinfo } from "../linux/mountinfo.ts";

export interface RdtStatus {
  /** Where resctrl is mounted; "" = nowhere. */
  path: string;
  classes: string[];
}

/** The class of everything that is in no other, in goresctrl's words. */
const ROOT_CLASS = "system/default";

/**
 * Classes of cache and memory bandwidth (Intel RDT, AMD QoS): groups of the kernel's resctrl file system
 * (Documentation/filesystems/resctrl.rst). crid puts containers into groups that are there; it makes and changes none.
 */
export class RdtClasses {
  readonly #ignoreNotEnabled: boolean;
  readonly #log: Logger;
  readonly #mountPoint: () => Promise<string>;

  /**
   * @param options.ignoreNotEnabledErrors without resctrl a container is created without its class, instead of refused
   * @param options.mountPoint for tests
   */
  constructor(options: { ignoreNotEnabledErrors: boolean; log: Logger; mountPoint?: () => Promise<string> }) {
    this.#ignoreNotEnabled = options.ignoreNotEnabledErrors;
    this.#log = options.log.child({ part: "rdt" });
    this.#mountPoint = options.mountPoint ?? resctrlMountPoint;
  }

  /**
   * `linux.intelRdt.closID` for a class. Undefined: there is no resctrl here, and that is to be ignored.
   *
   * @throws failed-precondition when resctrl is not mounted or has no such group, invalid-argument when that can be no group's name
   */
  async resolve(name: string): Promise<{ closID: string } | undefined> {
    const path = await this.#mountPoint();
    if (path === "") {
      const why = `RDT class "${name}": resctrl is not mounted; on a machine that has it: mount -t resctrl resctrl /sys/fs/resctrl`;
      if (!this.#ignoreNotEnabled) throw new CridError("failed-precondition", why);
      this.#log.debug(`ignored: ${why}`);
      return undefined;
    }
    // "/" is the root group's name in the OCI spec.
    if (name === ROOT_CLASS) return { closID: "/" };
    if (name === "." || name === ".." || /[/\n]/.test(name) || Buffer.byteLength(name) >= 4096) {
      throw new CridError("invalid-argument", `RDT class ${JSON.stringify(name)}: must be the name of a directory in ${path}`);
    }
    if (!(await isGroup(join(path, name)))) {
      const { classes } = await this.status();
      throw new CridError(
        "failed-precondition",
        `RDT class "${name}": there is no group ${join(path, name)} (there are: ${classes.join(", ")})`,
      );
    }
    return { closID: name };
  }

  async status(): Promise<RdtStatus> {
    const path = await this.#mountPoint();
    if (path === "") return { path, classes: [] };
    try {
      const names = await readdir(path);
      const groups = await Promise.all(names.map(async (name) => ((await isGroup(join(path, name))) ? [name] : [])));
      return { path, classes: [ROOT_CLASS, ...groups.flat().sort()] };
    } catch (error) {
      this.#log.warn(`resctrl cannot be read: ${messageOf(error)}`);
      return { path, classes: [] };
    }
  }
}

/** mon_groups and info lie beside the groups; only a group has tasks. */
async function isGroup(path: string): Promise<boolean> {
  try {
    return (await stat(join(path, "tasks"))).isFile();
  } catch {
    return false;
  }
}

async function resctrlMountPoint(): Promise<string> {
  return (await readMountinfo()).find(({ fsType }) => fsType === "resctrl")?.mountPoint ?? "";
}

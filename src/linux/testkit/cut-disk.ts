import { execFileSync } from "node:child_process";
import { constants, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closeFd, openFd } from "../files.ts";
import { check, declare } from "../libc.ts";
import { detachAll, mount } from "../mount.ts";

/** EXT4_IOC_SHUTDOWN, the same number as XFS_IOC_GOINGDOWN (linux/fs/ext4/ext4.h, _IOR('X', 125, __u32)). */
const EXT4_IOC_SHUTDOWN = 0x8004_587d;
/**
 * What a cut leaves. "nothing-flushed": only what was synced, the journal's pending part is dropped with the data. "names-flushed": the
 * journal reaches the disk, so that every rename and removal is there, but no data that was not: files without their content.
 */
const goingFlags = { "nothing-flushed": 2, "names-flushed": 1 } as const;
export type Cut = keyof typeof goingFlags;

const cIoctl = declare<(fd: number, request: number, argument: Uint32Array) => number>(
  "int ioctl(int fd, unsigned long request, uint32_t *argument)",
);

/** An ext4 of its own on a loop device over a file in memory, of which the power can be cut. For tests; needs root. */
export class CutDisk implements Disposable {
  /** Where it is mounted. */
  readonly path: string;
  readonly #directory: string;
  readonly #image: string;

  constructor(options: { megabytes: number }) {
    this.#directory = mkdtempSync(join(tmpdir(), "crid-cut-"));
    mount("tmpfs", this.#directory, "tmpfs", 0, `size=${options.megabytes * 2}m`);
    this.path = join(this.#directory, "disk");
    this.#image = join(this.#directory, "image");
    mkdirSync(this.path);
    execFileSync("truncate", ["-s", `${options.megabytes}M`, this.#image]);
    execFileSync("mkfs.ext4", ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", this.#image]);
    this.#mount();
  }

  /** Cuts the power: every call of whoever still uses it fails from now on. Then it is mounted again, as after a reboot. */
  cut(how: Cut): void {
    const fd = openFd(this.path, constants.O_RDONLY);
    try {
      check(cIoctl(fd, EXT4_IOC_SHUTDOWN, Uint32Array.of(goingFlags[how])), "ioctl", this.path, "(shutdown)");
    } finally {
      closeFd(fd);
    }
    // Not lazily: somebody who still has a file open would be a mistake of the test.
    execFileSync("umount", [this.path]);
    this.#mount();
  }

  [Symbol.dispose](): void {
    detachAll(this.path);
    detachAll(this.#directory);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #mount(): void {
    // The kernel's own commit every 5 s would make what is lost depend on the time.
    execFileSync("mount", ["-o", "loop,commit=600", this.#image, this.path]);
  }
}

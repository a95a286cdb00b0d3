import { type CString, check, cstr, declare } from "./libc.ts";

// Values of linux/mount.h.
export const MS_RDONLY = 0x1;
export const MS_NOSUID = 0x2;
export const MS_NODEV = 0x4;
export const MS_NOEXEC = 0x8;
export const MS_SYNCHRONOUS = 0x10;
export const MS_REMOUNT = 0x20;
export const MS_NOSYMFOLLOW = 0x100;
export const MS_NOATIME = 0x400;
export const MS_NODIRATIME = 0x800;
export const MS_BIND = 0x1000;
export const MS_MOVE = 0x2000;
export const MS_REC = 0x4000;
export const MS_SILENT = 0x8000;
export const MS_UNBINDABLE = 0x2_0000;
export const MS_PRIVATE = 0x4_0000;
export const MS_SLAVE = 0x8_0000;
export const MS_SHARED = 0x10_0000;
export const MS_RELATIME = 0x20_0000;
export const MS_STRICTATIME = 0x100_0000;

export const MNT_FORCE = 0x1;
export const MNT_DETACH = 0x2;
export const UMOUNT_NOFOLLOW = 0x8;

const cMount = declare<(source: CString, target: CString, type: CString | null, flags: number, data: CString | null) => number>(
  "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
);
const cUmount = declare<(target: CString, flags: number) => number>("int umount2(const char *target, int flags)");

/** mount(2). `fstype` is "" for bind mounts and changes of flags. The kernel cuts `data` at 4095 bytes: longer is refused with EINVAL. */
export function mount(source: string, target: string, fstype: string, flags: number, data?: string): void {
  const options = data === undefined || data === "" ? null : cstr(data, "mount");
  if (options !== null && Buffer.byteLength(options) > 4095) {
    throw Object.assign(new Error(`mount ${target}: its options are longer than a page`), {
      code: "EINVAL",
      syscall: "mount",
      path: target,
    });
  }
  check(
    cMount(cstr(source, "mount"), cstr(target, "mount"), fstype === "" ? null : cstr(fstype, "mount"), flags, options),
    "mount",
    target,
    `(source ${source}${fstype === "" ? "" : `, type ${fstype}`})`,
  );
}

/** umount2(2). Does not follow a symlink at `target` unless told so. */
export function umount(target: string, flags: number = UMOUNT_NOFOLLOW): void {
  check(cUmount(cstr(target, "umount2"), flags), "umount2", target);
}

/**
 * Unmounts everything that lies at exactly this path, one mount above the other, lazily. Nothing mounted, or no such path, is
 * a success. Used to clean up: afterwards the path is free to be removed.
 */
export function detachAll(target: string): void {
  for (let depth = 0; depth < 64; depth++) {
    try {
      umount(target, MNT_DETACH | UMOUNT_NOFOLLOW);
    } catch (error) {
      if (error instanceof Error && "code" in error && (error.code === "EINVAL" || error.code === "ENOENT")) return;
      throw error;
    }
  }
}

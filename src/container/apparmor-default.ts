import { messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { spawnProcess } from "../linux/spawn.ts";
import { DEFAULT_APPARMOR_PROFILE } from "../oci/security.ts";
import { apparmorLoaded } from "./spec-host.ts";

/** Compiling it takes a fraction of a second; a wedged parser must not keep the daemon from starting. */
const LOAD_TIMEOUT_MS = 20_000;

/**
 * What RuntimeDefault stands for: a container may do what its capabilities and seccomp let it, but not change the kernel through /proc and /sys,
 * mount, or trace what is outside of it. The shim and the OCI runtime, which signal its processes, are unconfined or, on Ubuntu, in a profile
 * of the runtime's name. See apparmor.d(5).
 */
const profile = `#include <tunables/global>

profile ${DEFAULT_APPARMOR_PROFILE} flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/base>

  network,
  capability,
  file,
  umount,
  deny mount,

  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (receive) peer=crun,
  signal (send, receive) peer=${DEFAULT_APPARMOR_PROFILE},
  ptrace (read, readby, trace, tracedby) peer=${DEFAULT_APPARMOR_PROFILE},

  # Of /proc, processes' own files are for writing, and the sysctls that belong to the pod: net, and System V IPC below kernel.
  deny @{PROC}/* w,
  deny @{PROC}/{acpi,asound,bus,driver,fs,irq,scsi,tty}/** w,
  deny @{PROC}/sys/[^kn]** w,
  deny @{PROC}/sys/kernel/[^ms]** w,
  deny @{PROC}/sys/kernel/m[^s]** w,
  deny @{PROC}/sys/kernel/s[^he]** w,
  deny @{PROC}/{sysrq-trigger,kcore,kmem,mem} rwklx,

  # Of /sys, cgroups alone.
  deny /sys/[^f]** wklx,
  deny /sys/f[^s]** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/fs/c[^g]** wklx,
  deny /sys/{firmware,kernel/security,devices/virtual/powercap}/** rwklx,
}
`;

/**
 * Loads the profile that stands for RuntimeDefault, unless there is one of its name: an administrator's own, or that of an earlier start. Without
 * apparmor_parser there is none, and containers run without a profile.
 */
export async function loadDefaultApparmorProfile(options: { log: Logger; signal?: AbortSignal }): Promise<void> {
  const { log, signal } = options;
  if (apparmorLoaded(DEFAULT_APPARMOR_PROFILE)) return;
  const name = { profile: DEFAULT_APPARMOR_PROFILE };
  try {
    const { status, stderr } = await spawnProcess({
      file: "apparmor_parser",
      // Not into the cache of the system's profiles.
      args: ["--skip-cache", "--add"],
      env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin" },
      stdin: Buffer.from(profile),
      timeoutMs: LOAD_TIMEOUT_MS,
      ...(signal && { signal }),
    });
    if (status === 0) log.info(name, "AppArmor profile loaded");
    else
      log.warn(
        { ...name, status, stderr: stderr.toString().trim() },
        "apparmor_parser refuses the default profile: containers run without one",
      );
  } catch (error) {
    log.warn(
      { ...name, error: messageOf(error) },
      "the AppArmor profile could not be loaded: containers run without one. Install apparmor",
    );
  }
}

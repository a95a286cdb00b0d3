import { closeSync, constants, openSync, readlinkSync } from "node:fs";
import { closeFd, openFd } from "./files.ts";
import { check, declare } from "./libc.ts";
import { MS_BIND, mount } from "./mount.ts";

const CLONE_NEWNET = 0x4000_0000;
const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;
const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const IFNAMSIZ = 16;

const cUnshare = declare<(flags: number) => number>("int unshare(int flags)");
const cSetns = declare<(fd: number, type: number) => number>("int setns(int fd, int type)");
const cSocket = declare<(domain: number, type: number, protocol: number) => number>("int socket(int domain, int type, int protocol)");
const cIoctl = declare<(fd: number, request: number, argument: Buffer) => number>(
  "int ioctl(int fd, unsigned long request, void *argument)",
);

const own = "/proc/thread-self/ns/net";

/**
 * Makes a network namespace and binds it to `path`, a new file. Its loopback interface is up. The calling thread enters the new
 * namespace and comes back within this one synchronous call, so that nothing else of the program ever runs inside.
 */
export function makeNetns(path: string): void {
  closeSync(openSync(path, constants.O_RDONLY | constants.O_CREAT | constants.O_EXCL, 0o444));
  awayAndBack(() => {
    check(cUnshare(CLONE_NEWNET), "unshare", path, "(new network namespace)");
    setLinkUp("lo");
    mount(own, path, "", MS_BIND);
  });
}

/**
 * Runs `fn` with the calling thread in the network namespace bound at `path` (or /proc/PID/ns/net). `fn` must be synchronous and
 * must start no thread: descriptors of sockets made in it stay in that namespace, everything else belongs to the thread.
 */
export function enterNetnsSync<T>(path: string, fn: () => T): T {
  const fd = openFd(path, constants.O_RDONLY);
  try {
    return awayAndBack(() => {
      check(cSetns(fd, CLONE_NEWNET), "setns", path);
      return fn();
    });
  } finally {
    closeFd(fd);
  }
}

/** Which namespace a path is, or that of the calling thread: "net:[4026531840]". */
export function netnsIdentity(path: string = own): string {
  return readlinkSync(path);
}

function awayAndBack<T>(fn: () => T): T {
  const home = openFd(own, constants.O_RDONLY);
  const identity = netnsIdentity();
  try {
    return fn();
  } finally {
    goHome(home, identity);
    closeFd(home);
  }
}

/** A daemon left in a pod's namespace would serve and dial there: nothing is safe to do any more but to end at once. */
function goHome(home: number, identity: string): void {
  let cause: unknown;
  try {
    check(cSetns(home, CLONE_NEWNET), "setns", "(back to the host's network namespace)");
    if (netnsIdentity() === identity) return;
  } catch (error) {
    cause = error;
  }
  process.stderr.write(`crid: cannot leave a pod's network namespace, ending: ${String(cause)}\n`);
  process.abort();
}

/** Brings an interface of the calling thread's namespace up. For "lo" the kernel then assigns 127.0.0.1 and ::1 itself. */
export function setLinkUp(name: string): void {
  const fd = check(cSocket(AF_INET, SOCK_DGRAM_CLOEXEC, 0), "socket", name);
  try {
    // struct ifreq: the name, then the flags as a short.
    const request = Buffer.alloc(40);
    if (Buffer.byteLength(name) >= IFNAMSIZ) throw Object.assign(new Error(`interface ${name}: name too long`), { code: "EINVAL" });
    request.write(name, "utf8");
    check(cIoctl(fd, SIOCGIFFLAGS, request), "ioctl", name, "(get flags)");
    const flags = new Uint16Array(request.buffer, request.byteOffset + IFNAMSIZ, 1);
    flags[0] = (flags[0] ?? 0) | IFF_UP;
    check(cIoctl(fd, SIOCSIFFLAGS, request), "ioctl", name, "(set flags)");
  } finally {
    closeFd(fd);
  }
}

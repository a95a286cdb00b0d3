import { constants } from "node:os";
import { closeFd, dupFd } from "./files.ts";
import { cstr, declare, errnoError, optional } from "./libc.ts";

const SETPGROUP = 0x02;
const SETSIGDEF = 0x04;
const SETSIGMASK = 0x08;
const SETSID = 0x80;

type Block = Buffer;
const cSpawn = declare<
  (pid: Int32Array, file: string, actions: Block, attributes: Block, argv: (string | null)[], envp: (string | null)[]) => number
>("int posix_spawnp(int *pid, const char *file, void *actions, void *attributes, const char **argv, const char **envp)");
const actionsInit = declare<(actions: Block) => number>("int posix_spawn_file_actions_init(void *actions)");
const actionsDestroy = declare<(actions: Block) => number>("int posix_spawn_file_actions_destroy(void *actions)");
const addDup2 = declare<(actions: Block, from: number, to: number) => number>(
  "int posix_spawn_file_actions_adddup2(void *actions, int from, int to)",
);
const addOpen = declare<(actions: Block, fd: number, path: string, flags: number, mode: number) => number>(
  "int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)",
);
const addChdir = declare<(actions: Block, path: string) => number>(
  "int posix_spawn_file_actions_addchdir_np(void *actions, const char *path)",
);
const addCloseFrom = optional<(actions: Block, from: number) => number>(
  "int posix_spawn_file_actions_addclosefrom_np(void *actions, int from)",
);
const attrInit = declare<(attributes: Block) => number>("int posix_spawnattr_init(void *attributes)");
const attrSetFlags = declare<(attributes: Block, flags: number) => number>("int posix_spawnattr_setflags(void *attributes, int16_t flags)");
const attrSetDefault = declare<(attributes: Block, set: Block) => number>("int posix_spawnattr_setsigdefault(void *attributes, void *set)");
const attrSetMask = declare<(attributes: Block, set: Block) => number>("int posix_spawnattr_setsigmask(void *attributes, void *set)");
const sigfillset = declare<(set: Block) => number>("int sigfillset(void *set)");
const sigemptyset = declare<(set: Block) => number>("int sigemptyset(void *set)");

// Larger than the C library's types on every architecture: glibc's are 80, 336 and 128 bytes.
const blockSize = 1024;

export interface PosixSpawn {
  /** A path, or a name that is looked up in this process's PATH. */
  file: string;
  /** All of argv, the program's own name first. */
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd?: string | undefined;
  /** What the child gets as descriptors 0, 1, 2 and so on; "null" is /dev/null. Nothing else is passed on. */
  fds: readonly (number | "null")[];
  /** A process group of its own, or a session of its own (without a terminal, out of reach of its SIGHUP). */
  group?: "inherit" | "pgroup" | "session" | undefined;
}

/**
 * Starts a child through posix_spawn and answers its pid. libuv's spawn forks, which copies the page tables: it stops the event
 * loop for 1 to 5 ms, growing with the daemon's memory; this takes about 0.2 ms at any size. All signals are back to their
 * defaults in the child (Node ignores SIGPIPE) and none is blocked. The caller reaps it: see `waitChild`.
 *
 * @throws the errno error of the exec: ENOENT (file or cwd), EACCES, ENOEXEC, E2BIG, EAGAIN and others.
 */
export function posixSpawn(options: PosixSpawn): number {
  const { file, cwd, fds } = options;
  const argv = options.argv.map((text) => text0(text, "argument"));
  const envp = Object.entries(options.env).map(([name, value]) => text0(`${name}=${value}`, "environment"));
  const actions = Buffer.alloc(blockSize);
  const temporary: number[] = [];
  ok(actionsInit(actions), "posix_spawn_file_actions_init");
  try {
    // A source below the targets could be overwritten by an earlier dup2: move it out of the way first.
    const sources = fds.map((fd) => {
      if (fd === "null" || fd >= fds.length) return fd;
      const moved = dupFd(fd, fds.length);
      temporary.push(moved);
      return moved;
    });
    for (const [to, from] of sources.entries()) {
      if (from === "null") ok(addOpen(actions, to, "/dev/null", to === 0 ? 0 : 1, 0), "posix_spawn_file_actions_addopen");
      else ok(addDup2(actions, from, to), "posix_spawn_file_actions_adddup2");
    }
    // Everything this process opens is close-on-exec; what it inherited itself may not be.
    if (addCloseFrom !== undefined) ok(addCloseFrom(actions, fds.length), "posix_spawn_file_actions_addclosefrom_np");
    if (cwd !== undefined) ok(addChdir(actions, text0(cwd, "cwd")), "posix_spawn_file_actions_addchdir_np");
    const pid = new Int32Array(1);
    const errno = cSpawn(pid, text0(file, "file"), actions, attributes(options.group ?? "inherit"), [...argv, null], [...envp, null]);
    if (errno !== 0) throw errnoError(errno, "spawn", cwd === undefined ? file : `${file} in ${cwd}`, file);
    return pid[0] ?? 0;
  } finally {
    actionsDestroy(actions);
    for (const fd of temporary) closeFd(fd);
  }
}

const ready = new Map<string, Block>();

/** The attributes for one way of grouping; made once, as they hold no pointers and are only read. */
function attributes(group: "inherit" | "pgroup" | "session"): Block {
  const known = ready.get(group);
  if (known !== undefined) return known;
  const made = Buffer.alloc(blockSize);
  const [all, none] = [Buffer.alloc(blockSize), Buffer.alloc(blockSize)];
  sigfillset(all);
  sigemptyset(none);
  ok(attrInit(made), "posix_spawnattr_init");
  ok(attrSetDefault(made, all), "posix_spawnattr_setsigdefault");
  ok(attrSetMask(made, none), "posix_spawnattr_setsigmask");
  const grouping = { inherit: 0, pgroup: SETPGROUP, session: SETSID }[group];
  ok(attrSetFlags(made, SETSIGDEF | SETSIGMASK | grouping), "posix_spawnattr_setflags");
  ready.set(group, made);
  return made;
}

function text0(text: string, what: string): string {
  cstr(text, `spawn ${what}`);
  return text;
}

function ok(errno: number, call: string): void {
  if (errno !== 0) throw errnoError(errno, call, errno === constants.errno.ENOMEM ? "(out of memory)" : "");
}

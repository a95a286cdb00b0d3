import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CridError, isErrno } from "../base/errors.ts";
import { spawnProcess } from "../linux/spawn.ts";

/** A pod waits longest for its plugins, which run one after the other beside the shim and the runtime: they get the processor first. */
const pluginNice = -10;

export type CniCommand = "ADD" | "DEL" | "CHECK" | "GC" | "STATUS";

export interface PluginCall {
  command: CniCommand;
  /** The plugin's name: `type` of its configuration. */
  type: string;
  /** What it gets on stdin. */
  conf: Record<string, unknown>;
  containerId: string;
  /** "" when the namespace is gone (DEL), or there is none (GC, STATUS). */
  netnsPath: string;
  ifName: string;
  args: readonly (readonly [string, string])[];
  binDirs: readonly string[];
}

/** A plugin that answered with an error: `code` is the spec's (section 5, "Error"), 0 when it gave none. */
export class CniPluginError extends CridError {
  readonly code: number;

  constructor(code: number, message: string) {
    super(code === 11 || code === 50 || code === 51 ? "unavailable" : "internal", message);
    this.code = code;
  }
}

/**
 * Runs one plugin and answers what it printed. The message of an error begins with the plugin's name; the caller adds network
 * and pod. An abort kills the plugin with all that it started in its process group (the IPAM plugin it delegates to).
 *
 * @throws CniPluginError, CridError failed-precondition when the binary is missing or cannot run, deadline-exceeded, or the
 * signal's reason.
 */
export async function callPlugin(call: PluginCall, options: { signal: AbortSignal }): Promise<{ stdout: string; stderr: string }> {
  const file = findPlugin(call.type, call.binDirs);
  const run = () =>
    spawnProcess({
      file,
      args: [],
      env: pluginEnv(call),
      stdin: Buffer.from(JSON.stringify(call.conf)),
      pgroup: true,
      nice: pluginNice,
      ...options,
    });
  let done: Awaited<ReturnType<typeof run>>;
  try {
    done = await retryBusy(run, options.signal);
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "EACCES") || isErrno(error, "ENOEXEC")) {
      throw new CridError("failed-precondition", `plugin ${call.type}: ${file} cannot be run: ${String(error)}`, { cause: error });
    }
    throw CridError.from(error, `plugin ${call.type}`);
  }
  const [stdout, stderr] = [done.stdout.toString("utf8"), done.stderr.toString("utf8")];
  if (done.status === 0) return { stdout, stderr };
  throw failure(call.type, done.status === null ? `killed by ${done.signal}` : `exit status ${done.status}`, stdout, stderr);
}

/**
 * The path of a plugin's binary.
 *
 * @throws CridError failed-precondition naming the folders that were searched.
 */
export function findPlugin(type: string, binDirs: readonly string[]): string {
  for (const dir of binDirs) {
    const path = join(dir, type);
    if (statSync(path, { throwIfNoEntry: false })?.isFile() === true) return path;
  }
  throw new CridError(
    "failed-precondition",
    `plugin ${type}: not found in ${binDirs.join(", ") || "(no folder is configured)"}; install it there or set cni.binDirs to where it is`,
  );
}

/** A plugin that is just being installed cannot be run yet; libcni waits for it as well. */
async function retryBusy<T>(run: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (!isErrno(error, "ETXTBSY") || attempt >= 5) throw error;
      await sleep(300, undefined, { signal });
    }
  }
}

// What the service manager and Node tell the daemon is not for its children: a plugin that answers to NOTIFY_SOCKET or takes
// LISTEN_FDS would speak in the daemon's name.
const privateEnv =
  /^(NOTIFY_SOCKET|LISTEN_\w+|WATCHDOG_\w+|INVOCATION_ID|JOURNAL_STREAM|MAINPID|MANAGERPID|NODE_(?:OPTIONS|PATH|ENV|CHANNEL_FD|UNIQUE_ID|V8_COVERAGE|TEST_CONTEXT)|npm_\w+|CNI_\w+)$/;
const systemPath = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** The daemon's environment but for what is private, with a PATH on which iptables and nft are, and the call itself. */
function pluginEnv(call: PluginCall): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined && !privateEnv.test(name)) env[name] = value;
  const path = (env.PATH ?? "").split(":").filter((dir) => dir !== "");
  return {
    ...env,
    PATH: [...new Set([...path, ...systemPath])].join(":"),
    CNI_COMMAND: call.command,
    CNI_CONTAINERID: call.containerId,
    CNI_NETNS: call.netnsPath,
    CNI_IFNAME: call.ifName,
    CNI_ARGS: call.args.map(([key, value]) => `${key}=${value}`).join(";"),
    CNI_PATH: call.binDirs.join(":"),
  };
}

/** The plugin prints its error as JSON on stdout; one that crashed may have left something on stderr. */
function failure(type: string, how: string, stdout: string, stderr: string): CniPluginError {
  const said = readError(stdout);
  const parts = [`plugin ${type}: ${said === undefined ? how : said.msg || how}`];
  if (said?.details !== undefined && said.details !== "") parts.push(said.details);
  if (said === undefined && stdout.trim() !== "") parts.push(`it printed ${excerpt(stdout)}`);
  if (stderr.trim() !== "") parts.push(`on stderr: ${excerpt(stderr)}`);
  const code = said?.code ?? 0;
  return new CniPluginError(code, parts.join("; ") + (code === 0 ? "" : ` (code ${code})`));
}

function readError(stdout: string): { code: number; msg: string; details: string } | undefined {
  try {
    const parsed: unknown = JSON.parse(stdout);
    if (typeof parsed !== "object" || parsed === null || !("msg" in parsed || "code" in parsed)) return undefined;
    const { code, msg, details } = parsed as Record<string, unknown>;
    return { code: Number(code ?? 0) || 0, msg: String(msg ?? ""), details: String(details ?? "") };
  } catch {
    return undefined;
  }
}

/** The last 2,000 characters, as the cause stands at the end, on one line. */
function excerpt(text: string): string {
  const line = text.trim().replace(/\s*\n\s*/g, " | ");
  return line.length <= 2000 ? line : `... ${line.slice(-2000)}`;
}

import { isAbsolute, join, posix } from "node:path";
import { parse, TomlError } from "smol-toml";
import * as z from "zod";
import { CridError } from "../../base/errors.ts";
import type { TlsFiles } from "./endpoint.ts";

/** One `[host]` of a hosts.toml, or the root of the file, which describes the registry's own server. */
export interface HostEntry {
  /** Absent on the root entry when the file has no `server`: the registry that the image names. */
  server?: ServerUrl;
  /** Line of the entry in the file, from 1; absent when not found. */
  line?: number;
  capabilities: Set<"pull" | "resolve">;
  tls: TlsFiles;
  /** Whether the entry has any TLS setting at all. */
  explicitTls: boolean;
  headers: Record<string, string | string[]>;
  dialTimeoutMs?: number;
}

export interface ServerUrl {
  scheme: "http" | "https";
  /** With port, as written. */
  host: string;
  /** Root of the API, no slash at the end. */
  path: string;
}

const hostFields = {
  capabilities: z.array(z.string()).optional(),
  ca: z.union([z.string(), z.array(z.string())]).optional(),
  client: z.union([z.string(), z.array(z.union([z.string(), z.tuple([z.string(), z.string()])]))]).optional(),
  skip_verify: z.boolean().optional(),
  header: z.record(z.string(), z.union([z.string(), z.array(z.string())])).optional(),
  override_path: z.boolean().optional(),
  dial_timeout: z.string().optional(),
};
// Unknown keys pass: containerd ignores them, and files are shared with it.
const hostSchema = z.looseObject(hostFields);
const fileSchema = z.looseObject({ ...hostFields, server: z.string().optional(), host: z.record(z.string(), hostSchema).optional() });

/**
 * Reads containerd's hosts.toml (containerd docs/hosts.md): the hosts in the order of the file, then the root entry.
 *
 * @param directory that of the file; relative paths in it start there
 * @throws CridError failed-precondition with the file, the place in it and the reason. containerd logs such a file and goes
 * on without it, that is, to a registry the operator did not want.
 */
export function parseHostsToml(text: string, directory: string): HostEntry[] {
  const file = join(directory, "hosts.toml");
  const content = fileSchema.safeParse(parseToml(text, file));
  if (!content.success) {
    const issue = content.error.issues[0];
    throw broken(file, `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not a hosts file"}`);
  }
  const lines = hostLines(text);
  const hosts = Object.entries(content.data.host ?? {}).map(([server, fields]) => {
    const line = lines.get(server);
    return toEntry(fields, { server, file, directory, ...(line === undefined ? {} : { line }) });
  });
  const { server } = content.data;
  const line = lines.get("");
  const root = toEntry(content.data, {
    file,
    directory,
    ...(server === undefined ? {} : { server }),
    ...(line === undefined ? {} : { line }),
  });
  return [...hosts, root];
}

/** The URL of a server as containerd reads it: https unless it says http, `/v2` appended unless it ends so or the path is to override it. */
export function parseServerUrl(text: string, overridePath: boolean): ServerUrl {
  const url = new URL(text.includes("://") ? text : `https://${text}`);
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new TypeError(`${text}: only http and https`);
  const clean = posix.normalize(url.pathname).replace(/\/+$/, "");
  const path = overridePath || clean.endsWith("/v2") ? clean : `${clean}/v2`;
  return { scheme: url.protocol === "http:" ? "http" : "https", host: url.host, path };
}

function toEntry(fields: z.infer<typeof hostSchema>, at: { server?: string; line?: number; file: string; directory: string }): HostEntry {
  const absolute = (path: string): string => (isAbsolute(path) ? path : join(at.directory, path));
  const where = at.server === undefined ? at.file : `${at.file}: ${at.server}`;
  const entry: HostEntry = {
    capabilities: capabilitiesOf(fields.capabilities, where),
    tls: {
      ca: [fields.ca ?? []].flat().map(absolute),
      client: [fields.client ?? []].flat(1).map((pair) => {
        if (typeof pair === "string") return { cert: absolute(pair) };
        const [cert, key] = pair;
        return key === "" ? { cert: absolute(cert) } : { cert: absolute(cert), key: absolute(key) };
      }),
      skipVerify: fields.skip_verify ?? false,
    },
    explicitTls: fields.ca !== undefined || fields.client !== undefined || fields.skip_verify !== undefined,
    headers: fields.header ?? {},
  };
  if (at.line !== undefined) entry.line = at.line;
  if (fields.dial_timeout !== undefined) entry.dialTimeoutMs = parseGoDuration(fields.dial_timeout, where);
  if (at.server !== undefined && at.server !== "") {
    try {
      entry.server = parseServerUrl(at.server, fields.override_path ?? false);
    } catch (error) {
      throw broken(where, "not a URL", error);
    }
  }
  return entry;
}

function capabilitiesOf(names: readonly string[] | undefined, where: string): Set<"pull" | "resolve"> {
  if (names === undefined || names.length === 0) return new Set(["pull", "resolve"]);
  const found = new Set<"pull" | "resolve">();
  for (const name of names.map((text) => text.toLowerCase())) {
    if (name === "pull" || name === "resolve") found.add(name);
    else if (name !== "push" && name !== "referrers")
      throw broken(where, `unknown capability "${name}"; pull, resolve, push and referrers are known`);
  }
  return found;
}

function parseToml(text: string, file: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof TomlError) throw broken(`${file}:${error.line}`, error.message.split("\n", 1)[0] ?? "not TOML", error);
    throw broken(file, "not TOML", error);
  }
}

/** Go's time.ParseDuration for what a dial timeout may be, in milliseconds. */
function parseGoDuration(text: string, where: string): number {
  const units: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/gy)];
  const length = parts.reduce((sum, part) => sum + part[0].length, 0);
  if (text === "0") return 0;
  if (parts.length === 0 || length !== text.length) throw broken(where, `dial_timeout "${text}" is not a duration such as "5s"`);
  return parts.reduce((sum, [, value, unit]) => sum + Number(value) * (units[unit ?? ""] ?? 0), 0);
}

/** Lines of the `[host."..."]` headers by host, and of `server` under "". The TOML parser keeps no positions. */
function hostLines(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  for (const [index, line] of text.split("\n").entries()) {
    const [, basic, literal, bare] = /^\s*\[\s*host\s*\.\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))/.exec(line) ?? [];
    const host = basic ?? literal ?? bare ?? (/^\s*server\s*=/.test(line) ? "" : undefined);
    if (host !== undefined && !lines.has(host)) lines.set(host, index + 1);
  }
  return lines;
}

function broken(where: string, why: string, cause?: unknown): CridError {
  return new CridError("failed-precondition", `${where}: ${why}`, { cause });
}

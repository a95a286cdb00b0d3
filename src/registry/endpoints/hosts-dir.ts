import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno } from "../../base/errors.ts";
import { type HostEntry, parseHostsToml } from "./hosts-toml.ts";

/** What a folder says about a registry. */
export interface HostsFile {
  /** The file, or the folder when it holds certificates alone. */
  file: string;
  entries: HostEntry[];
}

/**
 * Names of the folder for a registry host, as containerd looks for it: `host_port_` before `host:port`.
 */
export function hostFolderNames(host: string): string[] {
  const colon = host.lastIndexOf(":");
  if (colon <= 0 || host.endsWith("]")) return [host];
  return [`${host.slice(0, colon)}_${host.slice(colon + 1)}_`, host];
}

/**
 * Finds and reads the settings for one folder name in the first root that has it: hosts.toml, else docker's certificate files
 * (`*.crt` authorities, `*.cert` with `*.key` client certificates).
 */
export async function readHostFolder(roots: readonly string[], names: readonly string[]): Promise<HostsFile | undefined> {
  for (const root of roots) {
    for (const name of names) {
      const directory = join(root, name);
      if (!(await isDirectory(directory))) continue;
      const file = join(directory, "hosts.toml");
      const text = await readIfThere(file);
      if (text !== undefined && text.trim() !== "") return { file, entries: parseHostsToml(text, directory) };
      return { file: directory, entries: [await certificateEntry(directory)] };
    }
  }
  return undefined;
}

async function certificateEntry(directory: string): Promise<HostEntry> {
  const files = new Set(await readdir(directory));
  const sorted = [...files].sort((a, b) => (a < b ? -1 : 1));
  const ca = sorted.filter((name) => name.endsWith(".crt")).map((name) => join(directory, name));
  const client = sorted
    .filter((name) => name.endsWith(".cert"))
    .map((name) => {
      const key = `${name.slice(0, -".cert".length)}.key`;
      return files.has(key) ? { cert: join(directory, name), key: join(directory, key) } : { cert: join(directory, name) };
    });
  return {
    capabilities: new Set(["pull", "resolve"]),
    tls: { ca, client, skipVerify: false },
    explicitTls: ca.length > 0 || client.length > 0,
    headers: {},
  };
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return false;
    throw CridError.from(error, `read the registry settings in ${path}`);
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw CridError.from(error, `read the registry settings in ${file}`);
  }
}

import type { BigIntStats } from "node:fs";
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

/** A folder of a registry, and its hosts.toml as it is now. */
interface HostFolder {
  directory: string;
  /** Undefined when it has none. */
  file: { path: string; stamp: string } | undefined;
}

/** Files that were read, as they were then: there is one for each registry. A pull looks at a file, and reads it when it has changed. */
const read = new Map<string, { stamp: string; entries: HostEntry[] | undefined }>();
const maxRead = 256;

/**
 * Finds and reads the settings for one folder name in the first root that has it: hosts.toml, else docker's certificate files
 * (`*.crt` authorities, `*.cert` with `*.key` client certificates).
 */
export async function readHostFolder(roots: readonly string[], names: readonly string[]): Promise<HostsFile | undefined> {
  const folders = await Promise.all(roots.flatMap((root) => names.map((name) => lookAt(join(root, name)))));
  const folder = folders.find((found) => found !== undefined);
  if (folder === undefined) return undefined;
  const { directory, file } = folder;
  const entries = file === undefined ? undefined : await readHosts(file, directory);
  if (file !== undefined && entries !== undefined) return { file: file.path, entries };
  return { file: directory, entries: [await certificateEntry(directory)] };
}

async function lookAt(directory: string): Promise<HostFolder | undefined> {
  const path = join(directory, "hosts.toml");
  const file = await statOf(path);
  if (file !== undefined) return { directory, file: { path, stamp: `${file.ino} ${file.size} ${file.mtimeNs} ${file.ctimeNs}` } };
  return (await statOf(directory))?.isDirectory() === true ? { directory, file: undefined } : undefined;
}

/** Undefined when the file is empty. */
async function readHosts({ path, stamp }: { path: string; stamp: string }, directory: string): Promise<HostEntry[] | undefined> {
  const known = read.get(path);
  if (known?.stamp === stamp) return known.entries;
  const text = await readIfThere(path);
  const entries = text === undefined || text.trim() === "" ? undefined : parseHostsToml(text, directory);
  if (read.size >= maxRead) read.clear();
  read.set(path, { stamp, entries });
  return entries;
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

async function statOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return undefined;
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

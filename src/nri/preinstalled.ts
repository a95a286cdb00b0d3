import { open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { CridError, isErrno } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { parsePluginName } from "./plugin-name.ts";

/** A plugin that lies in the directory and is started with the daemon. */
export interface Preinstalled {
  index: string;
  name: string;
  file: string;
  config: string;
}

/**
 * The executables of a directory that are called NN-name, in their order, with their configuration: `NN-name.conf` or `name.conf` of the
 * other. What can't be a plugin is logged and left out.
 */
export async function findPreinstalled(directories: { plugins: string; configs: string }, log: Logger): Promise<Preinstalled[]> {
  const found: Preinstalled[] = [];
  let names: string[];
  try {
    names = await readdir(directories.plugins);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw CridError.from(error, `look for NRI plugins in ${directories.plugins}`);
  }
  for (const entry of names.sort()) {
    const file = join(directories.plugins, entry);
    try {
      const { mode } = await stat(file);
      if ((mode & 0o170000) !== 0o100000 || (mode & 0o111) === 0) continue;
      const { index, name } = parsePluginName(entry);
      if (await isWasm(file)) throw new CridError("unimplemented", "WebAssembly plugins are not supported");
      found.push({ index, name, file, config: await configOf(directories.configs, index, name) });
    } catch (error) {
      log.warn({ file, err: error }, "not started as an NRI plugin");
    }
  }
  return found;
}

async function configOf(directory: string, index: string, name: string): Promise<string> {
  for (const file of [`${index}-${name}.conf`, `${name}.conf`]) {
    try {
      return await readFile(join(directory, file), "utf8");
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw CridError.from(error, `read its configuration ${join(directory, file)}`);
    }
  }
  return "";
}

async function isWasm(file: string): Promise<boolean> {
  const handle = await open(file, "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.toString("latin1") === "\0asm";
  } finally {
    await handle.close();
  }
}

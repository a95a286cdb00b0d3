import { readFileSync } from "node:fs";

/** A file's text without the last line break; undefined when it cannot be read. A test gives a table of files instead. */
export type Read = (path: string) => string | undefined;

export const readMachine: Read = (path) => {
  try {
    return readFileSync(path, "utf8").trimEnd();
  } catch {
    return undefined;
  }
};

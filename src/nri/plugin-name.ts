import { CridError } from "../base/errors.ts";

/** @throws invalid-argument unless it is two digits */
export function checkIndex(index: string): void {
  if (!/^[0-9]{2}$/.test(index)) throw new CridError("invalid-argument", `plugin index "${index.slice(0, 40)}" is not two digits`);
}

/** @throws invalid-argument for an empty name, or one with other characters than letters, digits and -_.+ */
export function checkName(name: string): void {
  if (!/^[\w.+-]{1,256}$/.test(name))
    throw new CridError("invalid-argument", `plugin name "${name.slice(0, 40)}" is empty, too long, or not of letters, digits and -_.+`);
}

/** `10-name` as index and name, as the files of pre-installed plugins are called. @throws invalid-argument */
export function parsePluginName(text: string): { index: string; name: string } {
  const dash = text.indexOf("-");
  if (dash < 0) throw new CridError("invalid-argument", `"${text}" is not called NN-name`);
  const index = text.slice(0, dash);
  const name = text.slice(dash + 1);
  checkIndex(index);
  checkName(name);
  return { index, name };
}

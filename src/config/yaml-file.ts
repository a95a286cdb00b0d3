import { readFileSync } from "node:fs";
import { load } from "js-yaml";

/** A YAML file of another program, as plain data. @throws ENOENT, and YAMLException with line and column */
export function readYamlFile(path: string): unknown {
  return load(readFileSync(path, "utf8"), { filename: path });
}

/** YAML in an annotation, as plain data. @throws YAMLException */
export function parseYaml(text: string): unknown {
  return load(text);
}

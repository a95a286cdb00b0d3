import { dump } from "js-yaml";
import * as z from "zod";
import { jsonSchema } from "./load.ts";
import type { SchemaNode } from "./nearest.ts";
import { type Config, configSchema } from "./schema.ts";

/** Every key, commented out with its default under its meaning: `crid config default`. */
export function defaultConfigYaml(): string {
  const lines = [
    "# The configuration of crid. Every key is optional; what is commented out here is the default.",
    "# Files in conf.d beside it are merged over it in the order of their names.",
    "# Durations: 30s, 5m, 1h30m. Sizes: 65536, 64Ki, 1Gi.",
  ];
  section(jsonSchema(), { depth: 0, live: true }, lines);
  return `${lines.join("\n")}\n`;
}

/** The configuration in use as YAML that `loadConfig` reads back to the same. */
export function dumpConfig(config: Config): string {
  return dump(z.encode(configSchema, config), { lineWidth: -1 });
}

/** Where a key stands. A section is live, so that taking the # off one of its keys is enough; inside an example it is not. */
interface Place {
  depth: number;
  live: boolean;
}

function section(node: SchemaNode, place: Place, lines: string[]): void {
  for (const [key, child] of Object.entries(node.properties ?? {})) entry(key, child, place, lines);
}

function entry(key: string, node: SchemaNode, { depth, live }: Place, lines: string[]): void {
  const indent = "  ".repeat(depth);
  if (depth === 0) lines.push("");
  lines.push(`${indent}# ${node.description ?? ""}`);
  if (node.properties !== undefined) {
    const present = live && node.default !== undefined;
    lines.push(`${indent}${present ? "" : "# "}${key}:`);
    section(node, { depth: depth + 1, live: present }, lines);
  } else if (typeof node.additionalProperties === "object") {
    lines.push(`${indent}${live ? "" : "# "}${key}:`, `${indent}  # <name>:`);
    section(node.additionalProperties, { depth: depth + 2, live: false }, lines);
  } else {
    lines.push(`${indent}# ${key}:${node.default === undefined ? "" : ` ${inline(node.default)}`}`);
  }
}

/** A default value on one line. */
function inline(value: unknown): string {
  return dump(value, { flowLevel: 0, lineWidth: -1 }).trimEnd();
}

import fs from "node:fs";
import path from "node:path";
import { loadAll } from "js-yaml";
import * as z from "zod";
import { CridError, isErrno, messageOf } from "../base/errors.ts";
import { nearestKey, type SchemaNode } from "./nearest.ts";
import { type Config, configSchema } from "./schema.ts";

export interface ConfigFiles {
  /** Must exist when given. Not given: /etc/crid/config.yaml if it exists, and /etc/crid/conf.d. */
  file?: string;
  /** Its *.yaml files are merged over `file` in the order of their names. */
  dropInDir?: string;
}

const DEFAULT_FILE = "/etc/crid/config.yaml";
const DEFAULT_DROP_IN_DIR = "/etc/crid/conf.d";

type Raw = { [key: string]: unknown };

/**
 * Reads, merges and checks the configuration. Sections merge key by key, lists and single values replace.
 *
 * @throws invalid-argument with every problem, one a line, each with its file and key path
 */
export function loadConfig(options: ConfigFiles = {}): Config {
  const { config, problems } = read(options);
  if (config === undefined || problems.length > 0) {
    throw new CridError("invalid-argument", `configuration: ${problems.join("\n  ")}`);
  }
  return config;
}

/** What is wrong with the configuration, one sentence each; empty when it can be used. */
export function checkConfig(options: ConfigFiles = {}): string[] {
  return read(options).problems;
}

function read(options: ConfigFiles): { config?: Config; problems: string[] } {
  const problems: string[] = [];
  const merged: Raw = {};
  const origins = new Map<string, string>();
  for (const file of filesOf(options, problems)) {
    try {
      merge(merged, parse(file), [], file, origins);
    } catch (error) {
      problems.push(messageOf(error));
    }
  }
  if (problems.length > 0) return { problems };
  withBuiltInHandler(merged);
  const parsed = configSchema.safeParse(merged);
  if (!parsed.success) return { problems: parsed.error.issues.flatMap((issue) => explain(issue, origins)) };
  const config = complete(parsed.data);
  return { config, problems: contradictions(config) };
}

function filesOf(options: ConfigFiles, problems: string[]): string[] {
  const files: string[] = [];
  if (options.file !== undefined) files.push(options.file);
  else if (fs.existsSync(DEFAULT_FILE)) files.push(DEFAULT_FILE);
  const dropInDir = options.dropInDir ?? (options.file === undefined ? DEFAULT_DROP_IN_DIR : undefined);
  if (dropInDir === undefined) return files;
  try {
    const names = fs.readdirSync(dropInDir).filter((name) => name.endsWith(".yaml") && !name.startsWith("."));
    files.push(...names.sort().map((name) => path.join(dropInDir, name)));
  } catch (error) {
    if (!isErrno(error, "ENOENT") || options.dropInDir !== undefined) problems.push(`read ${dropInDir}: ${messageOf(error)}`);
  }
  return files;
}

function parse(file: string): Raw {
  const documents = loadAll(fs.readFileSync(file, "utf8"), { filename: file });
  if (documents.length > 1) throw new Error(`${file}: more than one YAML document`);
  const root = documents[0] ?? {};
  if (!isSection(root)) throw new Error(`${file}: must be a mapping of keys, as \`crid config default\` prints it`);
  return root;
}

/** Merges `from` into `into`. A section without a value (`sandbox:`) says nothing. */
function merge(into: Raw, from: Raw, at: string[], file: string, origins: Map<string, string>): void {
  for (const [key, value] of Object.entries(from)) {
    if (value === null) continue;
    const here = [...at, key];
    origins.set(here.join("."), file);
    const before = Object.hasOwn(into, key) ? into[key] : undefined;
    if (isSection(value)) {
      const section: Raw = isSection(before) ? before : {};
      merge(section, value, here, file, origins);
      define(into, key, section);
    } else {
      define(into, key, value);
    }
  }
}

/** Not a plain assignment: a key `__proto__` must stay a key, and be reported as unknown. */
function define(into: Raw, key: string, value: unknown): void {
  Object.defineProperty(into, key, { value, enumerable: true, writable: true, configurable: true });
}

function isSection(value: unknown): value is Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Who adds a handler should not have to repeat runc. */
function withBuiltInHandler(merged: Raw): void {
  const { runtime } = merged;
  if (isSection(runtime) && isSection(runtime.handlers) && !Object.hasOwn(runtime.handlers, "runc")) {
    runtime.handlers = { runc: {}, ...runtime.handlers };
  }
}

function complete(config: Config): Config {
  const address = config.grpc.address === "" ? path.join(config.state, "crid.sock") : config.grpc.address;
  return { ...config, grpc: { ...config.grpc, address } };
}

/** What no single key is to blame for. */
function contradictions(config: Config): string[] {
  const problems: string[] = [];
  const handlers = Object.keys(config.runtime.handlers);
  if (!handlers.includes(config.runtime.default)) {
    problems.push(`runtime.default: no handler "${config.runtime.default}" in runtime.handlers (there are: ${handlers.join(", ")})`);
  }
  if (Buffer.byteLength(config.grpc.address) > 107) {
    problems.push(`grpc.address: ${config.grpc.address} is longer than the 107 bytes that a unix socket's path may have`);
  }
  if (path.resolve(config.root) === path.resolve(config.state)) {
    problems.push("state: must not be the same directory as root");
  }
  if (config.metrics.address !== "" && !/^(?:\[[0-9a-fA-F:.]+\]|[^:[\]]+):\d{1,5}$/.test(config.metrics.address)) {
    problems.push(`metrics.address: "${config.metrics.address}" is not host:port`);
  }
  return problems;
}

function explain(issue: z.core.$ZodIssue, origins: Map<string, string>): string[] {
  const at = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => {
      const nearest = nearestKey(jsonSchema(), at, key);
      const hint = nearest === undefined ? "; see `crid config default`" : `; did you mean ${nearest}?`;
      return `${where([...at, key], origins)}: unknown key${hint}`;
    });
  }
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    // The alternative whose form it has, else the last, which says most: the others are "" or a plain number.
    const meant = issue.errors.findLast((errors) =>
      errors.some(({ path: inner, code }) => inner.length > 0 || (code !== "invalid_type" && code !== "invalid_value")),
    );
    const best = (meant ?? issue.errors.at(-1) ?? []).slice(0, meant === undefined ? 1 : undefined);
    if (best.length > 0) return best.flatMap((inner) => explain({ ...inner, path: [...issue.path, ...inner.path] }, origins));
  }
  return [`${where(at, origins)}: ${lower(issue.message)}`];
}

function lower(message: string): string {
  return message.replace(/^Invalid (?:input|option): /, "");
}

/** `FILE: key.path`, with the file that set the key or the section around it. */
function where(at: readonly string[], origins: Map<string, string>): string {
  for (let length = at.length; length > 0; length--) {
    const file = origins.get(at.slice(0, length).join("."));
    if (file !== undefined) return `${file}: ${at.join(".")}`;
  }
  return at.join(".");
}

/** The configuration's keys, descriptions and defaults as JSON Schema. */
export function jsonSchema(): SchemaNode {
  return z.toJSONSchema(configSchema, { io: "input" }) as SchemaNode;
}

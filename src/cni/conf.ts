import * as z from "zod";
import { CridError } from "../base/errors.ts";

/** One plugin's part of a network, as its conf file says. */
export interface PluginConf {
  /** The name of the plugin's binary. */
  type: string;
  /** Capabilities it declares as true. */
  capabilities: string[];
  /** All of its configuration. */
  raw: Record<string, unknown>;
}

/** One network: what a `.conflist` file (or the older one-plugin `.conf`) describes. */
export interface NetworkConf {
  name: string;
  cniVersion: string;
  disableCheck: boolean;
  disableGc: boolean;
  plugins: PluginConf[];
}

/** The spec versions that are spoken, oldest first. */
export const cniVersions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

/** Whether version `a` is `b` or later; both must be among `cniVersions`. */
export function atLeast(a: string, b: (typeof cniVersions)[number]): boolean {
  const order: readonly string[] = cniVersions;
  return order.indexOf(a) >= order.indexOf(b);
}

/** What the spec allows in a network's name and a container id. */
export const validName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

const flag = z
  .union([z.boolean(), z.string().regex(/^(true|false)$/i, "expected true or false")])
  .transform((value) => String(value).toLowerCase() === "true");
const pluginShape = z.looseObject({
  type: z.string().regex(/^[^/\0]+$/, "expected the name of a plugin, without a slash"),
  capabilities: z.record(z.string(), z.boolean()).optional(),
});
const networkShape = z.looseObject({
  name: z.string().regex(validName, "expected letters, digits, '.', '_' and '-'"),
  cniVersion: z.string().optional(),
  cniVersions: z.array(z.string()).optional(),
  disableCheck: flag.optional(),
  disableGC: flag.optional(),
  loadOnlyInlinedPlugins: flag.optional(),
  plugins: z.array(pluginShape).min(1, "expected at least one plugin").optional(),
  type: z.string().optional(),
});

/**
 * Reads a network configuration: a list with `plugins`, or a single plugin's with `type` (which becomes a list of one).
 * `besides` gives the plugins that lie as files of their own in the folder named after the network; it is not called for a
 * network that asks for `loadOnlyInlinedPlugins`.
 *
 * @throws CridError invalid-argument saying where and what is wrong.
 */
export function parseNetworkConf(text: string, besides: (name: string) => PluginConf[] = () => []): NetworkConf {
  const { document, value } = read(text, networkShape);
  const cniVersion = pickVersion(value.cniVersion, value.cniVersions);
  const base = {
    name: value.name,
    cniVersion,
    disableCheck: value.disableCheck === true,
    disableGc: value.disableGC === true,
  };
  if (value.plugins === undefined && value.type !== undefined) return { ...base, plugins: [toPlugin(document)] };
  const inlined = Array.isArray(document.plugins) ? document.plugins.map(toPlugin) : [];
  if (value.loadOnlyInlinedPlugins === true) {
    if (inlined.length === 0) throw new CridError("invalid-argument", "loadOnlyInlinedPlugins is true, but there are no plugins");
    return { ...base, plugins: inlined };
  }
  const plugins = [...inlined, ...besides(value.name)];
  if (plugins.length === 0) {
    throw new CridError(
      "invalid-argument",
      `no plugins: neither in "plugins", nor as *.conf files in the folder ${value.name} beside this file`,
    );
  }
  return { ...base, plugins };
}

/**
 * Reads the configuration of a single plugin, a file beside its network's.
 *
 * @throws CridError invalid-argument.
 */
export function parsePluginConf(text: string): PluginConf {
  return toPlugin(read(text, pluginShape).document);
}

/** The network as one self-contained JSON text that `parseNetworkConf` reads back, whatever happens to the files. */
export function formatNetworkConf(conf: NetworkConf): string {
  return JSON.stringify({
    cniVersion: conf.cniVersion,
    name: conf.name,
    ...(conf.disableCheck ? { disableCheck: true } : {}),
    ...(conf.disableGc ? { disableGC: true } : {}),
    loadOnlyInlinedPlugins: true,
    plugins: conf.plugins.map((plugin) => plugin.raw),
  });
}

function read<T>(text: string, shape: z.ZodType<T>): { document: Record<string, unknown>; value: T } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (error) {
    throw new CridError("invalid-argument", `not JSON: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  const checked = shape.safeParse(parsed);
  if (!checked.success) throw new CridError("invalid-argument", issuesOf(checked.error), { cause: checked.error });
  // The plugin gets its configuration as it was written, not as the shape read it.
  return { document: Object(parsed) as Record<string, unknown>, value: checked.data };
}

function toPlugin(raw: unknown): PluginConf {
  const value = pluginShape.parse(raw);
  const capabilities = Object.entries(value.capabilities ?? {}).flatMap(([name, on]) => (on ? [name] : []));
  return { type: value.type, capabilities, raw: Object(raw) as Record<string, unknown> };
}

/**
 * The newest spec version that both sides know: `cniVersions` (since 1.1.0) may offer several. Without any the spec's rule is
 * 0.1.0.
 */
function pickVersion(single: string | undefined, several: string[] | undefined): string {
  const offered = [...(several ?? []), ...(single === undefined || single === "" ? [] : [single])];
  if (offered.length === 0) return "0.1.0";
  const best = cniVersions.findLast((version) => offered.includes(version));
  if (best === undefined) {
    throw new CridError(
      "invalid-argument",
      `cniVersion ${offered.join(", ")}: not known here; known are ${cniVersions[0]} to ${cniVersions.at(-1)}`,
    );
  }
  return best;
}

/** What zod found, in one line: "plugins.0.type: expected ...". */
export function issuesOf(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.length === 0 ? "document" : issue.path.join(".")}: ${issue.message}`).join("; ");
}

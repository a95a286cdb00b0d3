import { normalize } from "node:path";
import type { ResolvedEdits } from "../cdi/cdi.ts";
import type { OciDevice, OciHook, OciHooks, OciMount, OciSpec } from "./spec.ts";

/**
 * Makes the changes that CDI devices ask for, in place. What it adds replaces what there was: variables of the same name, device nodes and
 * mounts at the same path. Nothing may write over environment, mounts, hooks or devices of the spec after it.
 */
export function injectCdiEdits(spec: OciSpec, edits: ResolvedEdits): void {
  const { process, linux } = spec;
  setEnv(process.env, edits.env ?? []);
  for (const node of edits.deviceNodes) {
    // Who runs in the container owns its devices, unless the vendor says otherwise.
    const { uid = process.user.uid || undefined, gid = process.user.gid || undefined, fileMode } = node;
    const device: OciDevice = {
      path: node.path,
      type: node.type as OciDevice["type"],
      major: node.major,
      minor: node.minor,
      ...(fileMode !== undefined && { fileMode }),
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
    };
    linux.devices = [...(linux.devices ?? []).filter(({ path }) => path !== node.path), device];
    if (device.type !== "b" && device.type !== "c") continue;
    const access = node.permissions === "none" ? "" : node.permissions || "rwm";
    const { major, minor } = node;
    linux.resources.devices = [...(linux.resources.devices ?? []), { allow: true, type: device.type, major, minor, access }];
  }
  for (const { hostInterfaceName, name } of edits.netDevices ?? [])
    linux.netDevices = { ...linux.netDevices, [hostInterfaceName]: { name } };
  if (edits.mounts !== undefined && edits.mounts.length > 0) addMounts(spec, edits.mounts);
  for (const { hookName, ...hook } of edits.hooks ?? []) addHook(spec, hookName as keyof OciHooks, hook);
  if (edits.intelRdt !== undefined) linux.intelRdt = edits.intelRdt;
  const gids = process.user.additionalGids;
  for (const gid of edits.additionalGids ?? []) if (gid !== 0 && !gids.includes(gid)) gids.push(gid);
}

/** A variable that is there keeps its place: of several of one name the last, which is the one that counts. */
function setEnv(env: string[], added: readonly string[]): void {
  const nameOf = (entry: string) => entry.split("=", 1)[0];
  for (const entry of added) {
    const at = env.findLastIndex((other) => nameOf(other) === nameOf(entry));
    if (at < 0) env.push(entry);
    else env[at] = entry;
  }
}

function addMounts(spec: OciSpec, added: NonNullable<ResolvedEdits["mounts"]>): void {
  const userns = spec.linux.namespaces.some(({ type }) => type === "user");
  const mounts = [...spec.mounts];
  for (const { hostPath, containerPath, type = "", options = [] } of added) {
    const at = mounts.findIndex(({ destination }) => destination === containerPath);
    if (at >= 0) mounts.splice(at, 1);
    mounts.push({ destination: containerPath, type, source: hostPath, options: userns ? idmapped(type, options) : options });
  }
  // Outer mounts first: a mount over /a hides one at /a/b that came before it. Array.sort is stable.
  spec.mounts = mounts.sort((a, b) => depth(a) - depth(b));
}

/** In a user namespace a host's files would belong to nobody: bind mounts get the container's id maps. */
function idmapped(type: string, options: readonly string[]): string[] {
  if (options.includes("idmap") || options.includes("ridmap")) return [...options];
  const bind = options.findLast((option) => option === "bind" || option === "rbind") ?? (type === "bind" ? "bind" : undefined);
  return bind === undefined ? [...options] : [...options, bind === "rbind" ? "ridmap" : "idmap"];
}

function depth({ destination }: OciMount): number {
  const path = normalize(destination || ".").replace(/(.)\/$/, "$1");
  return path.split("/").length - 1;
}

function addHook(spec: OciSpec, name: keyof OciHooks, hook: OciHook): void {
  spec.hooks = { ...spec.hooks, [name]: [...(spec.hooks?.[name] ?? []), hook] };
}

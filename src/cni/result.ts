import { isIP } from "node:net";
import * as z from "zod";
import { CridError } from "../base/errors.ts";
import { atLeast, issuesOf } from "./conf.ts";

const nullable = <T extends z.ZodType>(shape: T) => shape.nullish().transform((value) => value ?? undefined);
const texts = nullable(z.array(z.string()));
const cidr = z
  .string()
  .refine((text) => isIP(text.split("/")[0] ?? "") !== 0 && /^[^/]+\/\d{1,3}$/.test(text), "expected an address such as 10.1.2.3/24");
const dnsShape = z.looseObject({ nameservers: texts, domain: nullable(z.string()), search: texts, options: texts });
const interfaceShape = z.looseObject({
  name: z.string(),
  mac: nullable(z.string()),
  mtu: nullable(z.number()),
  sandbox: nullable(z.string()),
});
const ipShape = z.looseObject({ address: cidr, gateway: nullable(z.string()), interface: nullable(z.number().int()) });
const routeShape = z.looseObject({ dst: z.string(), gw: nullable(z.string()) });
/** The ip4 and ip6 of 0.1.0 and 0.2.0. */
const oldIpShape = z.looseObject({ ip: cidr, gateway: nullable(z.string()), routes: nullable(z.array(routeShape)) });
const resultShape = z.looseObject({
  cniVersion: nullable(z.string()),
  interfaces: nullable(z.array(interfaceShape)),
  ips: nullable(z.array(ipShape)),
  routes: nullable(z.array(routeShape)),
  dns: nullable(dnsShape),
  ip4: nullable(oldIpShape),
  ip6: nullable(oldIpShape),
});

/** What a network gave a pod, the same for every spec version. */
export interface CniResult {
  cniVersion: string;
  /** Those with a `sandbox` are in the pod, the others on the host. */
  interfaces: { name: string; mac: string; mtu?: number; sandbox: string }[];
  /** `address` with its prefix length; `interface` is an index into `interfaces`. */
  ips: { address: string; gateway?: string; interface?: number }[];
  routes: { dst: string; gw?: string }[];
  dns: { nameservers: string[]; domain: string; search: string[]; options: string[] };
}

/**
 * A plugin's result: `raw` is what it printed (the next plugin's prevResult), with the version filled in from the
 * configuration when the plugin left it out (containernetworking/cni#895).
 */
export interface PluginResult {
  raw: Record<string, unknown>;
  result: CniResult;
}

/** @throws CridError internal when the text is no CNI result. */
export function parseResult(text: string, confVersion: string): PluginResult {
  let parsed: unknown;
  try {
    parsed = text.trim() === "" ? {} : (JSON.parse(text) ?? {});
  } catch (error) {
    throw new CridError("internal", `printed no JSON: ${JSON.stringify(text.slice(0, 500))}`, { cause: error });
  }
  const checked = resultShape.safeParse(parsed);
  if (!checked.success) throw new CridError("internal", `printed no CNI result: ${issuesOf(checked.error)}`, { cause: checked.error });
  const value = checked.data;
  const cniVersion = value.cniVersion === undefined || value.cniVersion === "" ? confVersion : value.cniVersion;
  const old = [value.ip4, value.ip6].filter((one) => one !== undefined);
  return {
    raw: { ...(Object(parsed) as Record<string, unknown>), cniVersion },
    result: {
      cniVersion,
      interfaces: (value.interfaces ?? []).map((one) => ({
        name: one.name,
        mac: one.mac ?? "",
        sandbox: one.sandbox ?? "",
        ...(one.mtu === undefined ? {} : { mtu: one.mtu }),
      })),
      ips: [...(value.ips ?? []), ...old.map((one) => ({ address: one.ip, gateway: one.gateway, interface: undefined }))].map((one) => ({
        address: one.address,
        ...(one.gateway === undefined || one.gateway === "" ? {} : { gateway: one.gateway }),
        ...(one.interface === undefined ? {} : { interface: one.interface }),
      })),
      routes: [...(value.routes ?? []), ...old.flatMap((one) => one.routes ?? [])].map((one) => ({
        dst: one.dst,
        ...(one.gw === undefined || one.gw === "" ? {} : { gw: one.gw }),
      })),
      dns: {
        nameservers: value.dns?.nameservers ?? [],
        domain: value.dns?.domain ?? "",
        search: value.dns?.search ?? [],
        options: value.dns?.options ?? [],
      },
    },
  };
}

/**
 * A raw result as the spec version of the configuration wants it for prevResult: plugins refuse another one. 0.3 and 0.4 have
 * the family of each address as `version`, 1.x leaves it out; the rest is the same.
 */
export function resultAs(raw: Record<string, unknown>, version: string): Record<string, unknown> {
  if (raw.cniVersion === version) return raw;
  const withFamily = atLeast(version, "0.3.0") && !atLeast(version, "1.0.0");
  const ips = Array.isArray(raw.ips)
    ? raw.ips.map((one: Record<string, unknown>) => {
        const { version: _, ...rest } = one;
        return withFamily ? { version: isIP(String(one.address).split("/")[0] ?? "") === 6 ? "6" : "4", ...rest } : rest;
      })
    : undefined;
  return { ...raw, cniVersion: version, ...(ips === undefined ? {} : { ips }) };
}

/**
 * The pod's addresses without prefix lengths, in the plugins' order: those of interface `ifName`; when the result ties none to
 * it, all that are not tied to an interface of the host.
 */
export function podIps(result: CniResult, ifName: string): string[] {
  const interfaceOf = (index: number | undefined) => (index === undefined ? undefined : result.interfaces[index]);
  const on = (test: (one: CniResult["interfaces"][number] | undefined) => boolean): string[] =>
    result.ips.filter((ip) => test(interfaceOf(ip.interface))).map((ip) => ip.address.split("/")[0] ?? "");
  const exact = on((one) => one !== undefined && one.name === ifName && one.sandbox !== "");
  const ips = exact.length > 0 ? exact : on((one) => one === undefined || one.sandbox !== "");
  return [...new Set(ips)];
}

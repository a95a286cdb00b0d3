import { MS_RDONLY, mount } from "./mount.ts";
import { mountFs } from "./mount-api.ts";

/** What mount(2) takes of options: a page, without its last byte. */
const pageBytes = 4095;

/**
 * Mounts an overlay. mount(2) takes one page of options, some sixty layers; beyond that the newer call takes any number, but only kernels from 6.7
 * take the layers one by one.
 *
 * @param options as mount(8) has them: `lowerdir=TOP:...:LOWEST`, `upperdir=...`, `workdir=...`, `index=off`
 */
export function mountOverlay(target: string, options: readonly string[], o: { readonly: boolean }): void {
  const data = options.join(",");
  if (Buffer.byteLength(data) <= pageBytes) return mount("overlay", target, "overlay", o.readonly ? MS_RDONLY : 0, data);
  const pairs = options.flatMap((option): [string, string | true][] => {
    const equals = option.indexOf("=");
    if (equals < 0) return [[option, true]];
    const [key, value] = [option.slice(0, equals), option.slice(equals + 1)];
    return key === "lowerdir" ? value.split(":").map((lower) => ["lowerdir+", lower]) : [[key, value]];
  });
  mountFs({ type: "overlay", source: "overlay", target, options: [...(o.readonly ? [["ro", true] as const] : []), ...pairs] });
}

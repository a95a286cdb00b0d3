import * as z from "zod";
import { isDigest } from "../../base/digest.ts";
import { CridError, isKind } from "../../base/errors.ts";
import type { Descriptor } from "../../registry/descriptor.ts";
import { formatReference, parseReference, repositoryOf } from "../../registry/reference.ts";
import { check, chooseManifest, type Index, type Manifest, parseManifest, parseObject, platformSchema } from "../manifest.ts";
import type { Platform } from "../platform.ts";
import { type ArchivedImage, maxArchiveJsonBytes } from "./archived-image.ts";
import type { StagedArchive } from "./staged-archive.ts";

const maxIndexDepth = 4;
const maxDocuments = 10_000;

/** The full name, written by containerd, docker and BuildKit. */
const containerdName = "io.containerd.image.name";
/** A full name or, as the specification has it, a tag alone (OCI image spec, annotations.md). */
const ociName = "org.opencontainers.image.ref.name";

const layoutSchema = z.object({ imageLayoutVersion: z.string() });
const entrySchema = z.object({
  mediaType: z.string().default(""),
  digest: z.string().refine(isDigest, "is not a digest"),
  size: z.int().min(0),
  annotations: z.record(z.string(), z.string()).nullish(),
  platform: platformSchema,
});
const indexSchema = z.object({ manifests: z.array(entrySchema).max(1000).nullish() });

type Entry = z.infer<typeof entrySchema>;

/**
 * The images of an OCI layout (OCI image spec, image-layout.md), or undefined when the archive is none.
 * @throws invalid-argument, data-loss, unimplemented, as parseManifest; not-found when an image has not the platform
 */
export async function readOciLayout(
  archive: StagedArchive,
  o: { platform: Platform; allPlatforms: boolean },
): Promise<ArchivedImage[] | undefined> {
  const index = await archive.text("index.json", { maxBytes: maxArchiveJsonBytes });
  const layout = await archive.text("oci-layout", { maxBytes: 4096 });
  if (index === undefined || layout === undefined) return undefined;
  const { imageLayoutVersion } = check(layoutSchema, parseObject(layout, "oci-layout"), "oci-layout");
  if (!imageLayoutVersion.startsWith("1."))
    throw new CridError("unimplemented", `the archive is an OCI layout of version ${JSON.stringify(imageLayoutVersion)}; 1 is supported`);
  const { manifests } = check(indexSchema, parseObject(index, "index.json"), "index.json");
  const images: ArchivedImage[] = [];
  for (const group of groups(manifests ?? [])) images.push(await readImage(archive, group, o));
  return images;
}

/** Entries of one name are the platforms of one image; each without a name is an image of its own. */
function groups(entries: Entry[]): Entry[][] {
  const byName = Map.groupBy(entries.entries(), ([index, { annotations }]) => {
    const names = [annotations?.[containerdName] ?? "", annotations?.[ociName] ?? ""];
    return names.every((name) => name === "") ? `#${index}` : names.join(" ");
  });
  return [...byName.values()].map((group) => group.map(([, entry]) => entry));
}

async function readImage(archive: StagedArchive, group: Entry[], o: { platform: Platform; allPlatforms: boolean }): Promise<ArchivedImage> {
  const chosen = chooseEntry(archive, group, o.platform);
  const root: Descriptor = { mediaType: chosen.mediaType, digest: chosen.digest, size: chosen.size };
  const found = await readDown(archive, root, o.platform);
  const others = o.allPlatforms ? await reachable(archive, group) : [];
  return { ...namesOf(chosen), rootDigest: root.digest, ...found, others };
}

function chooseEntry(archive: StagedArchive, group: Entry[], platform: Platform): Entry {
  const [first] = group;
  if (first !== undefined && group.length === 1) return first;
  const manifests = group.map(({ platform: own, mediaType, digest, size }) => ({ mediaType, digest, size, ...platformOf(own) }));
  const what = first?.annotations?.[containerdName] ?? first?.annotations?.[ociName] ?? "image";
  const { digest } = chooseManifest(present(archive, { kind: "index", manifests }), platform, what);
  const entry = group.find((candidate) => candidate.digest === digest);
  if (entry === undefined) throw new CridError("internal", `index.json: no entry ${digest}`);
  return entry;
}

async function readDown(
  archive: StagedArchive,
  root: Descriptor,
  platform: Platform,
): Promise<Pick<ArchivedImage, "documents" | "manifestDigest" | "manifest">> {
  const documents: ArchivedImage["documents"] = [];
  let descriptor = root;
  for (let depth = 0; depth < maxIndexDepth; depth++) {
    const what = `manifest ${descriptor.digest}`;
    const body = await archive.blob(descriptor, { maxBytes: maxArchiveJsonBytes });
    documents.push({ descriptor, body });
    const document = parseManifest(body, descriptor.mediaType, what);
    if (document.kind === "manifest") return { documents, manifestDigest: descriptor.digest, manifest: document };
    descriptor = chooseManifest(present(archive, document), platform, what);
  }
  throw new CridError("invalid-argument", `index ${root.digest}: more than ${maxIndexDepth} indexes inside one another`);
}

/** Tools leave out of an archive what they were not asked for, and leave it in the index. */
function present(archive: StagedArchive, index: Index): Index {
  const there = index.manifests.filter(({ digest }) => archive.has(digest));
  return there.length === 0 ? index : { kind: "index", manifests: there };
}

/** Everything below the entries that the archive has: the documents, configs and layers of all platforms. */
async function reachable(archive: StagedArchive, group: Entry[]): Promise<Descriptor[]> {
  const found = new Map<string, Descriptor>();
  const pending: Descriptor[] = group.map(({ mediaType, digest, size }) => ({ mediaType, digest, size }));
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (found.has(next.digest) || !archive.has(next.digest)) continue;
    if (found.size >= maxDocuments) throw new CridError("invalid-argument", `the archive has an image of more than ${maxDocuments} parts`);
    found.set(next.digest, next);
    const document = await readIfImage(archive, next);
    if (document?.kind === "index") pending.push(...document.manifests);
    else if (document !== undefined)
      for (const part of [document.config, ...document.layers]) if (archive.has(part.digest)) found.set(part.digest, part);
  }
  return [...found.values()];
}

/** Attestations and other artifacts hang in the same index: they are not images, and are left out. */
async function readIfImage(archive: StagedArchive, descriptor: Descriptor): Promise<Manifest | Index | undefined> {
  const body = await archive.blob(descriptor, { maxBytes: maxArchiveJsonBytes });
  try {
    return parseManifest(body, descriptor.mediaType, `manifest ${descriptor.digest}`);
  } catch (error) {
    if (isKind(error, "unimplemented")) return undefined;
    throw error;
  }
}

function namesOf({ annotations }: Entry): Pick<ArchivedImage, "tags" | "plainTag"> {
  const full = annotations?.[containerdName] ?? "";
  const other = annotations?.[ociName] ?? "";
  const plainTag = other === "" || /[:/]/.test(other) ? {} : { plainTag: other };
  const name = full !== "" ? full : plainTag.plainTag === undefined ? other : "";
  if (name === "") return { tags: [], ...plainTag };
  const reference = parseReference(name);
  if (reference.digest !== undefined) return { tags: [], ...plainTag };
  // umoci gives a copy of an entry another tag and leaves the name that it does not know.
  const tag = plainTag.plainTag ?? reference.tag;
  return { tags: [formatReference(parseReference(`${repositoryOf(reference)}:${tag}`))], ...plainTag };
}

function platformOf(platform: Entry["platform"]): { platform?: Platform } {
  return platform === undefined ? {} : { platform };
}

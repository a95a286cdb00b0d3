import { CridError } from "../../base/errors.ts";
import { imageRecord } from "../fixtures.ts";
import type { AdminServices } from "./admin-services.ts";

/** Services that write down what they were asked for, for the tests of handlers. */
export interface TestServices extends AdminServices {
  /** In order: ["tag", "a:1", "b:2"]. */
  readonly did: unknown[][];
  /** The bytes of the archives that were imported. */
  readonly imported: Buffer[];
}

export function testServices(): TestServices {
  const did: unknown[][] = [];
  const imported: Buffer[] = [];
  const record = imageRecord("sha256:abc");
  const missing = (what: string): never => {
    throw new CridError("not-found", `no image "${what}"`);
  };
  const blob = Buffer.from("blob");
  return {
    did,
    imported,
    images: {
      get: (ref) => (ref === "gone" ? undefined : record),
      list: () => [record],
      pulls: () => [],
      async pull(ref, { auth, platform }) {
        did.push(["pull", ref, auth, ...(platform === undefined ? [] : [platform])]);
        return record;
      },
      async import(archive, { name, platform, allPlatforms }) {
        for await (const piece of archive) imported.push(piece);
        did.push(["import", name, platform, allPlatforms]);
        return [record];
      },
      async *export(refs, { allPlatforms }) {
        did.push(["export", refs, allPlatforms]);
        yield Buffer.from("archive");
      },
      mount: async (ref) => (ref === "gone" ? missing(ref) : { imageId: record.id, path: "/run/x" }),
      unmount: async (what) => void did.push(["unmount", what]),
      hostMounts: async () => [{ imageId: record.id, path: "/run/x" }],
      tag(ref, name) {
        did.push(["tag", ref, name]);
        return record;
      },
      untag: (name) => void did.push(["untag", name]),
      remove: async (ref) => void did.push(["remove", ref]),
      check: async ({ onProgress }) => {
        onProgress({ done: 1, total: 2 });
        return [{ imageId: record.id, repoTags: record.repoTags, kind: "blob-missing", name: "sha256:b", detail: "" }];
      },
      async *repair(faults) {
        for (const { imageId, repoTags } of faults) yield { imageId, repoTags, outcome: "repaired", detail: "" };
      },
      rebuild: async () => ({ restored: [record], skipped: [{ what: "x", why: "y" }] }),
    },
    content: {
      async *list() {
        yield { digest: "sha256:def", size: 5, modifiedMs: 7.5 };
        yield { digest: "sha256:nobody", size: 6, modifiedMs: 8 };
      },
      stat: async (digest) => (digest.endsWith("0") ? undefined : { size: blob.length }),
      async *open() {
        yield blob;
      },
    },
    registry: {
      explain: async (ref) => ({
        reference: `full/${ref}`,
        endpoints: [
          { ...endpoint, answer: { ok: true, digest: "sha256:d", mediaType: "m", ms: 3 } },
          { ...endpoint, answer: { ok: false, detail: "404", ms: 4 } },
        ],
      }),
    },
  };
}

const endpoint = {
  url: "https://r/v2",
  role: "mirror" as const,
  source: "file:1",
  capabilities: ["pull"],
  path: "app",
  namespace: "",
  credentials: "none",
  proxy: "",
  tls: "",
  penaltyMs: 1.5,
};

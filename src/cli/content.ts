import { family } from "./subcommands.ts";

export const command = family({
  name: "content",
  summary: "Blobs of images: manifests, configs, layers as they came.",
  commands: {
    ls: () => import("./content/ls.ts"),
    get: () => import("./content/get.ts"),
  },
});

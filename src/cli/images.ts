import { family } from "./subcommands.ts";

export const command = family({
  name: "images",
  summary: "Images of the node: list, pull, import, export, look inside, check.",
  commands: {
    ls: () => import("./images/ls.ts"),
    pull: () => import("./images/pull.ts"),
    import: () => import("./images/import.ts"),
    export: () => import("./images/export.ts"),
    mount: () => import("./images/mount.ts"),
    unmount: () => import("./images/unmount.ts"),
    tag: () => import("./images/tag.ts"),
    rm: () => import("./images/rm.ts"),
    check: () => import("./images/check.ts"),
  },
});

import { family } from "./subcommands.ts";

export const command = family({
  name: "registry",
  summary: "Where images come from.",
  commands: { explain: () => import("./registry/explain.ts") },
});

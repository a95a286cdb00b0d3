import { family } from "./subcommands.ts";

export const command = family({
  name: "state",
  summary: "What the daemon remembers.",
  commands: { rebuild: () => import("./state/rebuild.ts") },
});

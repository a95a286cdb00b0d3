import { version } from "../version.ts";
import type { Command } from "./command.ts";

export const command: Command = {
  usage: "",
  summary: "Prints the version.",
  async run() {
    process.stdout.write(`crid ${version}\n`);
    return 0;
  },
};

import { parseArgs } from "node:util";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { type Command, usageError } from "../command.ts";

export const command: Command = {
  usage: `${connectionUsage} IMAGE|PATH... | --all`,
  summary: "Ends what images mount has begun.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { ...connectionOptions, all: { type: "boolean", default: false } },
    });
    if ((positionals.length === 0) !== values.all) throw usageError("images unmount needs images or paths, or --all");
    await withDaemon(values, async (client, o) => {
      const whats = values.all ? (await client.listMounts({}, o)).mounts.map(({ path }) => path) : positionals;
      for (const what of whats) await client.unmountImage({ what }, o);
    });
    return 0;
  },
};

import { parseArgs } from "node:util";
import { CridError } from "../../base/errors.ts";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { type Command, usageError } from "../command.ts";
import { print } from "../output.ts";

export const command: Command = {
  usage: `[--name-only] ${connectionUsage} IMAGE...`,
  summary: "Removes images with all their names, as crictl rmi does. --name-only: takes only that name away.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { ...connectionOptions, "name-only": { type: "boolean", default: false } },
    });
    if (positionals.length === 0) throw usageError("images rm needs an image");
    const missing: string[] = [];
    await withDaemon(values, async (client, o) => {
      for (const ref of positionals) {
        const { removed } = await client.removeImage({ ref, nameOnly: values["name-only"] }, o);
        if (removed) print(`removed ${ref}\n`);
        else missing.push(ref);
      }
    });
    if (missing.length > 0) throw new CridError("not-found", `no image ${missing.map((ref) => JSON.stringify(ref)).join(", ")}`);
    return 0;
  },
};

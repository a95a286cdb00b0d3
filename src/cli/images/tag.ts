import { parseArgs } from "node:util";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { type Command, usageError } from "../command.ts";

export const command: Command = {
  usage: `${connectionUsage} IMAGE NAME...`,
  summary: "Gives an image more names. A name that another image has moves.",
  async run(args) {
    const { values, positionals } = parseArgs({ args, allowPositionals: true, options: connectionOptions });
    const [ref, ...names] = positionals;
    if (ref === undefined || names.length === 0) throw usageError("images tag needs an image and a name");
    await withDaemon(values, async (client, o) => {
      for (const name of names) await client.tagImage({ ref, name }, o);
    });
    return 0;
  },
};

import { parseArgs } from "node:util";
import { isKind } from "../../base/errors.ts";
import { connectionOptions, withDaemon } from "../admin/connection.ts";
import { type Command, usageError } from "../command.ts";
import { json, print } from "../output.ts";

interface Rebuilt {
  restored: { id: string; tags: readonly string[] }[];
  skipped: { what: string; why: string }[];
}

export const command: Command = {
  usage: "[--json] [--config FILE | --address SOCKET]",
  summary:
    "Makes lost records of images anew, from the content store. Meant for when the database is lost, before the daemon is started; a daemon that runs is asked to do it. Exit code 2: not all could be brought back.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { ...connectionOptions, json: { type: "boolean", default: false } },
    });
    if (positionals.length > 0) throw usageError("state rebuild takes no argument");
    const { restored, skipped } = await rebuild(values);
    if (values.json) print(json({ restored, skipped }));
    else {
      for (const { id, tags } of restored) print(`restored ${tags.join(", ") || "an image without a name"}: ${id}\n`);
      for (const { what, why } of skipped) print(`skipped ${what}: ${why}\n`);
      print(`${restored.length} images restored, ${skipped.length} skipped\n`);
    }
    return skipped.length > 0 ? 2 : 0;
  },
};

async function rebuild(values: { address?: string | undefined; config?: string | undefined }): Promise<Rebuilt> {
  try {
    return await withDaemon(values, (client, o) => client.rebuildState({}, o));
  } catch (error) {
    if (!isKind(error, "unavailable") || values.address !== undefined) throw error;
  }
  const { rebuildOffline } = await import("./offline.ts");
  return rebuildOffline(values.config);
}

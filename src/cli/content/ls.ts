import { parseArgs } from "node:util";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { type Command, usageError } from "../command.ts";
import { bytesText, json, print, shortDigest, table } from "../output.ts";

export const command: Command = {
  usage: `[-q] [--json] ${connectionUsage}`,
  summary: "Lists all blobs, and the images that have each. -q: only digests.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { ...connectionOptions, quiet: { type: "boolean", short: "q", default: false }, json: { type: "boolean", default: false } },
    });
    if (positionals.length > 0) throw usageError("content ls takes no argument; content get DIGEST prints one");
    const blobs = await withDaemon(values, async (client, o) => {
      const pages = await Array.fromAsync(client.listContent({}, o));
      return pages.flatMap((page) => page.blobs);
    });
    if (values.json) print(json({ blobs }));
    else if (values.quiet) for (const { digest } of blobs) print(`${digest}\n`);
    else {
      const rows = blobs.map(({ digest, size, modifiedAtMs, imageIds }) => [
        digest,
        bytesText(size),
        new Date(Number(modifiedAtMs)).toISOString().slice(0, 19).replace("T", " "),
        imageIds.map(shortDigest).join(","),
      ]);
      print(table(["DIGEST", "SIZE", "WRITTEN (UTC)", "IMAGES"], rows));
    }
    return 0;
  },
};

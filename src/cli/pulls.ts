import { parseArgs } from "node:util";
import { connectionOptions, connectionUsage, withDaemon } from "./admin/connection.ts";
import { type Command, usageError } from "./command.ts";
import { bytesText, json, print, table } from "./output.ts";

export const command: Command = {
  usage: `[--json] ${connectionUsage}`,
  summary: "Lists the pulls under way, the kubelet's too, with what they have so far.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { ...connectionOptions, json: { type: "boolean", default: false } },
    });
    if (positionals.length > 0) throw usageError("pulls takes no argument");
    const { pulls } = await withDaemon(values, (client, o) => client.listPulls({}, o));
    const rows = pulls.map(({ ref, startedAtMs, blobs }) => {
      const sum = (key: "bytes" | "size"): bigint => blobs.reduce((total, blob) => total + blob[key], 0n);
      const done = blobs.filter(({ state }) => state === "done").length;
      const seconds = Math.max(0, (Date.now() - Number(startedAtMs)) / 1000).toFixed(0);
      const layers = blobs.length === 0 ? "resolving" : `${done} of ${blobs.length}`;
      return [ref, `${seconds} s`, layers, blobs.length === 0 ? "" : `${bytesText(sum("bytes"))} of ${bytesText(sum("size"))}`];
    });
    print(values.json ? json({ pulls }) : table(["IMAGE", "SINCE", "PARTS", "BYTES"], rows));
    return 0;
  },
};

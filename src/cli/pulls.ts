import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { crid } from "../../api/crid/admin/v1/admin.js";
import type { AdminClient } from "./admin/admin-client.ts";
import { connectionOptions, connectionUsage, withDaemon } from "./admin/connection.ts";
import { type Command, usageError } from "./command.ts";
import { bytesText, json, print, table } from "./output.ts";
import { PullsView } from "./pulls-view.ts";

type Pull = InstanceType<typeof crid.admin.v1.Pull>;

const lookEveryMs = 250;

export const command: Command = {
  usage: `[-w] [--json] ${connectionUsage}`,
  summary:
    "Lists the pulls under way, the kubelet's too, with what they have so far. -w: goes on until it is interrupted; a bar a layer on a terminal, a line a change in a pipe, with --json a line of JSON.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        ...connectionOptions,
        watch: { type: "boolean", short: "w", default: false },
        json: { type: "boolean", default: false },
      },
    });
    if (positionals.length > 0) throw usageError("pulls takes no argument");
    await withDaemon(values, async (client, o) => {
      if (values.watch) return watch(client, { json: values.json, ...o });
      const { pulls } = await client.listPulls({}, o);
      print(values.json ? json({ pulls }) : table(["IMAGE", "SINCE", "PARTS", "BYTES"], pulls.map(row)));
    });
    return 0;
  },
};

/** Until interrupted, which is how it is meant to end. */
async function watch(client: AdminClient, o: { json: boolean; signal: AbortSignal }): Promise<void> {
  const view = new PullsView(process.stdout);
  let last = "";
  try {
    for (;;) {
      const { pulls } = await client.listPulls({}, o);
      if (o.json) {
        const text = JSON.stringify(JSON.parse(json({ pulls })));
        if (text !== last) print(`${text}\n`);
        last = text;
      } else view.show(pulls);
      await sleep(lookEveryMs, undefined, { signal: o.signal });
    }
  } catch (error) {
    if (!o.signal.aborted) throw error;
  }
}

function row({ ref, startedAtMs, blobs }: Pull): string[] {
  const sum = (key: "bytes" | "size"): bigint => blobs.reduce((total, blob) => total + blob[key], 0n);
  const done = blobs.filter(({ state }) => state === "done").length;
  const seconds = Math.max(0, (Date.now() - Number(startedAtMs)) / 1000).toFixed(0);
  const layers = blobs.length === 0 ? "resolving" : `${done} of ${blobs.length}`;
  return [ref, `${seconds} s`, layers, blobs.length === 0 ? "" : `${bytesText(sum("bytes"))} of ${bytesText(sum("size"))}`];
}

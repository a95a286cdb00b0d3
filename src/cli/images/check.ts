import { parseArgs } from "node:util";
import type { crid } from "../../../api/crid/admin/v1/admin.js";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { type Command, usageError } from "../command.ts";
import { json, print, shortDigest } from "../output.ts";
import { progressView } from "../progress-view.ts";

type V1 = typeof crid.admin.v1;

export const command: Command = {
  usage: `[--repair] [--json] ${connectionUsage}`,
  summary:
    "Reads all blobs and looks at all layers of the images. --repair: makes layers anew, fetches blobs again, and removes what cannot be had. Exit code 2: something is wrong, or was and could not be repaired.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { ...connectionOptions, repair: { type: "boolean", default: false }, json: { type: "boolean", default: false } },
    });
    if (positionals.length > 0) throw usageError("images check takes no image: it checks all");
    const faults: InstanceType<V1["Fault"]>[] = [];
    const repairs: InstanceType<V1["Repair"]>[] = [];
    const view = progressView(process.stdout, { quiet: values.json || !process.stdout.isTTY });
    await withDaemon(values, async (client, o) => {
      for await (const { progress, fault, repair } of client.checkImages({ repair: values.repair }, o)) {
        if (progress !== null && progress !== undefined) {
          view.show(`checked ${progress.done} of ${progress.total} blobs and layers`, undefined);
        }
        if (fault !== null && fault !== undefined) {
          view.end();
          faults.push(fault);
          if (!values.json) print(`${nameOf(fault)}: ${fault.kind} ${fault.name}${fault.detail === "" ? "" : `: ${fault.detail}`}\n`);
        }
        if (repair !== null && repair !== undefined) {
          repairs.push(repair);
          if (!values.json) print(`${nameOf(repair)}: ${repair.outcome}${repair.detail === "" ? "" : `: ${repair.detail}`}\n`);
        }
      }
    });
    if (values.json) print(json({ faults, repairs }));
    else if (faults.length === 0) print(`everything is there and whole\n`);
    const mended = repairs.filter(({ outcome }) => outcome === "repaired" || outcome === "archives-dropped");
    const broken = new Set(faults.map(({ imageId }) => imageId)).size - mended.length;
    return broken > 0 ? 2 : 0;
  },
};

function nameOf({ tags, imageId }: { tags: readonly string[]; imageId: string }): string {
  return tags[0] ?? shortDigest(imageId);
}

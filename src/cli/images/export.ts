import { parseArgs } from "node:util";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { type Command, usageError } from "../command.ts";
import { bytesText } from "../output.ts";
import { progressView } from "../progress-view.ts";
import { writeTo } from "../write-file.ts";

export const command: Command = {
  usage: `[-o FILE] [--all-platforms] [-q] ${connectionUsage} IMAGE...`,
  summary:
    "Writes images as one archive, an OCI layout that docker load reads too, to a file or to stdout. The same images give the same bytes.",
  async run(args) {
    const { values, positionals: refs } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        ...connectionOptions,
        output: { type: "string", short: "o", default: "-" },
        "all-platforms": { type: "boolean", default: false },
        quiet: { type: "boolean", short: "q", default: false },
      },
    });
    if (refs.length === 0) throw usageError("images export needs an image");
    const { output, "all-platforms": allPlatforms } = values;
    if (output === "-" && process.stdout.isTTY)
      throw usageError("images export writes an archive, not to a terminal: give -o FILE or a pipe");
    // stdout may be the archive.
    const view = progressView(process.stderr, { quiet: values.quiet || !process.stderr.isTTY });
    await withDaemon(values, async (client, o) => {
      const pieces = client.exportImages({ refs, allPlatforms }, o);
      let shown = 0;
      await writeTo(output, dataOf(pieces), (bytes) => {
        if (bytes - shown < 4 * 1024 * 1024) return;
        shown = bytes;
        view.show(`${refs.join(", ")}: ${bytesText(bytes)} written`, undefined);
      });
    });
    view.end();
    return 0;
  },
};

async function* dataOf(pieces: AsyncIterable<{ data: Uint8Array }>): AsyncGenerator<Uint8Array> {
  for await (const { data } of pieces) yield data;
}

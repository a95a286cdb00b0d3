import { parseArgs } from "node:util";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { type Command, usageError } from "../command.ts";
import { writeTo } from "../write-file.ts";

export const command: Command = {
  usage: `[-o FILE] ${connectionUsage} DIGEST`,
  summary: "Writes a blob to stdout or a file; fails when it is damaged.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { ...connectionOptions, output: { type: "string", short: "o", default: "-" } },
    });
    const [digest, ...more] = positionals;
    if (digest === undefined || more.length > 0) throw usageError("content get needs one digest");
    await withDaemon(values, (client, o) => writeTo(values.output, dataOf(client.readContent({ digest }, o))));
    return 0;
  },
};

async function* dataOf(pieces: AsyncIterable<{ data: Uint8Array }>): AsyncGenerator<Uint8Array> {
  for await (const { data } of pieces) yield data;
}

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { parseArgs } from "node:util";
import { CridError } from "../../base/errors.ts";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { type Command, usageError } from "../command.ts";
import { bytesText, json, print } from "../output.ts";
import { progressView } from "../progress-view.ts";

const pieceBytes = 256 * 1024;

export const command: Command = {
  usage: `[--name NAME] [--platform OS/ARCH | --all-platforms] [-q] [--json] ${connectionUsage} FILE|-`,
  summary:
    "Imports the images of an archive (OCI layout or docker save; tar, gzip or zstd; - = stdin). --name: for an archive that does not name its image. --all-platforms: keep the other platforms for an export.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        ...connectionOptions,
        name: { type: "string", default: "" },
        platform: { type: "string", default: "" },
        "all-platforms": { type: "boolean", default: false },
        quiet: { type: "boolean", short: "q", default: false },
        json: { type: "boolean", default: false },
      },
    });
    const [file, ...more] = positionals;
    if (file === undefined || more.length > 0) throw usageError("images import needs one file, or - for stdin");
    const { name, platform, "all-platforms": allPlatforms } = values;
    const view = progressView(process.stdout, { quiet: values.quiet || values.json });
    const archive = await open(file);
    const images = await withDaemon(values, async (client, o) => {
      for await (const { progress, imported } of client.importImages({ name, platform, allPlatforms }, archive, o)) {
        if (progress?.image !== null && progress?.image !== undefined) view.show(`${progress.image.ref}: unpacking`, progress.image);
        else if (progress !== null && progress !== undefined && process.stdout.isTTY)
          view.show(`${file}: ${bytesText(progress.bytes)} read`, undefined);
        if (imported !== null && imported !== undefined) return imported.images;
      }
      throw new CridError("internal", "import: the daemon did not say what it imported");
    });
    view.end();
    if (values.json) print(json({ images }));
    else if (values.quiet) for (const { id } of images) print(`${id}\n`);
    else for (const { id, tags } of images) print(`imported ${tags.join(", ") || "an image without a name"}: ${id}\n`);
    return 0;
  },
};

/** Opened before the daemon is asked, so that a wrong path is told as such. */
async function open(file: string): Promise<AsyncIterable<Buffer>> {
  if (file === "-") {
    if (process.stdin.isTTY) throw usageError("images import - reads an archive from stdin, which is a terminal");
    return process.stdin;
  }
  try {
    if ((await stat(file)).isDirectory())
      throw new CridError("invalid-argument", `${file} is a directory: import takes archives (tar -C ${file} -c . | crid images import -)`);
  } catch (error) {
    throw CridError.from(error, "import");
  }
  return createReadStream(file, { highWaterMark: pieceBytes });
}

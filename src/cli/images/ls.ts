import { parseArgs } from "node:util";
import type { crid } from "../../../api/crid/admin/v1/admin.js";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { type Command, usageError } from "../command.ts";
import { bytesText, json, print, shortDigest, table } from "../output.ts";

type Image = InstanceType<typeof crid.admin.v1.Image>;

export const command: Command = {
  usage: `[--digests] [--no-trunc] [-q] [--json] ${connectionUsage} [IMAGE]`,
  summary: "Lists the images, or one of them. -q: only ids.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        ...connectionOptions,
        digests: { type: "boolean", default: false },
        "no-trunc": { type: "boolean", default: false },
        quiet: { type: "boolean", short: "q", default: false },
        json: { type: "boolean", default: false },
      },
    });
    if (positionals.length > 1) throw usageError("images ls takes one image at most");
    const [ref = ""] = positionals;
    const { images } = await withDaemon(values, (client, o) => client.listImages({ ref }, o));
    const idOf = ({ id }: Image): string => (values["no-trunc"] ? id : shortDigest(id));
    if (values.json) print(json({ images }));
    else if (values.quiet) for (const image of images) print(`${idOf(image)}\n`);
    else print(values.digests ? digestTable(images, idOf) : tagTable(images, idOf));
    // What was asked for by name and is not there is a failure to a script.
    return ref !== "" && images.length === 0 ? 1 : 0;
  },
};

function tagTable(images: readonly Image[], idOf: (image: Image) => string): string {
  const rows = images.flatMap((image) =>
    namesOf(image).map(([name, tag]) => [name, tag, idOf(image), image.platform, bytesText(image.sizeBytes), image.pinned ? "yes" : ""]),
  );
  return table(["IMAGE", "TAG", "ID", "PLATFORM", "SIZE", "PINNED"], rows.sort(byText));
}

function digestTable(images: readonly Image[], idOf: (image: Image) => string): string {
  const rows = images.flatMap((image) => image.digests.map((digest) => [digest, idOf(image)]));
  return table(["DIGEST", "ID"], rows.sort(byText));
}

/** Repository and tag of each name; an image without tags is shown by its repositories, or as nothing. */
function namesOf({ tags, digests }: Image): [string, string][] {
  if (tags.length > 0)
    return tags.map((tag): [string, string] => [tag.slice(0, tag.lastIndexOf(":")), tag.slice(tag.lastIndexOf(":") + 1)]);
  const repositories = new Set(digests.map((digest) => digest.slice(0, digest.indexOf("@"))));
  return repositories.size === 0 ? [["<none>", "<none>"]] : [...repositories].map((repository): [string, string] => [repository, "<none>"]);
}

function byText(a: readonly string[], b: readonly string[]): number {
  return a.join("\t") < b.join("\t") ? -1 : 1;
}

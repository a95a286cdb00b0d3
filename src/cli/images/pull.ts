import { parseArgs } from "node:util";
import type { crid } from "../../../api/crid/admin/v1/admin.js";
import { CridError } from "../../base/errors.ts";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { credentialOptions, credentialsOf, credentialUsage } from "../admin/credentials.ts";
import { type Command, usageError } from "../command.ts";
import { json, print } from "../output.ts";
import { progressView } from "../progress-view.ts";

type Image = InstanceType<typeof crid.admin.v1.Image>;

export const command: Command = {
  usage: `[--platform OS/ARCH] ${credentialUsage} [-q] [--json] ${connectionUsage} IMAGE...`,
  summary:
    "Pulls images, and shows each layer while it comes. --platform: another one than the node's, to look at it or export it; it takes the name. -q: only ids.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        ...connectionOptions,
        ...credentialOptions,
        platform: { type: "string", default: "" },
        quiet: { type: "boolean", short: "q", default: false },
        json: { type: "boolean", default: false },
      },
    });
    if (positionals.length === 0) throw usageError("images pull needs an image");
    const credentials = await credentialsOf(values);
    return withDaemon(values, async (client, o) => {
      const images = [];
      for (const ref of positionals) {
        const view = progressView(process.stdout, { quiet: values.quiet || values.json });
        let image: Image | undefined;
        view.show(`${ref}: resolving`, undefined);
        for await (const event of client.pullImage({ ref, platform: values.platform, ...(credentials && { credentials }) }, o)) {
          const { progress } = event;
          if (progress !== null && progress !== undefined)
            view.show(progress.blobs.length === 0 ? `${ref}: resolving` : `${ref}: pulling`, progress);
          image = event.image ?? image;
        }
        view.end();
        if (image === undefined) throw new CridError("internal", `pull ${ref}: the daemon did not say what it pulled`);
        images.push(image);
        if (values.quiet) print(`${image.id}\n`);
        else if (!values.json) print(`pulled ${ref}: ${image.id}\n`);
      }
      if (values.json) print(json({ images }));
      return 0;
    });
  },
};

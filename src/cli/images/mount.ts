import { parseArgs } from "node:util";
import { CridError } from "../../base/errors.ts";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { type Command, usageError } from "../command.ts";
import { json, print, shortDigest, table } from "../output.ts";

export const command: Command = {
  usage: `[--json] ${connectionUsage} [IMAGE]`,
  summary: "Mounts an image read-only and prints where, until images unmount or a reboot. Without IMAGE: what is mounted.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { ...connectionOptions, json: { type: "boolean", default: false } },
    });
    const [ref, ...more] = positionals;
    if (more.length > 0) throw usageError("images mount takes one image");
    if (ref === undefined) {
      const { mounts } = await withDaemon(values, (client, o) => client.listMounts({}, o));
      const rows = mounts.map(({ imageId, path }) => [shortDigest(imageId), path]);
      print(values.json ? json({ mounts }) : table(["ID", "PATH"], rows));
      return 0;
    }
    const { mount } = await withDaemon(values, (client, o) => client.mountImage({ ref }, o));
    if (mount === null || mount === undefined) throw new CridError("internal", `mount ${ref}: the daemon did not say where`);
    print(values.json ? json(mount) : `${mount.path}\n`);
    return 0;
  },
};

import { parseArgs } from "node:util";
import type { crid } from "../../../api/crid/admin/v1/admin.js";
import { connectionOptions, connectionUsage, withDaemon } from "../admin/connection.ts";
import { credentialOptions, credentialsOf, credentialUsage } from "../admin/credentials.ts";
import { type Command, usageError } from "../command.ts";
import { json, print } from "../output.ts";

type Endpoint = InstanceType<typeof crid.admin.v1.Endpoint>;

export const command: Command = {
  usage: `${credentialUsage} [--json] ${connectionUsage} IMAGE`,
  summary:
    "Shows the endpoints that a pull of the image would try, in order: where each comes from, and what it answers. Exit code 1: none has it.",
  async run(args) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { ...connectionOptions, ...credentialOptions, json: { type: "boolean", default: false } },
    });
    const [ref, ...more] = positionals;
    if (ref === undefined || more.length > 0) throw usageError("registry explain needs one image");
    const credentials = await credentialsOf(values);
    const explanation = await withDaemon(values, (client, o) => client.explainImage({ ref, ...(credentials && { credentials }) }, o));
    const { reference, endpoints } = explanation;
    if (values.json) print(json(explanation));
    else print(`${reference}\n${endpoints.map((endpoint, index) => textOf(endpoint, index + 1)).join("")}`);
    return endpoints.some(({ ok }) => ok) ? 0 : 1;
  },
};

function textOf(endpoint: Endpoint, place: number): string {
  const { url, role, source, capabilities, path, namespace, credentials, proxy, tls, penaltyMs, ok, digest, mediaType, error, answeredMs } =
    endpoint;
  const facts: [string, string][] = [
    ["from", source],
    ["asks for", namespace === "" ? path : `${path}?ns=${namespace}`],
    ["can", capabilities.join(", ")],
    ["credentials", credentials],
    ["tls", tls],
    ["proxy", proxy],
    ["penalty", penaltyMs > 0n ? `failed of late: asked after the others for ${Math.ceil(Number(penaltyMs) / 1000)} s` : ""],
    ["answer", ok ? `${digest} (${mediaType}) in ${answeredMs} ms` : `FAILED after ${answeredMs} ms: ${error}`],
  ];
  const lines = facts.filter(([, value]) => value !== "").map(([name, value]) => `     ${`${name}:`.padEnd(13)}${value}\n`);
  return `${String(place).padStart(3)}. ${url} (${role})\n${lines.join("")}`;
}

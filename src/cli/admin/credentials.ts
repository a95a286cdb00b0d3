import type { ParseArgsConfig } from "node:util";
import { usageError } from "../command.ts";

/** Options of commands that ask a registry. */
export const credentialOptions = {
  creds: { type: "string" },
  auth: { type: "string" },
  "creds-stdin": { type: "boolean", default: false },
} as const satisfies ParseArgsConfig["options"];

export const credentialUsage = "[--creds USER:PASSWORD | --creds-stdin | --auth BASE64]";

interface Values {
  creds?: string | undefined;
  auth?: string | undefined;
  "creds-stdin": boolean;
}

/** The credentials of a call; undefined = those of the daemon's configuration, if any. */
export async function credentialsOf(values: Values): Promise<{ username?: string; password?: string; auth?: string } | undefined> {
  const { creds, auth, "creds-stdin": fromStdin } = values;
  if ([creds !== undefined, auth !== undefined, fromStdin].filter(Boolean).length > 1)
    throw usageError("only one of --creds, --creds-stdin and --auth");
  if (auth !== undefined) return { auth };
  const text = fromStdin ? (await readStdin()).trimEnd() : creds;
  if (text === undefined) return undefined;
  const colon = text.indexOf(":");
  if (colon < 1) throw usageError("credentials are USER:PASSWORD");
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

async function readStdin(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) text += String(chunk);
  return text;
}

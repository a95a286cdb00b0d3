import * as z from "zod";
import { absolutePath, duration, size } from "./quantity-schemas.ts";

const endpointUrl = z.url({ protocol: /^https?$/ });

const credentials = z.strictObject({
  username: z.string().optional().describe("User name."),
  password: z.string().optional().describe("Password."),
  auth: z.string().optional().describe("Base64 of user:password, in place of the two."),
  identityToken: z.string().optional().describe("Refresh token for the registry's token service."),
  registryToken: z.string().optional().describe("Bearer token, sent as it is."),
});

const rewrite = z.record(z.string().min(1), z.string());

const endpoint = z.strictObject({
  url: endpointUrl.describe("http or https; /v2 is appended."),
  overridePath: z.boolean().optional().describe("The URL's path is the root of the API: append nothing."),
  ca: z.array(absolutePath).optional().describe("PEM files of certificate authorities, besides the machine's."),
  client: z
    .array(z.strictObject({ cert: absolutePath, key: absolutePath.optional() }))
    .optional()
    .describe("PEM files of client certificates; without key, cert holds both."),
  skipVerify: z.boolean().optional().describe("Don't check the certificate."),
  headers: z.record(z.string(), z.string()).optional().describe("Sent with every request to this endpoint."),
  dialTimeout: duration.optional().describe("How long a connection attempt may take."),
  auth: credentials.optional().describe("Credentials for this endpoint alone."),
  useImageCredentials: z
    .boolean()
    .optional()
    .describe("Send it the credentials of the pull, which are meant for the image's own registry."),
  rewrite: rewrite.optional().describe("In place of the mirror's rewrite."),
});

const mirror = z.strictObject({
  endpoints: z
    .array(z.union([endpointUrl, endpoint]))
    .prefault([])
    .describe("Asked in this order, before the registry itself: URLs, or objects with url and settings."),
  fallback: z.boolean().prefault(true).describe("Ask the registry itself when no endpoint has the image."),
  rewrite: rewrite.optional().describe("Regular expression on the repository path -> replacement ($1), on the endpoints only."),
});

/** The `registry` section. */
export const registrySchema = z
  .strictObject({
    configPath: z
      .array(absolutePath)
      .prefault(["/etc/crid/certs.d", "/etc/containerd/certs.d"])
      .describe("Folders with <registry>/hosts.toml, as containerd has them; the first that has the registry wins."),
    mirrors: z
      .record(z.string().min(1), mirror)
      .prefault({})
      .describe("By registry (docker.io) or * for all others, before configPath is looked at."),
    auths: z.record(z.string().min(1), credentials).prefault({}).describe("Credentials by registry host, for pulls that bring none."),
    dockerConfig: z
      .union([z.literal(""), absolutePath])
      .prefault("")
      .describe('A docker config.json with auths, credHelpers or credsStore, for pulls that bring no credentials. "" = none.'),
    maxManifestSize: size.prefault("4Mi").describe("A larger manifest or index is refused."),
  })
  .prefault({})
  .describe("Where images come from.");

type RegistryConfig = z.output<typeof registrySchema>;

/** The same without secrets, for what others get to see. */
export function withoutSecrets(config: RegistryConfig): unknown {
  return JSON.parse(
    JSON.stringify(config, (key, value: unknown) => (secretKeys.has(key) && typeof value === "string" ? "***" : hideHeaders(key, value))),
  );
}

const secretKeys = new Set(["password", "auth", "identityToken", "registryToken"]);

/** A header may hold a token. */
function hideHeaders(key: string, value: unknown): unknown {
  if (key !== "headers" || typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.keys(value).map((name) => [name, "***"]));
}

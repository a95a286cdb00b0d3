import { createHash } from "node:crypto";
import { CridError } from "../../base/errors.ts";
import type { CredentialConfig, RegistryAuth } from "../options.ts";

/** Who we are to a registry. */
export type Credentials =
  | { type: "password"; username: string; password: string }
  /** An OAuth2 refresh token, for the token service. */
  | { type: "identity"; token: string }
  /** A bearer token that is sent as it is. */
  | { type: "bearer"; token: string };

export interface ChosenCredentials {
  credentials?: Credentials;
  /** Where they come from, for people; never the secret. */
  source: string;
}

/**
 * Reads credentials as the kubelet and docker write them. All fields empty is no credentials.
 * @throws invalid-argument when `auth` is not base64 of `user:password`
 */
export function parseCredentials(config: CredentialConfig, where: string): Credentials | undefined {
  const { username = "", password = "", auth = "", identityToken = "", registryToken = "" } = config;
  if (registryToken !== "") return { type: "bearer", token: registryToken };
  if (identityToken !== "") return { type: "identity", token: identityToken };
  // docker stores an identity token under this user name when a credential helper keeps it.
  if (username === "<token>" && password !== "") return { type: "identity", token: password };
  if (username !== "") return { type: "password", username, password };
  if (auth === "") return undefined;
  const decoded = Buffer.from(auth, "base64").toString("utf8");
  const colon = decoded.indexOf(":");
  if (colon < 0) throw new CridError("invalid-argument", `registry credentials of ${where}: "auth" is not base64 of user:password`);
  return { type: "password", username: decoded.slice(0, colon), password: decoded.slice(colon + 1).replace(/\0+$/, "") };
}

/** A key that differs for different credentials and tells nothing about them. */
export function fingerprint(credentials: Credentials | undefined): string {
  return credentials === undefined ? "" : createHash("sha256").update(JSON.stringify(credentials)).digest("base64");
}

/** As `fingerprint`, for what a CRI call brings. */
export function authKey(auth: RegistryAuth | undefined): string {
  const filled = Object.entries(auth ?? {}).filter(([, value]) => value !== undefined && value !== "");
  return filled.length === 0 ? "" : createHash("sha256").update(JSON.stringify(filled)).digest("base64");
}

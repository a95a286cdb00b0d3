import { readFile, stat } from "node:fs/promises";

/** Where distributions keep the machine's certificate authorities in one file, as Go's crypto/x509 looks for them. */
const files = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/tls/cacert.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

let cached: { file: string; mtimeMs: number; text: string } | undefined;

/**
 * The machine's certificate authorities as PEM text; "" when it has none, and then Node's own list holds. Node by itself reads
 * only that list, but operators add (and distrust) authorities in the machine's. SSL_CERT_FILE names another file, as in Go.
 */
export async function machineAuthorities(): Promise<string> {
  const named = process.env.SSL_CERT_FILE;
  for (const file of named === undefined || named === "" ? files : [named]) {
    try {
      const { mtimeMs } = await stat(file);
      if (cached?.file !== file || cached.mtimeMs !== mtimeMs) cached = { file, mtimeMs, text: await readFile(file, "utf8") };
      return cached.text;
    } catch {
      // The next distribution's place.
    }
  }
  return "";
}

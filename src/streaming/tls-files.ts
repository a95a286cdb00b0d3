import { readFile } from "node:fs/promises";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import { CridError, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";

/** Paths of PEM files. */
export interface TlsPaths {
  cert: string;
  key: string;
  /** Clients must show a certificate signed by it. */
  clientCA?: string | undefined;
}

const CHECK_MS = 10_000;

/**
 * Reads the files and calls `apply` again whenever their content has changed (certificates are renewed in place, or by a changed
 * symlink, so the content is what is looked at). Files that do not fit together are said and the last good ones stay in use.
 *
 * @throws CridError when the files cannot be used at the start
 */
export async function watchTlsFiles(options: {
  paths: TlsPaths;
  apply: (context: SecureContextOptions) => void;
  log: Logger;
  checkMs?: number;
}): Promise<Disposable> {
  const { paths, apply, log } = options;
  let content = await readTls(paths);
  apply(content);
  let said = "";
  const check = async (): Promise<void> => {
    try {
      const next = await readTls(paths);
      said = "";
      if (same(content, next)) return;
      content = next;
      apply(next);
      log.info({ cert: paths.cert }, "streaming: the certificate was renewed");
    } catch (error) {
      if (said !== messageOf(error))
        log.warn({ err: error }, "streaming: the certificate's files are not usable; the last good ones stay in use");
      said = messageOf(error);
    }
  };
  const timer = setInterval(() => void check(), options.checkMs ?? CHECK_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

async function readTls({ cert, key, clientCA }: TlsPaths): Promise<SecureContextOptions> {
  const [certPem, keyPem, caPem] = await Promise.all([read(cert), read(key), clientCA === undefined ? undefined : read(clientCA)]);
  const context = { cert: certPem, key: keyPem, ...(caPem !== undefined && { ca: caPem }) };
  try {
    createSecureContext(context);
  } catch (error) {
    throw new CridError("failed-precondition", `streaming TLS: ${cert} and ${key} are no usable pair: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return context;
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw CridError.from(error, "streaming TLS");
  }
}

function same(a: SecureContextOptions, b: SecureContextOptions): boolean {
  return String(a.cert) === String(b.cert) && String(a.key) === String(b.key) && String(a.ca) === String(b.ca);
}

import { readFile } from "node:fs/promises";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import { CridError, messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { selfSigned } from "./self-signed.ts";

/** Paths of PEM files. Without `cert` and `key` the server makes its own. */
export interface TlsPaths {
  cert?: string | undefined;
  key?: string | undefined;
  /** Clients must show a certificate signed by it. */
  clientCA?: string | undefined;
}

const CHECK_MS = 10_000;
const OWN_DAYS = 365;
const RENEW_OWN_MS = 100 * 86_400_000;

/**
 * Reads the files and calls `apply`, and again whenever their content has changed (certificates are renewed in place, or by a changed
 * symlink, so the content is what is looked at). Files that do not fit together are said and the last good ones stay in use.
 *
 * @param options.host the certificate's name when it is made here.
 * @throws CridError when the files cannot be used at the start
 */
export async function watchTlsFiles(options: {
  paths: TlsPaths;
  host: string;
  apply: (context: SecureContextOptions) => void;
  log: Logger;
  checkMs?: number | undefined;
}): Promise<Disposable> {
  const { paths, apply, log } = options;
  const own = new OwnCertificate(options.host);
  let content = await readTls(paths, own);
  apply(content);
  let said = "";
  const check = async (): Promise<void> => {
    try {
      const next = await readTls(paths, own);
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

/** Kept in memory alone, and made anew long before it ends. */
class OwnCertificate {
  readonly #host: string;
  #pair: { cert: Buffer; key: Buffer } | undefined;
  #madeAt = 0;

  constructor(host: string) {
    this.#host = host;
  }

  get(): { cert: Buffer; key: Buffer } {
    if (this.#pair === undefined || Date.now() - this.#madeAt > RENEW_OWN_MS) {
      this.#pair = selfSigned(this.#host, { days: OWN_DAYS });
      this.#madeAt = Date.now();
    }
    return this.#pair;
  }
}

async function readTls({ cert, key, clientCA }: TlsPaths, own: OwnCertificate): Promise<SecureContextOptions> {
  const ca = clientCA === undefined ? {} : { ca: await read(clientCA) };
  if (cert === undefined || key === undefined) return { ...own.get(), ...ca };
  const [certPem, keyPem] = await Promise.all([read(cert), read(key)]);
  const context = { cert: certPem, key: keyPem, ...ca };
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

import { randomBytes } from "node:crypto";
import { CridError } from "../base/errors.ts";

const TTL_MS = 60_000;
const MAX_OUTSTANDING = 1000;
/** Nobody guesses 128 bits; the URL is all that a caller has to show. */
const TOKEN_BYTES = 16;

/** Requests that wait for their client: each token is good for one connection, within a minute. */
export class Tokens<R> {
  readonly #waiting = new Map<string, { request: R; expires: number }>();

  /** @throws CridError resource-exhausted when too many wait */
  issue(request: R): string {
    this.#expire();
    if (this.#waiting.size >= MAX_OUTSTANDING) {
      throw new CridError(
        "resource-exhausted",
        `${MAX_OUTSTANDING} streaming URLs were given out in the last minute and not used; try again later`,
      );
    }
    const token = randomBytes(TOKEN_BYTES).toString("base64url");
    this.#waiting.set(token, { request, expires: performance.now() + TTL_MS });
    return token;
  }

  /** The token's request; undefined when it never was, was used, or is too old. */
  take(token: string): R | undefined {
    this.#expire();
    const entry = this.#waiting.get(token);
    this.#waiting.delete(token);
    return entry?.request;
  }

  /** The map is in the order of issue, so the oldest are first. */
  #expire(): void {
    const now = performance.now();
    for (const [token, { expires }] of this.#waiting) {
      if (expires > now) return;
      this.#waiting.delete(token);
    }
  }
}

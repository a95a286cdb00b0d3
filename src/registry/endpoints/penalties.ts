/** How long an endpoint that failed is tried after the others, first time. Doubled each time in a row, up to the maximum. */
const firstMs = 15_000;
const maxMs = 300_000;

/** Endpoints that lately failed. They are still tried, but after those that did not. */
export class Penalties {
  readonly #until = new Map<string, { untilMs: number; count: number }>();
  readonly #now: () => number;

  constructor(options: { now?: () => number } = {}) {
    this.#now = options.now ?? (() => performance.now());
  }

  /** @param retryAfterMs what the endpoint itself asked for */
  failed(url: string, retryAfterMs = 0): void {
    const count = (this.#until.get(url)?.count ?? 0) + 1;
    const ms = Math.min(maxMs, Math.max(retryAfterMs, firstMs * 2 ** (count - 1)));
    this.#until.set(url, { untilMs: this.#now() + ms, count });
  }

  succeeded(url: string): void {
    this.#until.delete(url);
  }

  /** Milliseconds that the penalty still lasts; 0 when there is none. */
  remaining(url: string): number {
    const entry = this.#until.get(url);
    return entry === undefined ? 0 : Math.max(0, Math.round(entry.untilMs - this.#now()));
  }

  /** The same endpoints: those without a penalty as they stand, then the others, the one that is free again soonest first. */
  order<E extends { readonly url: string }>(endpoints: readonly E[]): E[] {
    return endpoints
      .map((endpoint) => ({ endpoint, remaining: this.remaining(endpoint.url) }))
      .sort((a, b) => a.remaining - b.remaining)
      .map(({ endpoint }) => endpoint);
  }
}

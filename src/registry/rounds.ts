import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../base/log.ts";
import type { Endpoint } from "./endpoints/endpoint.ts";
import type { Penalties } from "./endpoints/penalties.ts";
import { allFailed, type Failure, failureOf } from "./failure.ts";

const maxRounds = 3;
const firstPauseMs = 400;
/** The kubelet has a back-off of its own: what a registry wants us to wait longer than this, it gets from there. */
const maxPauseMs = 20_000;

/**
 * Asks the endpoints one after the other until one serves. When the last of them, the registry itself as a rule, failed in a
 * way that may pass, those that did so are asked again after a pause, which honours Retry-After.
 *
 * @throws CridError that lists what every endpoint said
 */
export async function overEndpoints<T>(
  endpoints: readonly Endpoint[],
  call: (endpoint: Endpoint) => Promise<T>,
  o: { what: string; penalties: Penalties; log: Logger; signal: AbortSignal },
): Promise<T> {
  const failures = new Map<Endpoint, Failure>();
  for (let round = 0; ; round++) {
    const again = endpoints.filter((endpoint) => failures.get(endpoint)?.transient !== false);
    for (const endpoint of o.penalties.order(again)) {
      o.signal.throwIfAborted();
      try {
        const result = await call(endpoint);
        o.penalties.succeeded(endpoint.url);
        return result;
      } catch (error) {
        o.signal.throwIfAborted();
        const failure = failureOf(error);
        failures.set(endpoint, failure);
        if (failure.penalty) o.penalties.failed(endpoint.url, failure.retryAfterMs);
        o.log.debug({ endpoint: endpoint.url, failure, what: o.what }, "endpoint failed");
      }
    }
    const last = endpoints.at(-1);
    const final = last === undefined ? undefined : failures.get(last);
    const pauseMs = final?.transient === true && round + 1 < maxRounds ? pauseAfter(round, [...failures.values()]) : undefined;
    if (pauseMs === undefined) throw allFailed(o.what, attemptsOf(endpoints, failures));
    await pause(pauseMs, o);
  }
}

/** Failures in the order of the configuration, whatever order they were tried in. */
export function attemptsOf(endpoints: readonly Endpoint[], failures: ReadonlyMap<Endpoint, Failure>): Parameters<typeof allFailed>[1] {
  return endpoints.flatMap((endpoint) => {
    const failure = failures.get(endpoint);
    return failure === undefined ? [] : [{ url: endpoint.url, source: endpoint.source, failure }];
  });
}

/** Milliseconds to wait before trying again, or undefined when an endpoint asks for more than we would. */
export function pauseAfter(round: number, failures: readonly Failure[]): number | undefined {
  const asked = failures.filter(({ transient }) => transient).map(({ retryAfterMs = 0 }) => retryAfterMs);
  const soonest = asked.length === 0 ? 0 : Math.min(...asked);
  if (soonest > maxPauseMs) return undefined;
  // Spread: a whole cluster's nodes lose their registry at the same moment.
  const backOff = Math.min(maxPauseMs, firstPauseMs * 2 ** round) * (0.75 + Math.random() / 2);
  return Math.max(soonest, backOff);
}

/** @throws the signal's reason */
export async function pause(ms: number, o: { signal: AbortSignal }): Promise<void> {
  try {
    await sleep(ms, undefined, { signal: o.signal });
  } catch (error) {
    o.signal.throwIfAborted();
    throw error;
  }
}

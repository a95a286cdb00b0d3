/** The counters of one network interface. */
export interface NetworkInterface {
  name: string;
  rx: NetworkCounters;
  tx: NetworkCounters;
}

export interface NetworkCounters {
  bytes: bigint;
  packets: bigint;
  errors: bigint;
  dropped: bigint;
}

/**
 * Reads /proc/PID/net/dev: two lines of heading, then `name: ` and eight numbers for each direction, the first four of which are
 * bytes, packets, errs and drop. Loopback is left out.
 */
export function parseNetDev(text: string): NetworkInterface[] {
  return text.split("\n").flatMap((line) => {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).trim();
    const numbers = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/);
    if (colon < 0 || name === "lo" || numbers.length < 16 || !numbers.every((number) => /^\d+$/.test(number))) return [];
    const [rx, tx] = [counters(numbers.slice(0, 4)), counters(numbers.slice(8, 12))];
    return [{ name, rx, tx }];
  });
}

function counters(numbers: string[]): NetworkCounters {
  const [bytes = 0n, packets = 0n, errors = 0n, dropped = 0n] = numbers.map(BigInt);
  return { bytes, packets, errors, dropped };
}

import { readFile } from "node:fs/promises";

/** Counters of one interface since it was made. Packets, errors and drops are counts. */
export interface InterfaceStats {
  name: string;
  rxBytes: number;
  rxPackets: number;
  rxErrors: number;
  rxDropped: number;
  txBytes: number;
  txPackets: number;
  txErrors: number;
  txDropped: number;
}

/**
 * The interfaces of the network namespace that process `pid` is in, but for the loopback. Read from the process's own /proc, so
 * no thread has to enter the namespace.
 *
 * @throws ENOENT when the process is gone.
 */
export async function readInterfaces(pid: number): Promise<InterfaceStats[]> {
  return parseNetDev(await readFile(`/proc/${pid}/net/dev`, "utf8")).filter((one) => one.name !== "lo");
}

/** /proc/PID/net/dev: two lines of heading, then `name: 8 counters of reception, 8 of transmission`; see proc_pid_net(5). */
export function parseNetDev(text: string): InterfaceStats[] {
  const found: InterfaceStats[] = [];
  for (const line of text.split("\n").slice(2)) {
    const colon = line.lastIndexOf(":");
    if (colon < 0) continue;
    const [rxBytes, rxPackets, rxErrors, rxDropped, , , , , txBytes, txPackets, txErrors, txDropped] = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    found.push({
      name: line.slice(0, colon).trim(),
      rxBytes: rxBytes ?? 0,
      rxPackets: rxPackets ?? 0,
      rxErrors: rxErrors ?? 0,
      rxDropped: rxDropped ?? 0,
      txBytes: txBytes ?? 0,
      txPackets: txPackets ?? 0,
      txErrors: txErrors ?? 0,
      txDropped: txDropped ?? 0,
    });
  }
  return found;
}

import type { PeerName } from "./peer.ts";
import { type Summary, summarise } from "./statistics.ts";

/** What a figure is counted in; for "MiB/s" more is better. */
export type Unit = "us" | "ms" | "MiB/s" | "MiB" | "KiB";

/** All samples of one run, by figure and runtime. */
export class Report {
  readonly #figures = new Map<string, { unit: Unit; samples: Record<PeerName, number[]> }>();

  add(figure: string, unit: Unit, peer: PeerName, value: number): void {
    let entry = this.#figures.get(figure);
    if (entry === undefined) {
      entry = { unit, samples: { crid: [], containerd: [] } };
      this.#figures.set(figure, entry);
    }
    entry.samples[peer].push(value);
  }

  /** One object a figure, with the ratio of the medians crid / containerd. */
  rows(): { figure: string; unit: Unit; crid: Summary; containerd: Summary; ratio: number }[] {
    return [...this.#figures].map(([figure, { unit, samples }]) => {
      const crid = summarise(samples.crid);
      const containerd = summarise(samples.containerd);
      return { figure, unit, crid, containerd, ratio: crid.median / containerd.median };
    });
  }

  toString(): string {
    const lines = [["figure", "n", "crid median", "min", "p90", "max", "containerd median", "min", "p90", "max", "ratio"]];
    const columns = ({ median, min, p90, max }: Summary): number[] => [median, min, p90, max];
    for (const { figure, unit, crid, containerd, ratio } of this.rows()) {
      lines.push([
        `${figure} (${unit})`,
        `${crid.count}/${containerd.count}`,
        ...[...columns(crid), ...columns(containerd), ratio].map((n) => n.toFixed(2)),
      ]);
    }
    const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
    return lines
      .map((line) =>
        line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  "),
      )
      .join("\n");
  }
}

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * critest's benchmarks skip themselves unless they are told numbers. These run pods, containers and images in parallel; four pulls and removals
 * of one image at once are what makes a runtime answer NotFound for an image that another call just removed.
 *
 * @returns the flags; the figures go to `<directory>/figures`
 */
export function benchmarkParameters(directory: string): string[] {
  const figures = join(directory, "figures");
  mkdirSync(figures, { recursive: true });
  const file = join(directory, "benchmark.yaml");
  writeFileSync(
    file,
    `containersNumber: 20
containersNumberParallel: 4
containerBenchmarkTimeoutSeconds: 120
podsNumber: 20
podsNumberParallel: 4
podBenchmarkTimeoutSeconds: 120
imagesNumber: 20
imagesNumberParallel: 4
imageBenchmarkTimeoutSeconds: 120
podContainerStartBenchmarkTimeoutSeconds: 120
`,
  );
  return [`-benchmarking-params-file=${file}`, `-benchmarking-output-dir=${figures}`];
}

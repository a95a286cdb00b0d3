import { createRequire } from "node:module";
import { join } from "node:path";
import { cruise, type IConfiguration, type ICruiseResult } from "dependency-cruiser";

// Checks the import rules of .dependency-cruiser.cjs. A wrapper, because dependency-cruiser is content when it understands
// no file at all (as with a TypeScript that has no API yet): that must be a failure.

const root = join(import.meta.dirname, "..");
process.chdir(root);
const config = createRequire(import.meta.url)(join(root, ".dependency-cruiser.cjs")) as IConfiguration;

const { output } = await cruise(["src", "vendor", "api"], {
  ...config.options,
  validate: true,
  ruleSet: config,
  exclude: { path: "/node_modules/.*/node_modules/" },
});
const { summary, modules } = output as ICruiseResult;
const own = modules.filter((module) => module.source.startsWith("src/"));
const withImports = own.filter((module) => module.dependencies.length > 0);
if (own.length === 0 || withImports.length === 0) {
  console.error(
    `imports: ${own.length} modules of src/ seen, ${withImports.length} of them with imports: the checker does not see the code`,
  );
  process.exit(1);
}
for (const { rule, from, to, cycle } of summary.violations) {
  const why = config.forbidden?.find(({ name }) => name === rule.name)?.comment;
  const path = cycle === undefined || cycle.length === 0 ? to : cycle.map(({ name }) => name).join(" -> ");
  console.error(`${from} -> ${path}: ${rule.name}${why === undefined ? "" : ` (${why})`}`);
}
console.error(`imports: ${own.length} modules of src/, ${summary.violations.length} violations`);
process.exit(summary.violations.length === 0 ? 0 : 1);

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defaultConfigYaml } from "../src/config/print.ts";

// Writes the parts of docs/ that are made from the code. hack/docs.test.ts fails when they are not fresh.

const configuration = join(import.meta.dirname, "../docs/configuration.md");

/** The configuration reference as it should be: its prose as it is, its block of YAML from the schema. */
export function freshConfigurationPage(): string {
  const page = readFileSync(configuration, "utf8");
  return page.replace(/^```yaml\n[\s\S]*?^```$/m, () => `\`\`\`yaml\n${defaultConfigYaml()}\`\`\``);
}

if (process.argv[1] === import.meta.filename) writeFileSync(configuration, freshConfigurationPage());

import { parseArgs } from "node:util";
import { type ConfigFiles, checkConfig, loadConfig } from "../config/load.ts";
import { defaultConfigYaml, dumpConfig } from "../config/print.ts";
import { type Command, usageError } from "./command.ts";

export const command: Command = {
  usage: "default | check [--config FILE] | dump [--config FILE]",
  summary: "Prints all keys with their defaults, checks the configuration, or prints what is in use.",
  async run(args) {
    const { values, positionals } = parseArgs({ args, options: { config: { type: "string" } }, allowPositionals: true });
    if (positionals.length > 1) throw usageError(`config takes one of default, check and dump, not "${positionals.join(" ")}"`);
    const files: ConfigFiles = values.config === undefined ? {} : { file: values.config };
    switch (positionals[0]) {
      case "default":
        process.stdout.write(defaultConfigYaml());
        return 0;
      case "dump":
        process.stdout.write(dumpConfig(loadConfig(files)));
        return 0;
      case "check": {
        const problems = checkConfig(files);
        for (const problem of problems) process.stderr.write(`crid: ${problem}\n`);
        if (problems.length === 0) process.stdout.write("the configuration is fine\n");
        return problems.length === 0 ? 0 : 1;
      }
      default:
        throw usageError(`config takes one of default, check and dump`);
    }
  },
};

import { messageOf } from "../base/errors.ts";
import type { Command } from "./command.ts";

/**
 * The subcommands. Each is loaded when it is called: `crid logger` lives as long as the containers do and must not hold the
 * daemon's code in memory.
 */
const commands: Record<string, () => Promise<{ command: Command }>> = {
  serve: () => import("./serve.ts"),
  config: () => import("./config.ts"),
  doctor: () => import("./doctor.ts"),
  logger: () => import("./logger.ts"),
  images: () => import("./images.ts"),
  content: () => import("./content.ts"),
  registry: () => import("./registry.ts"),
  pulls: () => import("./pulls.ts"),
  state: () => import("./state.ts"),
  version: () => import("./version.ts"),
};

/** Runs `crid ARGS`. @returns the exit code; whatever fails is told in one line on stderr */
export async function runCommandLine(args: string[]): Promise<number> {
  const [name = "", ...rest] = args;
  try {
    if (name === "--version" || name === "-v") return (await (await commands.version?.())?.command.run([])) ?? 1;
    if (name === "" || name === "help" || name === "--help" || name === "-h") {
      process.stdout.write(await usage());
      return name === "" ? 1 : 0;
    }
    const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (load === undefined) throw new Error(`no command "${name}"; there are: ${Object.keys(commands).join(", ")}`);
    const { command } = await load();
    if (rest.includes("--help") || rest.includes("-h")) {
      process.stdout.write((await command.help?.(rest)) ?? `crid ${name} ${command.usage}\n\n${command.summary}\n`);
      return 0;
    }
    return await command.run(rest);
  } catch (error) {
    process.stderr.write(`crid: ${messageOf(error)}\n`);
    return 1;
  }
}

async function usage(): Promise<string> {
  const lines: string[] = [];
  for (const [name, load] of Object.entries(commands)) {
    const { command } = await load();
    lines.push(`  crid ${`${name} ${command.usage}`.trimEnd()}`, `      ${command.summary}`);
  }
  return `crid: a container runtime for Kubernetes nodes\n\n${lines.join("\n")}\n`;
}

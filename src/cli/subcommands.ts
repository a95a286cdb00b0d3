import { type Command, usageError } from "./command.ts";

type Load = () => Promise<{ command: Command }>;

/** A command that is a family of commands: `crid images pull`. Each is loaded when it is called. */
export function family(options: { name: string; summary: string; commands: Record<string, Load> }): Command {
  const { name, summary, commands } = options;
  const names = Object.keys(commands);
  const find = (word: string | undefined): Load | undefined =>
    word !== undefined && Object.hasOwn(commands, word) ? commands[word] : undefined;
  return {
    usage: `${names.join(" | ")} ...`,
    summary,
    async help(args) {
      const word = args.find((arg) => !arg.startsWith("-"));
      const load = find(word);
      const shown = load === undefined ? Object.entries(commands) : [[word ?? "", load] as const];
      const lines = [];
      for (const [subcommand, loadOne] of shown) {
        const { command } = await loadOne();
        lines.push(`  crid ${name} ${subcommand} ${command.usage}`.trimEnd(), `      ${command.summary}`);
      }
      return load === undefined ? `${summary}\n\n${lines.join("\n")}\n` : `${lines.join("\n")}\n`;
    },
    async run([word, ...rest]) {
      const load = find(word);
      if (load === undefined) {
        const problem = word === undefined ? `${name} needs a command` : `${name} has no command "${word}"`;
        throw usageError(`${problem}; there are: ${names.join(", ")}`);
      }
      return (await load()).command.run(rest);
    },
  };
}

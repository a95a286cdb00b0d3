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
    // The first line is the usage, as with every other command: bash completion reads it.
    async help(args) {
      const word = args.find((arg) => !arg.startsWith("-"));
      const one = find(word);
      if (one !== undefined) {
        const { command } = await one();
        return `crid ${name} ${word} ${command.usage}\n\n${command.summary}\n`;
      }
      const lines = [`crid ${name} ${this.usage}`, "", summary, ""];
      for (const [subcommand, load] of Object.entries(commands)) {
        const { command } = await load();
        lines.push(`  crid ${name} ${subcommand} ${command.usage}`, `      ${command.summary}`);
      }
      return `${lines.join("\n")}\n`;
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

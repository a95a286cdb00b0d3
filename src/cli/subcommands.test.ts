import assert from "node:assert/strict";
import { test } from "node:test";
import type { Command } from "./command.ts";
import { family } from "./subcommands.ts";

const ran: string[][] = [];
const child: Command = {
  usage: "[-q] NAME",
  summary: "Does it.",
  run: async (args) => {
    ran.push(args);
    return 3;
  },
};
const command = family({ name: "things", summary: "Things.", commands: { ls: async () => ({ command: child }) } });

test("runs the command that is named, with what stands behind it", async () => {
  assert.equal(await command.run(["ls", "-q", "a"]), 3);
  assert.deepEqual(ran, [["-q", "a"]]);
  await assert.rejects(command.run([]), { kind: "invalid-argument", message: /things needs a command; there are: ls/ });
  await assert.rejects(command.run(["toString"]), { kind: "invalid-argument", message: /no command "toString"/ });
});

test("help of the family and of one command: the first line is the usage", async () => {
  assert.equal(await command.help?.(["--help"]), "crid things ls ...\n\nThings.\n\n  crid things ls [-q] NAME\n      Does it.\n");
  assert.equal(await command.help?.(["ls", "--help"]), "crid things ls [-q] NAME\n\nDoes it.\n");
});

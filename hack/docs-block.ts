import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A block of commands in a page of docs/, or the one of example output, with what the line above it says of it. */
export interface DocsBlock {
  /** The block's number of line, from 1. */
  line: number;
  text: string;
  /** From `<!-- run: NAME -->`: a test runs the block. */
  run?: string;
  /** From `<!-- not run: REASON -->`. */
  notRun?: string;
}

const folder = join(import.meta.dirname, "../docs");

/** The indented blocks of a page, as Markdown has them: after an empty line (or a marker), four spaces deep. */
export function docsBlocks(page: string): DocsBlock[] {
  const blocks: DocsBlock[] = [];
  const lines = readFileSync(join(folder, page), "utf8").split("\n");
  let fenced = false;
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? "";
    if (line.startsWith("```")) fenced = !fenced;
    const before = lines[index - 1] ?? "";
    if (fenced || !line.startsWith("    ") || !(before === "" || before.startsWith("<!--"))) continue;
    const start = index;
    while ((lines[index + 1] ?? "").startsWith("    ")) index++;
    const text = lines.slice(start, index + 1).map((each) => each.slice(4));
    const [, kind, value = ""] = /^<!-- (run|not run): (.+) -->$/.exec(before) ?? [];
    blocks.push({
      line: start + 1,
      text: text.join("\n"),
      ...(kind === "run" ? { run: value } : {}),
      ...(kind === "not run" ? { notRun: value } : {}),
    });
  }
  return blocks;
}

/**
 * The commands of the block that is marked `<!-- run: NAME -->`, with its placeholders (`IMAGE`, `<version>`) filled in.
 * @throws when there is no such block, or not what is to be filled in: the page has changed, and with it what has to be tested
 */
export function docsCommands(page: string, name: string, values: Record<string, string> = {}): string {
  const block = docsBlocks(page).find(({ run }) => run === name);
  if (block === undefined) throw new Error(`docs/${page} has no block "<!-- run: ${name} -->"`);
  let { text } = block;
  for (const [placeholder, value] of Object.entries(values)) {
    if (!text.includes(placeholder)) throw new Error(`the block ${name} of docs/${page} has no ${placeholder}`);
    text = text.replaceAll(placeholder, value);
  }
  return text;
}

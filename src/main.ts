import { enableCompileCache } from "node:module";
import { fileURLToPath } from "node:url";

// Compiling the bundle takes longer than all else that a start does. V8's code is kept beside the bundle; where that folder cannot
// be written, it is compiled each time, as nothing depends on it.
if (import.meta.url.endsWith(".mjs")) enableCompileCache(fileURLToPath(new URL("./cache", import.meta.url)));

const { runCommandLine } = await import("./cli/run.ts");
process.exitCode = await runCommandLine(process.argv.slice(2));

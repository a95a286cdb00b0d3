import { globSync, readdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");

/**
 * `import "node:http"` reads every export of it, and one is a getter that loads Node's own undici with all that belongs to it: a tenth of the
 * daemon's start. Through getBuiltinModule only what is used is read.
 */
const httpWithoutUndici: Plugin = {
  name: "http-without-undici",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:http$/ }, ({ kind }) =>
      kind === "import-statement" ? { path: "node:http", namespace: "builtin" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "builtin" }, () => {
      const properties = Object.entries(Object.getOwnPropertyDescriptors(process.getBuiltinModule("node:http")));
      const plain = properties.filter(([name, { get }]) => get === undefined && name !== "default").map(([name]) => name);
      return {
        contents: `const http = process.getBuiltinModule("node:http"); export default http; export const { ${plain.join(", ")} } = http;`,
      };
    });
  },
};

const shared: BuildOptions = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node24",
  // Read only by `node --enable-source-maps`.
  sourcemap: "linked",
  outExtension: { ".js": ".mjs" },
  outdir: dist,
  // A package of its own beside the bundle: it loads its binary by a path relative to itself.
  external: ["koffi"],
  // CommonJS packages that are bundled into a module still call require() for Node's own modules.
  banner: { js: 'import { createRequire as crid_createRequire } from "node:module"; const require = crid_createRequire(import.meta.url);' },
  // The source stays in memory, and is read and compared with the compile cache at each start. Names are kept: they stand in stack traces.
  minifyWhitespace: true,
  minifySyntax: true,
  // A release has the licences in a folder: hack/package.
  legalComments: "none",
  plugins: [httpWithoutUndici],
  logLevel: "warning",
  metafile: true,
};

/** Threads and processes of their own: `x/y.worker.ts` becomes `dist/y.worker.mjs`, beside the bundle that starts it. */
const workers = globSync("src/**/*.worker.ts", { cwd: root });
const names = workers.map((file) => basename(file));
const twice = names.find((name, index) => names.indexOf(name) !== index);
if (twice !== undefined) throw new Error(`two workers are named ${twice}, but dist/ is flat: rename one`);

const bundles: { name: string; options: BuildOptions }[] = [
  {
    name: "crid",
    // Splitting: what main.ts imports dynamically (one subcommand each) is loaded by that subcommand alone, so that
    // `crid logger` does not hold the daemon's code in memory.
    options: { entryPoints: { crid: "src/main.ts" }, splitting: true, chunkNames: "crid-[name]-[hash]" },
  },
  ...workers.map((file) => ({
    name: basename(file, ".ts"),
    options: { entryPoints: { [basename(file, ".ts")]: file } },
  })),
];

const written = new Set<string>();
for (const { name, options } of bundles) {
  const result = await build({ ...shared, ...options });
  const outputs = Object.entries(result.metafile?.outputs ?? {});
  for (const [file] of outputs) written.add(basename(file));
  const bytes = outputs.filter(([file]) => file.endsWith(".mjs")).reduce((sum, [, output]) => sum + output.bytes, 0);
  console.error(`       dist/${name}.mjs ${Math.round(bytes / 1024)} KiB`);
}

// Chunks and workers of earlier builds.
for (const file of readdirSync(dist)) {
  if (/\.mjs(\.map)?$/.test(file) && !written.has(file)) rmSync(join(dist, file));
}

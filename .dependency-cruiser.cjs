// Who may import whom. The layers are those of docs/architecture.md; imports go downward only:
// edge -> domain -> drivers -> ground. src/main.ts and src/daemon.ts, the composition root, see all.
// Tests may reach across (an oracle, a real neighbour), but never make a cycle.

const edge = ["server", "streaming", "cli", "doctor"];
const domain = ["recovery", "sandbox", "container", "image", "oci"]; // each may import those after it
const drivers = ["shim", "cni", "netns", "snapshot", "content", "registry", "cgroup", "store", "logger", "cdi", "classes", "nri"]; // never each other
const ground = ["linux", "archive", "config", "metrics", "records", "base"];

const test = "\\.test\\.ts$|/test(ing|kit)/";
const folders = (...names) => `^src/(${names.flat().join("|")})/`;

/** `from` may not import `to`. */
const forbid = (name, from, to, comment) => ({ name, comment, severity: "error", from: { path: from, pathNot: test }, to: { path: to } });

/** A package (or one of Node's modules) that only some folders may import. */
const onlyIn = (name, owners) => ({
  name: `only-in:${name}`,
  comment: `${name} is imported by ${owners.join(", ")} alone, so that it can be replaced there`,
  severity: "error",
  from: { path: "^(src|vendor|api)/", pathNot: [test, ...owners.map((owner) => `^${owner}`)] },
  to: { path: name.startsWith("node:") ? `^(node:)?${name.slice(5)}$` : `(^|/)node_modules/${name}/` },
});

/** Code of this repository that only some folders may import. */
const ownOnlyIn = (path, owners) => ({
  name: `only-in:${path}`,
  comment: `${path} is imported by ${owners.join(", ")} alone`,
  severity: "error",
  from: { path: "^src/", pathNot: [test, ...owners.map((owner) => `^${owner}`)] },
  to: { path: `^${path}` },
});

module.exports = {
  forbidden: [
    {
      name: "no-cycle",
      comment: "a cycle means that neither side can be understood alone",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    { name: "no-unresolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
    {
      name: "no-dev-package",
      comment: "what runs on a node is in dependencies, not in devDependencies",
      severity: "error",
      from: { path: "^(src|vendor)/", pathNot: [test, "^vendor/[^/]+/test/"] },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"], dependencyTypesNot: ["type-only"] },
    },

    forbid("ground-is-lowest", folders(ground), folders(edge, domain, drivers), "ground knows nothing of what stands on it"),
    forbid(
      "base-and-records-stand-alone",
      folders("base"),
      folders("linux", "archive", "config", "metrics", "records"),
      "base is the very bottom",
    ),
    forbid("records-know-only-base", folders("records"), folders("linux", "archive", "config", "metrics"), "records are shapes"),
    forbid("drivers-below-domain", folders(drivers), folders(edge, domain), "a driver does not know who uses it"),
    ...drivers.map((name) =>
      forbid(
        `driver-siblings:${name}`,
        folders(name),
        folders(drivers.filter((other) => other !== name)),
        "drivers never import each other",
      ),
    ),
    forbid("domain-below-edge", folders(domain), folders(edge), "the domain knows nothing of gRPC and HTTP"),
    ...domain
      .slice(1)
      .map((name, index) =>
        forbid(
          `domain-order:${name}`,
          folders(name),
          folders(domain.slice(0, index + 1)),
          "recovery -> sandbox -> container -> image -> oci",
        ),
      ),
    forbid(
      "streaming-below-server",
      folders("streaming"),
      folders("server", "cli"),
      "the server hands out streaming's URLs, not the other way",
    ),
    forbid("server-apart-from-cli", folders("server"), folders("cli"), "the command line calls the server, not the other way"),
    forbid("doctor-apart", folders("doctor"), folders("server", "streaming", "cli"), "it looks at a node, with or without a daemon"),
    forbid("doctor-from-cli-only", "^src/(?!(cli|doctor)/)", folders("doctor"), "nothing depends on the doctor"),
    forbid("root-from-cli-only", "^src/(?!cli/)[^/]+/", "^src/(main|daemon)\\.ts$", "only the command line starts the daemon"),
    forbid("vendor-stands-alone", "^vendor/", "^(src|api|hack|test)/", "a vendored package is usable by itself"),
    forbid("api-stands-alone", "^api/", "^(src|vendor|hack|test)/", "generated code imports its runtime alone"),
    forbid("no-test-code", "^src/", "^(test|bench|hack)/|\\.test\\.ts$", "tests, benches and scripts are not shipped"),

    onlyIn("koffi", ["src/linux/"]),
    onlyIn("node:sqlite", ["src/store/"]),
    onlyIn("pino", ["src/base/log\\.ts"]),
    onlyIn("prom-client", ["src/metrics/"]),
    onlyIn("js-yaml", ["src/config/"]),
    onlyIn("undici", ["src/registry/"]),
    onlyIn("smol-toml", ["src/registry/"]),
    onlyIn("ws", ["src/streaming/"]),
    onlyIn("@grpc/grpc-js", ["src/server/", "src/cli/"]),
    onlyIn("protobufjs", ["api/"]),
    ownOnlyIn("vendor/ttrpc-node/", ["src/shim/", "src/logger/", "src/nri/"]),
    ownOnlyIn("api/cri/", ["src/server/", "src/cli/"]),
    ownOnlyIn("api/shim/", ["src/shim/"]),
    ownOnlyIn("api/nri/", ["src/nri/"]),
    ownOnlyIn("api/crid/", ["src/server/", "src/cli/", "src/logger/"]),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    // Types count: a domain that knows the wire's types depends on them.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default", "types"] },
  },
};

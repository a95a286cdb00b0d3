import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import { messageOf } from "../base/errors.ts";
import { parseQualifiedName } from "./names.ts";
import { parseCdiSpec } from "./spec.ts";
import { goTestSpecs, noOracle, Oracle } from "./testkit/oracle.ts";

// Against tags.cncf.io/container-device-interface: the same verdicts over its own test data, and over what fast-check makes up.

const oracle = noOracle === false ? new Oracle() : undefined;
after(() => oracle?.[Symbol.asyncDispose]());
const ask = async (op: "name" | "spec", text: string) => (await oracle?.ask({ op, text })) ?? assert.fail("no oracle");

function ours(text: string): { devices: string[]; error: string } {
  try {
    const { kind, devices } = parseCdiSpec(text, "spec.yaml");
    return { devices: [...devices.keys()].map((name) => `${kind}=${name}`), error: "" };
  } catch (error) {
    return { devices: [], error: messageOf(error) };
  }
}

async function compare(text: string): Promise<void> {
  const { ok, error, result } = await ask("spec", text);
  const { devices, error: problem } = ours(text);
  assert.equal(problem === "", ok, `Go: ${error ?? "good"}, crid: ${problem || "good"}\n${text}`);
  assert.deepEqual(devices, result ?? []);
}

test("the specs of the Go library's tests get the same verdict", { skip: noOracle }, async () => {
  const specs = goTestSpecs();
  assert.ok(specs.length > 50, String(specs.length));
  let good = 0;
  for (const text of specs) {
    await compare(text);
    if (ours(text).error === "") good++;
  }
  assert.ok(good > 30 && good < specs.length, `${good} of ${specs.length} are good`);
});

const part = fc.oneof(
  { arbitrary: fc.constantFrom("v", "vendor.com", "a-b_c", "G0"), weight: 8 },
  fc.stringMatching(/^[A-Za-z0-9._:-]{0,6}$/),
  fc.stringMatching(/^[A-Za-z0-9._:=/-]{0,4}$/),
  fc.string({ unit: "binary", maxLength: 3 }),
);

test("names: the same parts or the same refusal", { skip: noOracle }, async () => {
  const name = fc.oneof(
    fc
      .tuple(part, fc.constantFrom("/", "/", "/", "", "//"), part, fc.constantFrom("=", "=", "=", "", "=="), part)
      .map((parts) => parts.join("")),
    fc.string(),
  );
  let good = 0;
  await fc.assert(
    fc.asyncProperty(name, async (text) => {
      const { ok, result } = await ask("name", text.toWellFormed());
      if (!ok) return void assert.throws(() => parseQualifiedName(text.toWellFormed()), `Go refuses ${JSON.stringify(text)}`);
      const parsed = parseQualifiedName(text);
      assert.deepEqual([parsed.vendor, parsed.class, parsed.name], result);
      good++;
    }),
    { numRuns: 1500 },
  );
  assert.ok(good > 20, `${good} names were good`);
});

const versions = fc.constantFrom(
  ...Array<string>(12).fill("1.1.0"),

  "0.1.0",
  "0.2.0",
  "0.3.0",
  "v0.4.0",
  "0.5.0",
  "0.6.0",
  "0.7.0",
  "0.8.0",
  "1.0.0",
  "1.1.0",
  "1.2.0",
  "v1.1.0",
  "0.6",
  "",
);
/** Mostly what is right, now and then what is not. */
const usually = <T>(good: fc.Arbitrary<T>, ...odd: unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof({ arbitrary: good, weight: 60 }, { arbitrary: fc.constantFrom(...odd), weight: 1 });
const maybe = (fields: Record<string, fc.Arbitrary<unknown>>, required: string[] = []): fc.Arbitrary<object> =>
  fc.record(fields, { requiredKeys: required });
const short = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(item, { maxLength: 2 });
const env = usually(fc.constantFrom("A=b", "A=", "PATH=/x=y"), "A", "=b", "", 5, null, ["A=b"]);
const edits = maybe({
  env: usually(short(env), null, "A=b"),
  deviceNodes: short(
    maybe(
      {
        path: usually(fc.constantFrom("/dev/a", "/dev/b"), "", null),
        hostPath: usually(fc.constantFrom("/dev/null", ""), null),
        type: usually(fc.constantFrom("b", "c", "u", "p", ""), "x"),
        major: usually(fc.nat(300), "7", -1, 1.5, true),
        minor: fc.nat(300),
        fileMode: usually(fc.nat(0o777), -1, 2 ** 32),
        permissions: usually(fc.constantFrom("rwm", "r", "none", ""), "x", "rx"),
        uid: usually(fc.nat(2000), -1, 2 ** 32, null),
        gid: fc.nat(2000),
      },
      ["path"],
    ),
  ),
  netDevices: short(
    maybe({ hostInterfaceName: usually(fc.constantFrom("eth1", "eth2"), ""), name: usually(fc.constantFrom("a", "b"), "") }, [
      "hostInterfaceName",
      "name",
    ]),
  ),
  hooks: short(
    maybe(
      {
        hookName: usually(fc.constantFrom("prestart", "createRuntime", "poststop"), "start"),
        path: usually(fc.constant("/bin/x"), ""),
        args: short(fc.string()),
        env: short(env),
        timeout: usually(fc.nat(9), "1"),
      },
      ["hookName", "path"],
    ),
  ),
  mounts: short(
    maybe(
      {
        hostPath: usually(fc.constant("/a"), ""),
        containerPath: usually(fc.constant("/b"), ""),
        type: fc.constantFrom("", "bind"),
        options: short(fc.constant("ro")),
      },
      ["hostPath", "containerPath"],
    ),
  ),
  intelRdt: usually(
    maybe({
      closID: usually(fc.constantFrom("gold", "/", ""), ".", "a/b"),
      l3CacheSchema: fc.constant("L3:0=f"),
      schemata: short(fc.constant("MB:0=1")),
      enableMonitoring: usually(fc.boolean(), "yes", "maybe", 1),
    }),
    null,
  ),
  additionalGids: usually(short(fc.nat(99)), [-1], null, "5"),
});
const annotations = usually(fc.constantFrom({}, { "a.b/c": "d" }, { " ": "not checked" }), { a: 5 }, null, "a");
const spec = maybe(
  {
    cdiVersion: versions,
    kind: usually(fc.constantFrom("vendor.com/gpu", "v/c", "v/c.d"), "gpu", "1v/c", "", null),
    annotations,
    devices: usually(
      fc.array(
        maybe(
          {
            name: usually(fc.constantFrom("a", "b", "0", "a:1"), "", "a-", 7, null),
            annotations,
            containerEdits: usually(edits, null, {}),
          },
          ["name", "containerEdits"],
        ),
        { minLength: 1, maxLength: 3 },
      ),
      [],
      null,
    ),
    containerEdits: edits,
  },
  ["cdiVersion", "kind", "devices"],
);

test("made-up specs get the same verdict", { skip: noOracle }, async () => {
  let good = 0;
  await fc.assert(
    fc.asyncProperty(spec, async (value) => {
      const text = JSON.stringify(value);
      await compare(text);
      if (ours(text).error === "") good++;
    }),
    { numRuns: 400 },
  );
  assert.ok(good > 15, `${good} specs were good`);
});

test("YAML is read as Go reads it: a number is a name, 0660 is octal, a word is a boolean, merges", { skip: noOracle }, async () => {
  const yaml = (edits: string, name = "a") => `cdiVersion: 1.1.0\nkind: v/c\ndevices:\n- name: ${name}\n  containerEdits:\n    ${edits}\n`;
  const nodes = ["0660", "0o660", "0b11", "0x1F", "1_000", "08", "+5", "1e3", "-1", "~", "'5'", "abc", ".5", "."];
  const texts = [
    ...["0", "1.0", "true", "~", "2020-01-01", "'0'", "!!str 5", "0x10", "a b"].map((name) => yaml("env: [A=b]", name)),
    ...nodes.map((mode) => yaml(`deviceNodes: [{path: /dev/a, fileMode: ${mode}}]`)),
    ...["yes", "on", "True", "y", "no", "'yes'", "1", "~"].map((value) => yaml(`intelRdt: {enableMonitoring: ${value}}`)),
    yaml("env: [A=b]\n    env: [A=c]"),
    yaml("env: [A=b]").replace("devices:", "containerEdits: &e {env: [X=y]}\ndevices:\n- name: b\n  containerEdits: {<<: *e}\ndevices2:"),
    yaml("env: [A=b]").replace("devices:", "containerEdits: &e {env: [X=y]}\ndevices:\n- {name: b, containerEdits: {<<: *e}}"),
    `${yaml("env: [A=b]")}---\nsecond: document\n`,
    JSON.stringify(JSON.parse('{"cdiVersion":"0.3.0","kind":"v/c","devices":[{"name":"a","containerEdits":{"env":["A=b"]}}]}'), null, "\t"),
    '{"cdiVersion":"0.3.0","cdiVersion":"0.3.0","kind":"v/c","devices":[{"name":"a","containerEdits":{"env":["A=b"]}}]}',
    "",
    "---\n",
    "~",
    "[]",
    "a string",
    "{",
    "\u0000",
  ];
  for (const text of texts) await compare(text);
  const mode = (text: string) =>
    parseCdiSpec(yaml(`deviceNodes: [{path: /dev/a, fileMode: ${text}}]`), "").devices.get("a")?.deviceNodes?.[0]?.fileMode;
  assert.deepEqual([mode("0660"), mode("0o660"), mode("432"), mode("0x1b0"), mode("08")], [432, 432, 432, 432, 8]);
});

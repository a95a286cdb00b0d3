import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CridError, isKind } from "../base/errors.ts";
import { atLeast, cniVersions, formatNetworkConf, parseNetworkConf, parsePluginConf } from "./conf.ts";

const rejects = (document: unknown, message: RegExp): void =>
  assert.throws(
    () => parseNetworkConf(typeof document === "string" ? document : JSON.stringify(document)),
    (error) => isKind(error, "invalid-argument") && message.test(error.message),
  );

test("a list: name, version, flags, plugins with their whole configuration", () => {
  const plugins = [
    { type: "bridge", bridge: "b0", ipam: { type: "host-local" } },
    { type: "portmap", capabilities: { portMappings: true, other: false } },
  ];
  const conf = parseNetworkConf(
    JSON.stringify({ cniVersion: "1.0.0", name: "net", disableCheck: "TRUE", disableGC: true, extra: 1, plugins }),
  );
  assert.deepEqual(conf, {
    name: "net",
    cniVersion: "1.0.0",
    disableCheck: true,
    disableGc: true,
    plugins: [
      { type: "bridge", capabilities: [], raw: plugins[0] },
      { type: "portmap", capabilities: ["portMappings"], raw: plugins[1] },
    ],
  });
});

test("a single plugin's file becomes a list of one; a list in a .conf is read too", () => {
  const conf = parseNetworkConf('{"cniVersion":"0.3.1","name":"n","type":"ptp","capabilities":{"dns":true}}');
  assert.deepEqual([conf.name, conf.plugins.map((one) => [one.type, one.capabilities, one.raw.name])], ["n", [["ptp", ["dns"], "n"]]]);
});

test("the version is the newest that both sides know", () => {
  const version = (document: object): string =>
    parseNetworkConf(JSON.stringify({ name: "n", plugins: [{ type: "t" }], ...document })).cniVersion;
  assert.equal(version({ cniVersion: "0.4.0", cniVersions: ["1.0.0", "9.9.9", "0.3.1"] }), "1.0.0");
  assert.equal(version({ cniVersions: ["1.1.0", "1.0.0"] }), "1.1.0");
  assert.equal(version({ cniVersion: "9.9.9", cniVersions: ["1.0.0"] }), "1.0.0");
  assert.equal(version({}), "0.1.0");
  assert.equal(version({ cniVersion: "" }), "0.1.0");
  assert.ok(atLeast("1.1.0", "0.4.0") && atLeast("0.4.0", "0.4.0") && !atLeast("0.3.1", "0.4.0"));
});

test("plugins in files of their own come after those in the list, unless the list wants only its own", () => {
  const beside = [parsePluginConf('{"type":"tuning"}')];
  const types = (document: object): string[] =>
    parseNetworkConf(JSON.stringify({ name: "n", ...document }), () => beside).plugins.map((one) => one.type);
  assert.deepEqual(types({ plugins: [{ type: "bridge" }] }), ["bridge", "tuning"]);
  assert.deepEqual(types({}), ["tuning"]);
  assert.deepEqual(types({ plugins: [{ type: "bridge" }], loadOnlyInlinedPlugins: true }), ["bridge"]);
});

test("what is wrong is named", () => {
  rejects("", /not JSON/);
  rejects('{"name": "a",', /not JSON/);
  rejects("[]", /document/);
  rejects({ plugins: [{ type: "t" }] }, /name/);
  rejects({ name: "a/b", plugins: [{ type: "t" }] }, /name/);
  rejects({ name: "../x", plugins: [{ type: "t" }] }, /name/);
  rejects({ name: "n", plugins: [] }, /plugins: expected at least one/);
  rejects({ name: "n" }, /no plugins/);
  rejects({ name: "n", loadOnlyInlinedPlugins: true }, /loadOnlyInlinedPlugins/);
  rejects({ name: "n", plugins: [{ type: "t" }, { nope: 1 }] }, /plugins\.1\.type/);
  rejects({ name: "n", plugins: [{ type: "../../bin/sh" }] }, /plugins\.0\.type: .*slash/);
  rejects({ name: "n", plugins: [{ type: "t" }], cniVersion: "2.0.0" }, /2\.0\.0: not known here; known are 0\.1\.0 to 1\.1\.0/);
  rejects({ name: "n", plugins: [{ type: "t" }], disableGC: "maybe" }, /disableGC/);
  rejects({ name: "n", plugins: [{ type: "t", capabilities: { a: "yes" } }] }, /plugins\.0\.capabilities\.a/);
});

const jsonObject = fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue(), { maxKeys: 4 });

test("property: what is written back reads the same", () => {
  const plugin = fc
    .tuple(jsonObject, fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/), fc.dictionary(fc.string(), fc.boolean(), { maxKeys: 3 }))
    .map(([rest, type, capabilities]) => ({ ...rest, type, capabilities }));
  fc.assert(
    fc.property(
      fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,20}$/),
      fc.constantFrom(...cniVersions),
      fc.boolean(),
      fc.boolean(),
      fc.array(plugin, { minLength: 1, maxLength: 4 }),
      (name, cniVersion, disableCheck, disableGC, plugins) => {
        const once = parseNetworkConf(JSON.stringify({ name, cniVersion, disableCheck, disableGC, plugins }));
        assert.deepEqual(parseNetworkConf(formatNetworkConf(once)), once);
        assert.deepEqual(
          once.plugins.map((one) => one.raw),
          JSON.parse(JSON.stringify(plugins)),
        );
      },
    ),
    { numRuns: 200 },
  );
});

test("property: any text gives a network or an error that says why, nothing else", () => {
  const near = fc.record(
    {
      name: fc.oneof(fc.string(), fc.jsonValue()),
      cniVersion: fc.oneof(fc.constantFrom("0.3.1", "1.1.0"), fc.jsonValue()),
      cniVersions: fc.jsonValue(),
      plugins: fc.oneof(
        fc.array(fc.oneof(fc.record({ type: fc.jsonValue(), capabilities: fc.jsonValue() }), fc.jsonValue())),
        fc.jsonValue(),
      ),
      type: fc.jsonValue(),
      loadOnlyInlinedPlugins: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        near.map((value) => JSON.stringify(value)),
      ),
      (text) => {
        try {
          const conf = parseNetworkConf(text);
          assert.ok(conf.plugins.length > 0 && conf.plugins.every((one) => !one.type.includes("/")));
        } catch (error) {
          assert.ok(error instanceof CridError && error.kind === "invalid-argument", String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});

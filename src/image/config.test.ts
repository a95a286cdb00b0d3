import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { runtime } from "../../api/cri/runtime/v1/api.js";
import { digestOf } from "../base/digest.ts";
import { CridError } from "../base/errors.ts";
import type { ImageConfig } from "../records/image-record.ts";
import { type ParsedConfig, parseImageConfig } from "./config.ts";

const host = { os: "linux", architecture: "amd64", variant: "" };
const layers = [digestOf("a"), digestOf("b")];

function parse(document: unknown): ParsedConfig {
  return parseImageConfig(Buffer.from(JSON.stringify(document)), { layers: layers.length, host, what: "config c" });
}

/** Half a character too: JSON can say "\ud800". */
const text = fc.string({
  unit: fc.oneof(fc.constantFrom("a", "\ud800", "\udc00", "\0", "é", "\u{1f600}"), fc.string({ maxLength: 1 })),
  maxLength: 12,
});
const whole = text.map((value) => value.toWellFormed());

function texts({ user, env, entrypoint, cmd, workingDir, stopSignal, labels, volumes }: ImageConfig): string[] {
  return [user, ...env, ...entrypoint, ...cmd, workingDir, stopSignal, ...Object.entries(labels).flat(), ...volumes];
}

test("what a config says is what is read", () => {
  const labels = fc.dictionary(
    whole.filter((key) => key !== "__proto__"),
    whole,
    { maxKeys: 4, noNullPrototype: true },
  );
  const fields = fc.record({
    User: whole,
    Env: fc.array(whole),
    Entrypoint: fc.array(whole),
    Cmd: fc.array(whole),
    WorkingDir: whole,
    Labels: labels,
  });
  fc.assert(
    fc.property(fields, (config) => {
      const document = {
        os: "linux",
        architecture: "amd64",
        config: { ...config, Volumes: config.Labels },
        rootfs: { type: "layers", diff_ids: layers },
      };
      const { diffIds, config: read } = parse(document);
      assert.deepEqual(diffIds, layers);
      assert.deepEqual(
        [read.user, read.env, read.entrypoint, read.cmd, read.workingDir, read.labels, read.volumes],
        [config.User, config.Env, config.Entrypoint, config.Cmd, config.WorkingDir, config.Labels, Object.keys(config.Labels)],
      );
    }),
  );
});

test("an image whose user is half a character does not spoil the list of images: all texts are UTF-8", () => {
  const config = fc.record({
    User: text,
    Env: fc.array(text),
    Cmd: fc.array(text),
    StopSignal: text,
    Labels: fc.dictionary(text, text),
    Volumes: fc.dictionary(text, text),
  });
  fc.assert(
    fc.property(config, (own) => {
      const { config: read } = parse({ config: own, rootfs: { type: "layers", diff_ids: layers } });
      assert.ok(texts(read).every((value) => value.isWellFormed()));
      const message = runtime.v1.Image.encode({ id: "i", username: read.user }).finish();
      new TextDecoder("utf8", { fatal: true }).decode(message);
    }),
  );
});

test("any JSON is read or refused", () => {
  const keys = fc.constantFrom(
    "config",
    "rootfs",
    "diff_ids",
    "type",
    "User",
    "Env",
    "Labels",
    "Volumes",
    "os",
    "architecture",
    "__proto__",
    "constructor",
    "toString",
  );
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom(null, 1, -1, 1e300, "", "layers", true, layers, layers[0]),
      tie("list"),
      tie("object"),
    ),
    list: fc.array(tie("value"), { maxLength: 3 }),
    object: fc.dictionary(keys, tie("value"), { maxKeys: 5 }),
  })).value;
  let read = 0;
  fc.assert(
    fc.property(json, fc.boolean(), (document, withRootfs) => {
      const object = typeof document === "object" && document !== null && !Array.isArray(document);
      try {
        const { config } = parse(withRootfs && object ? { ...document, rootfs: { type: "layers", diff_ids: layers } } : document);
        for (const value of texts(config)) assert.equal(typeof value, "string");
        read++;
      } catch (error) {
        assert.ok(error instanceof CridError && ["data-loss", "failed-precondition"].includes(error.kind), String(error));
      }
    }),
    { numRuns: 2000 },
  );
  assert.ok(read > 50, `${read} were read`);
});

test("lists that no image needs are refused before they take everybody's time", () => {
  const rootfs = { type: "layers", diff_ids: layers };
  const many = (count: number): Record<string, string> => Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, "v"]));
  assert.equal(Object.keys(parse({ config: { Labels: many(10_000) }, rootfs }).config.labels).length, 10_000);
  for (const [name, value] of Object.entries({
    Env: Array(10_001).fill("a"),
    Labels: many(10_001),
    Volumes: many(10_001),
    Cmd: Array(300_000).fill("a"),
  }))
    assert.throws(
      () => parse({ config: { [name]: value }, rootfs }),
      (error) =>
        error instanceof CridError &&
        error.kind === "data-loss" &&
        new RegExp(`config c: ${name} has \\d+ items, more than 10000`).test(error.message),
    );
  assert.throws(() => parse({ rootfs: { ...rootfs, diff_ids: Array(10_001).fill(layers[0]) } }), /diff_ids has 10001 items/);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import protobuf from "protobufjs";
import { runtime } from "../../api/cri/runtime/v1/api.js";
import { imageMethods, runtimeMethods } from "./grpc-services.ts";

const root = new protobuf.Root().loadSync("api/cri/runtime/v1/api.proto");
const messages = new Map<string, { encode(message: object): { finish(): Buffer } }>(Object.entries(runtime.v1) as never);

for (const [service, methods] of [
  ["RuntimeService", runtimeMethods],
  ["ImageService", imageMethods],
] as const) {
  test(`${service}: the table has the methods, messages and stream kinds of the proto`, () => {
    const declared = root.lookupService(`runtime.v1.${service}`).methods;
    assert.deepEqual(new Set(Object.keys(methods)), new Set(Object.keys(declared)));
    for (const [name, method] of Object.entries(methods)) {
      const proto = declared[name];
      assert.equal(method.kind, proto?.responseStream === true ? "stream" : "unary", name);
      assert.equal(method.decode(Buffer.alloc(0)).constructor, messages.get(proto?.requestType ?? ""), name);
      assert.deepEqual(method.encode(Buffer.from("kept")), Buffer.from("kept"), name);
    }
  });
}

import assert from "node:assert/strict";
import { test } from "node:test";
import protobuf from "protobufjs";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { adminHandlers } from "./admin-handlers.ts";
import { adminMethods } from "./admin-methods.ts";
import { testServices } from "./fixtures.ts";

const messages = new Map<string, unknown>(Object.entries(crid.admin.v1));

test("the table has the methods, messages and stream kinds of the proto, and each has a handler", () => {
  const declared = new protobuf.Root().loadSync("api/crid/admin/v1/admin.proto").lookupService("crid.admin.v1.Admin").methods;
  assert.deepEqual(new Set(Object.keys(adminMethods)), new Set(Object.keys(declared)));
  for (const [name, method] of Object.entries(adminMethods)) {
    const proto = declared[name];
    const kind = proto?.requestStream === true ? "duplex" : proto?.responseStream === true ? "stream" : "unary";
    assert.equal(method.kind, kind, name);
    assert.equal(method.decode(Buffer.alloc(0)).constructor, messages.get(proto?.requestType ?? ""), name);
  }
  assert.deepEqual(Object.keys(adminHandlers(testServices())), Object.keys(adminMethods));
});

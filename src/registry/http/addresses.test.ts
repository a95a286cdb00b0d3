import assert from "node:assert/strict";
import { test } from "node:test";
import { hostnameOf, isLinkLocal, isLoopback, portOf } from "./addresses.ts";

test("hosts and ports", () => {
  assert.deepEqual(["a", "a:1", "[::1]", "[::1]:5", "1.2.3.4:6"].map(hostnameOf), ["a", "a", "::1", "::1", "1.2.3.4"]);
  assert.deepEqual(["a", "a:1", "[::1]", "[::1]:5", "1.2.3.4:6"].map(portOf), ["", "1", "", "5", "6"]);
});

test("loopback", () => {
  for (const name of ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"])
    assert.ok(isLoopback(name), name);
  for (const name of ["localhost.example", "128.0.0.1", "::2", "example", "127.example"]) assert.ok(!isLoopback(name), name);
});

test("link-local and metadata addresses", () => {
  for (const name of [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "FEBF::1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "fd00:ec2::254",
    "0.0.0.0",
    "::",
  ]) {
    assert.ok(isLinkLocal(name), name);
  }
  for (const name of ["169.253.0.1", "fec0::1", "fd00::1", "1.1.1.1", "example", "2001:db8::1"]) assert.ok(!isLinkLocal(name), name);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { proxyFromEnv } from "./proxy.ts";

const env = {
  HTTP_PROXY: "http://plain.example:3128",
  HTTPS_PROXY: "secure.example:3129",
  NO_PROXY: "internal.example, .dot.example,*.star.example,10.0.0.0/8,192.168.1.1,fd00::/8,[::5]:443,ported.example:5000",
};

test("which proxy for which URL", () => {
  const choose = proxyFromEnv(env);
  const secure = "http://secure.example:3129";
  const cases: [string, string | undefined][] = [
    ["https://registry.example/v2/", secure],
    ["http://registry.example/v2/", "http://plain.example:3128"],
    ["http://localhost:5000/", undefined],
    ["http://127.0.0.1/", undefined],
    ["http://[::1]/", undefined],
    ["https://internal.example/", undefined],
    ["https://sub.internal.example/", undefined],
    ["https://notinternal.example/", secure],
    ["https://dot.example/", secure],
    ["https://a.dot.example/", undefined],
    ["https://star.example/", secure],
    ["https://a.star.example/", undefined],
    ["https://10.1.2.3/", undefined],
    ["https://11.1.2.3/", secure],
    ["https://192.168.1.1:8443/", undefined],
    ["https://[fd00::7]/", undefined],
    ["https://[::5]/", undefined],
    ["https://[::5]:444/", secure],
    ["https://ported.example:5000/", undefined],
    ["https://ported.example/", secure],
  ];
  for (const [url, proxy] of cases) assert.equal(choose(new URL(url)), proxy, url);
});

test("no proxies, lower case names, and * for none", () => {
  assert.equal(proxyFromEnv({})(new URL("https://x.example")), undefined);
  assert.equal(proxyFromEnv({ https_proxy: "http://p.example" })(new URL("https://x.example")), "http://p.example");
  assert.equal(proxyFromEnv({ ...env, NO_PROXY: "*" })(new URL("https://x.example")), undefined);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CridError, isKind } from "../../base/errors.ts";
import { parseHostsToml } from "./hosts-toml.ts";

const dir = "/etc/containerd/certs.d/docker.io";

test("reads what containerd's documentation shows", () => {
  const entries = parseHostsToml(
    `server = "https://registry-1.docker.io"    # Exclude this to not use upstream

[host."https://mirror.registry"]
  capabilities = ["pull"]
  ca = "mirror.pem"
  skip_verify = false
  [host."https://mirror.registry".header]
    x-custom-2 = ["value1", "value2"]

[host."https://mirror-bak.registry/us"]
  capabilities = ["pull", "PUSH"]
  skip_verify = true
  dial_timeout = "1m1.5s"

[host."http://mirror.registry:5000"]
  capabilities = ["pull"]

[host.'test-1.registry']
  capabilities = ["pull", "resolve", "push"]
  ca = ["/etc/certs/test-1-ca.pem", "special.pem"]
  client = [["client.cert", "/etc/certs/client.key"],["/etc/certs/client.pem", ""]]

[host."https://test-2.registry"]
  client = "/etc/certs/client.pem"

[host."https://test-3.registry"]
  client = ["client-1.pem", "/etc/certs/client-2.pem"]

[host."https://non-compliant-mirror.registry/v2/upstream"]
  capabilities = ["pull"]
  override_path = true
`,
    dir,
  );
  const [mirror, backup, plain, one, two, three, override, root] = entries;
  assert.equal(entries.length, 8);
  assert.deepEqual(mirror, {
    capabilities: new Set(["pull"]),
    tls: { ca: [`${dir}/mirror.pem`], client: [], skipVerify: false },
    explicitTls: true,
    headers: { "x-custom-2": ["value1", "value2"] },
    line: 3,
    server: { scheme: "https", host: "mirror.registry", path: "/v2" },
  });
  assert.deepEqual(backup?.server, { scheme: "https", host: "mirror-bak.registry", path: "/us/v2" });
  assert.equal(backup?.dialTimeoutMs, 61_500);
  assert.deepEqual(plain?.server, { scheme: "http", host: "mirror.registry:5000", path: "/v2" });
  assert.equal(plain?.explicitTls, false);
  assert.deepEqual(one?.server, { scheme: "https", host: "test-1.registry", path: "/v2" });
  assert.deepEqual(one?.tls.ca, ["/etc/certs/test-1-ca.pem", `${dir}/special.pem`]);
  assert.deepEqual(one?.tls.client, [{ cert: `${dir}/client.cert`, key: "/etc/certs/client.key" }, { cert: "/etc/certs/client.pem" }]);
  assert.deepEqual(two?.tls.client, [{ cert: "/etc/certs/client.pem" }]);
  assert.deepEqual(three?.tls.client, [{ cert: `${dir}/client-1.pem` }, { cert: "/etc/certs/client-2.pem" }]);
  assert.deepEqual(override?.server, { scheme: "https", host: "non-compliant-mirror.registry", path: "/v2/upstream" });
  assert.deepEqual(root?.server, { scheme: "https", host: "registry-1.docker.io", path: "/v2" });
  assert.equal(root?.line, 1);
});

test("without server the root entry stands for the registry itself, with its settings", () => {
  const [root, ...more] = parseHostsToml('ca = "ca.pem"\n[header]\n  a = "b"\n', dir);
  assert.deepEqual(more, []);
  assert.equal(root?.server, undefined);
  assert.deepEqual(root?.tls.ca, [`${dir}/ca.pem`]);
  assert.deepEqual(root?.headers, { a: "b" });
});

test("/v2 is not appended twice", () => {
  for (const url of ["https://h/v2", "https://h/v2/", "https://h", "https://h/"]) {
    assert.equal(parseHostsToml(`server = "${url}"`, dir)[0]?.server?.path, "/v2");
  }
});

test("a file that cannot be used is an error that names the file, the place and the reason", () => {
  const broken: [string, RegExp][] = [
    ['server = "https://x"\n[host."https://y"\n', /hosts\.toml:2: /],
    ['[host."https://y"]\ncapabilities = ["pul"]', /hosts\.toml: https:\/\/y: unknown capability "pul"/],
    ['[host."https://y"]\nca = 3', /hosts\.toml: host\.https:\/\/y\.ca/],
    ['[host."https://y"]\nclient = [["a","b","c"]]', /hosts\.toml: host\.https:\/\/y\.client/],
    ['[host."https://y"]\ndial_timeout = "soon"', /dial_timeout "soon"/],
    ['server = "https://a b"', /not a URL/],
    ['[host."https://y"]\nskip_verify = "yes"', /skip_verify/],
  ];
  for (const [text, why] of broken) {
    assert.throws(
      () => parseHostsToml(text, dir),
      (error) => isKind(error, "failed-precondition") && why.test(error.message),
      text,
    );
  }
});

test("any text is read or refused", () => {
  const word = fc.constantFrom(
    "server",
    "host",
    "[",
    "]",
    '"',
    "=",
    "https://x",
    "\n",
    ".",
    "ca",
    "true",
    "capabilities",
    "'",
    "{",
    "}",
    ",",
    " ",
    "header",
    "1",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(word).map((words) => words.join("")),
      ),
      (text) => {
        try {
          assert.ok(parseHostsToml(text, dir).length >= 1);
        } catch (error) {
          assert.ok(error instanceof CridError && error.kind === "failed-precondition", String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/log.ts";
import { type Config, configSchema } from "../config/schema.ts";
import { FakeRegistry } from "../registry/testkit/fake-registry.ts";
import { makeTestImage } from "../registry/testkit/test-image.ts";
import { checkRegistry } from "./registries.ts";

function configured(registry: unknown = {}): Config {
  return configSchema.parse({ registry });
}

async function look(image: string, config: Config): Promise<string> {
  const [found] = await checkRegistry(image, config, silentLogger(), { signal: AbortSignal.timeout(20_000) });
  return `${found?.verdict} ${found?.message}`;
}

test("every endpoint of an image is asked, and told with its answer", async () => {
  await using registry = await FakeRegistry.start();
  const image = registry.add("team/app", "1", await makeTestImage({ layers: [[{ name: "a", content: "b" }]] }));
  assert.match(await look(image, configured()), /^ok http:\/\/127\.0\.0\.1:\d+.* sha256:[0-9a-f]{64}, \d+ ms/);
  assert.match(await look(`${registry.host}/team/app:none`, configured()), /^failure no endpoint has it: .*404/);
  const mirrored = configured({ mirrors: { [registry.host]: { endpoints: ["http://127.0.0.1:1"] } } });
  assert.match(await look(image, mirrored), /^warning not every endpoint has it: http:\/\/127\.0\.0\.1:1.*ECONNREFUSED/);
  assert.match(await look("Not A Name", configured()), /^failure /);
});

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../base/log.ts";
import type { ValidatorSettings } from "./default-validator.ts";
import type { Container, LinuxResources, PodSandbox } from "./messages.ts";
import { Nri, type NriOptions } from "./nri.ts";
import { TestPlugin, type TestPluginOptions } from "./test-plugin.ts";

export const validator: ValidatorSettings = {
  enable: false,
  rejectOCIHookAdjustment: false,
  rejectRuntimeDefaultSeccompAdjustment: false,
  rejectUnconfinedSeccompAdjustment: false,
  rejectCustomSeccompAdjustment: false,
  rejectNamespaceAdjustment: false,
  rejectSysctlAdjustment: false,
  requiredPlugins: [],
  tolerateMissingPluginsAnnotation: "",
};
export const pod: PodSandbox = { id: "p1", name: "pod" };
export const container: Container = {
  id: "c1",
  podSandboxId: "p1",
  name: "main",
  env: ["A=1", "B=2"],
  annotations: { keep: "1", go: "2" },
};
export const limit = () => ({ signal: AbortSignal.timeout(20_000) });

export interface Bed extends AsyncDisposable {
  nri: Nri;
  socket: string;
  updates: [string, LinuxResources][];
  evicted: string[];
  log: string[];
  cutOff: string[];
  /** Connects a plugin and waits until it is in. */
  plugin(options?: TestPluginOptions): Promise<TestPlugin>;
}

export async function bed(change: Partial<NriOptions> & { pods?: PodSandbox[]; refuse?: string } = {}): Promise<Bed> {
  const directory = mkdtempSync(join(tmpdir(), "nri-"));
  const socket = join(directory, "nri.sock");
  const log: string[] = [];
  const write = (data: object, text: string) => void log.push(`${text} ${JSON.stringify(data)}`);
  const logger = { info: write, warn: write, error: write, debug: write } as unknown as Logger;
  const updates: [string, LinuxResources][] = [];
  const evicted: string[] = [];
  const cutOff: string[] = [];
  const nri = await Nri.open({
    socket,
    disableConnections: false,
    pluginPath: join(directory, "plugins"),
    pluginConfigPath: join(directory, "conf.d"),
    registrationTimeoutMs: 2_000,
    requestTimeoutMs: 1_000,
    validator,
    runtime: { name: "crid", version: "test" },
    log: logger,
    onCall: () => {},
    onCutOff: (plugin, reason) => void cutOff.push(`${plugin} ${reason}`),
    ...change,
  });
  await nri.start({
    list: async () => ({ pods: change.pods ?? [pod], containers: [] }),
    update: async (id, resources) => {
      if (id === change.refuse) throw new Error("no such container");
      updates.push([id, resources]);
    },
    evict: async (id) => void evicted.push(id),
  });
  const plugins: TestPlugin[] = [];
  return {
    nri,
    socket,
    updates,
    evicted,
    log,
    cutOff,
    plugin: async (options = {}) => {
      const plugin = new TestPlugin(socket, options);
      plugins.push(plugin);
      await plugin.register();
      await until(() => nri.plugins.includes(`${options.index ?? "10"}-${options.name ?? "test"}`));
      return plugin;
    },
    [Symbol.asyncDispose]: async () => {
      await nri.close();
      for (const plugin of plugins) plugin[Symbol.dispose]();
      assert.deepEqual(
        readdirSync(directory).filter((name) => name.includes("sock")),
        [],
        "the socket is gone",
      );
      rmSync(directory, { recursive: true });
    },
  };
}

export async function until(done: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    if (done()) return;
    await sleep(10);
  }
  assert.fail("it does not come to pass");
}

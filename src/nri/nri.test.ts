import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../base/log.ts";
import type { ValidatorSettings } from "./default-validator.ts";
import { type Container, emptyResources, type LinuxResources, type PodSandbox, v1 } from "./messages.ts";
import { Nri, type NriOptions } from "./nri.ts";
import { TestPlugin, type TestPluginOptions } from "./test-plugin.ts";

const validator: ValidatorSettings = {
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
const pod: PodSandbox = { id: "p1", name: "pod" };
const container: Container = { id: "c1", podSandboxId: "p1", name: "main", env: ["A=1", "B=2"], annotations: { keep: "1", go: "2" } };
const limit = () => ({ signal: AbortSignal.timeout(20_000) });

interface Bed extends AsyncDisposable {
  nri: Nri;
  socket: string;
  updates: [string, LinuxResources][];
  evicted: string[];
  log: string[];
  cutOff: string[];
  /** Connects a plugin and waits until it is in. */
  plugin(options?: TestPluginOptions): Promise<TestPlugin>;
}

async function bed(change: Partial<NriOptions> & { pods?: PodSandbox[]; refuse?: string } = {}): Promise<Bed> {
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

async function until(done: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    if (done()) return;
    await sleep(10);
  }
  assert.fail("it does not come to pass");
}

/** A ttrpc frame of type response. */
function response(streamId: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(10);
  header.writeUInt32BE(payload.length, 0);
  header.writeUInt32BE(streamId, 4);
  header[8] = 2;
  return Buffer.concat([header, payload]);
}

/** Frames of the plugin's own connection, each as long as one may be. */
function muxed(bytes: Buffer): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 4 << 20) {
    const part = bytes.subarray(at, at + (4 << 20));
    const header = Buffer.alloc(8);
    header.writeUInt32BE(1, 0);
    header.writeUInt32BE(part.length, 4);
    frames.push(header, part);
  }
  return Buffer.concat(frames);
}

const cpus = (text: string): LinuxResources => Object.assign(emptyResources(), { cpu: new v1.LinuxCPU({ cpus: text }) });
const update = (containerId: string, ignoreFailure = false) =>
  new v1.ContainerUpdate({ containerId, ignoreFailure, linux: { resources: cpus("0") } });

test("plugins are asked in the order of their indices, each sees what those before it adjusted, and removals remove", async () => {
  await using own = await bed();
  await own.plugin({
    index: "20",
    name: "second",
    on: { CreateContainer: () => ({ adjust: { env: [{ key: "-A" }, { key: "A", value: "from second" }], annotations: { "-go": "" } } }) },
  });
  let seen: string[] | null | undefined;
  const last = await own.plugin({
    index: "30",
    name: "last",
    events: ["CreateContainer"],
    on: {
      CreateContainer: ({ container }) => {
        seen = container?.env;
        return { adjust: { mounts: [{ destination: "/data", source: "/tmp", type: "bind", options: ["ro"] }] } };
      },
    },
  });
  await own.plugin({
    index: "10",
    name: "first",
    on: { CreateContainer: () => ({ adjust: { env: [{ key: "A", value: "from first" }] } }) },
  });
  assert.deepEqual(own.nri.plugins, ["10-first", "20-second", "30-last"]);
  const adjustment = await own.nri.createContainer({ pod, container }, limit());
  assert.deepEqual(
    adjustment.env.map(({ key, value }) => `${key}=${value}`),
    ["A=from second"],
  );
  assert.deepEqual(adjustment.annotations, { "-go": "" });
  assert.equal(adjustment.mounts[0]?.destination, "/data");
  assert.deepEqual(seen, ["B=2", "A=from second"]);
  await own.nri.podEvent("StopPodSandbox", { pod }, limit());
  assert.ok(!last.names.includes("StopPodSandbox"), "it did not subscribe");
});

test("what two plugins set is refused with both names, unless the later removed it first", async () => {
  await using own = await bed();
  const sets = (value: string) => ({ adjust: { linux: { resources: { memory: { limit: { value: BigInt(value.length) } } } } } });
  await own.plugin({ index: "10", name: "a", on: { CreateContainer: () => sets("x") } });
  await own.plugin({ index: "20", name: "b", on: { CreateContainer: () => sets("yy") } });
  await assert.rejects(own.nri.createContainer({ pod, container }, limit()), /plugins "20-b" and "10-a" both tried to set MemLimit/);
});

test("a plugin that refuses makes the request fail and stays; one that hangs or dies is cut off, and the request goes on", async () => {
  await using own = await bed();
  let hang = false;
  const hanging = await own.plugin({
    index: "10",
    name: "hanging",
    on: {
      StartContainer: () => {
        throw new Error("not today");
      },
      RunPodSandbox: (_request, signal) =>
        hang ? new Promise((resolve) => signal.addEventListener("abort", () => setTimeout(() => resolve({}), 300))) : {},
    },
  });
  const dying = await own.plugin({
    index: "20",
    name: "dying",
    on: {
      CreateContainer: () => {
        dying.socket.destroy();
        return {};
      },
    },
  });
  await assert.rejects(
    own.nri.containerEvent("StartContainer", { pod, container }, limit()),
    /plugin 10-hanging, StartContainer: not today/,
  );
  assert.equal(own.nri.plugins.length, 2);
  hang = true;
  const started = performance.now();
  await own.nri.podEvent("RunPodSandbox", { pod }, limit());
  const ms = performance.now() - started;
  assert.ok(ms > 900 && ms < 8_000, `${ms} ms`);
  await hanging.closed;
  await own.nri.createContainer({ pod, container }, limit());
  await until(() => own.nri.plugins.length === 0);
  assert.deepEqual(own.cutOff.toSorted(), ["10-hanging deadline-exceeded", "20-dying unavailable"]);
  assert.match(own.log.join("\n"), /NRI plugin cut off .*10-hanging.*no answer after 1000 ms/);
  assert.equal(own.nri.active, false);
});

test("a failure policy: the request fails, the plugin stays after a timeout", async () => {
  await using own = await bed({ requestTimeoutMs: 300 });
  await own.plugin({
    policy: { failRequest: true, keepConnected: true },
    events: ["RunPodSandbox"],
    on: {
      RunPodSandbox: (_request, signal) =>
        new Promise((resolve) => signal.addEventListener("abort", () => setTimeout(() => resolve({}), 300))),
    },
  });
  await assert.rejects(own.nri.podEvent("RunPodSandbox", { pod }, limit()), /plugin 10-test, RunPodSandbox: .*no answer after 300 ms/);
  assert.deepEqual(own.nri.plugins, ["10-test"]);
});

test("required plugins: missing, there, tolerated, and there but not answering", async () => {
  await using own = await bed({
    requestTimeoutMs: 300,
    validator: { ...validator, enable: true, requiredPlugins: ["must"], tolerateMissingPluginsAnnotation: "tolerate" },
  });
  const create = (annotations: Record<string, string> = {}) =>
    own.nri.createContainer({ pod: { ...pod, annotations }, container }, limit());
  assert.equal(own.nri.adjusting, true);
  await assert.rejects(create(), /required NRI plugins are not there, or have not answered: must;/);
  await create({ tolerate: "true" });
  const there = await own.plugin({
    name: "must",
    on: {
      CreateContainer: (_request, signal) =>
        there.calls.length > 9 ? new Promise((resolve) => signal.addEventListener("abort", () => setTimeout(resolve, 300, {}))) : {},
    },
  });
  await create();
  await assert.rejects(create({ "required-plugins.noderesource.dev": "[other]" }), /have not answered: other;/);
  await create({ "required-plugins.noderesource.dev/container.main": "[10-must]" });
  there.calls.length = 10;
  await assert.rejects(create(), /have not answered: must;/);
});

test("the default validator's switches, and plugins that validate", async () => {
  await using own = await bed({ validator: { ...validator, enable: true, rejectOCIHookAdjustment: true, rejectSysctlAdjustment: true } });
  let what: object = { hooks: { poststop: [{ path: "/bin/true" }] } };
  await own.plugin({ name: "adjuster", events: ["CreateContainer"], on: { CreateContainer: () => ({ adjust: what }) } });
  await assert.rejects(own.nri.createContainer({ pod, container }, limit()), /does not allow plugins to adjust OCI hooks, by 10-adjuster/);
  what = { linux: { sysctl: { "net.core.somaxconn": "1" } } };
  await assert.rejects(own.nri.createContainer({ pod, container }, limit()), /adjust sysctls: net\.core\.somaxconn \(by 10-adjuster\)/);
  what = { env: [{ key: "X", value: "1" }] };
  await own.nri.createContainer({ pod, container }, limit());
  await own.plugin({
    index: "90",
    name: "judge",
    events: ["ValidateContainerAdjustment"],
    on: {
      ValidateContainerAdjustment: ({ owners, adjust }) => {
        assert.equal(adjust?.env?.[0]?.key, "X");
        const owner = owners?.owners?.c1?.compound?.[v1.Field.Env]?.owners?.X;
        return { reject: true, reason: `${owner} may not` };
      },
    },
  });
  await assert.rejects(
    own.nri.createContainer({ pod, container }, limit()),
    /plugin 90-judge rejected what was adjusted: 10-adjuster may not/,
  );
});

test("garbage, frames that are too long, a bad index or name, and a second registration are cut off with a reason", async () => {
  await using own = await bed();
  const raw = async (bytes: Buffer): Promise<void> => {
    const socket = connect(own.socket);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    socket.resume();
    socket.write(bytes);
    await closed;
  };
  await raw(Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  const long = Buffer.alloc(8);
  long.writeUInt32BE(2, 0);
  long.writeUInt32BE(0x7fffffff, 4);
  await raw(long);
  for (const identity of [{ index: "1" }, { index: "a0" }, { name: "" }, { name: "a b" }]) {
    using plugin = new TestPlugin(own.socket, identity);
    await assert.rejects(plugin.register(), /plugin (index|name) /);
    await plugin.closed;
  }
  const twice = await own.plugin();
  await assert.rejects(twice.register(), /registered a second time/);
  await twice.closed;
  // A stream of bytes after a sound registration.
  const noisy = await own.plugin({ name: "noisy" });
  noisy.socket.write(Buffer.alloc(64, 0xff));
  await noisy.closed;
  await until(() => own.nri.plugins.length === 0);
  const log = own.log.join("\n");
  for (const reason of [
    "what it sends is not NRI's protocol",
    "a frame of 2147483647 bytes",
    "is not two digits",
    "is empty, too long",
    "a second time",
  ])
    assert.ok(log.includes(reason), `${reason} in ${log}`);
});

test("an answer that is no message, one over 4 MiB, and one for the container that is being made are cut off; the container is made", async () => {
  await using own = await bed();
  const answers: [string, Buffer | object, RegExp][] = [
    ["garbage", Buffer.alloc(100, 0xff), /malformed ttrpc message/],
    ["big", Buffer.alloc(5 << 20), /the answer of 5242880 bytes exceeds the limit/],
    ["self", { update: [{ containerId: "c1", linux: { resources: {} } }] }, /asks to update the container that is being created/],
  ];
  for (const [name, answer, reason] of answers) {
    const plugin = await own.plugin({
      name,
      events: ["CreateContainer"],
      on: {
        CreateContainer: () => {
          if (!Buffer.isBuffer(answer)) return answer;
          // The third call of a plugin's life has the id 5; its answer is written past the library.
          plugin.socket.write(muxed(response(5, answer)));
          return new Promise(() => {});
        },
      },
    });
    const adjustment = await own.nri.createContainer({ pod, container }, limit());
    assert.deepEqual(own.nri.plugins, []);
    assert.deepEqual(adjustment.env, []);
    plugin[Symbol.dispose]();
    await until(() => own.nri.plugins.length === 0);
    assert.match(own.log.join("\n"), reason);
  }
});

test("one that connects and never registers, or never configures, is cut off in time", async () => {
  await using own = await bed({ registrationTimeoutMs: 300, requestTimeoutMs: 300 });
  using silent = new TestPlugin(own.socket);
  await silent.closed;
  using stuck = new TestPlugin(own.socket, { on: { Configure: () => new Promise(() => {}) } });
  await stuck.register();
  await stuck.closed;
  using wrong = new TestPlugin(own.socket, { on: { Configure: () => ({ events: 1 << 30 }) } });
  await wrong.register();
  await wrong.closed;
  assert.match(own.log.join("\n"), /wait for its registration: no answer after 300 ms/);
  assert.match(own.log.join("\n"), /subscribes to events that do not exist: 0x40000000/);
});

test("a plugin from before NRI 0.11 takes notices as StateChange", async () => {
  await using own = await bed();
  const old = await own.plugin({ unknown: ["RunPodSandbox", "PostCreateContainer"] });
  await own.nri.podEvent("RunPodSandbox", { pod }, limit());
  await own.nri.containerEvent("PostCreateContainer", { pod, container }, limit());
  await own.nri.podEvent("RunPodSandbox", { pod }, limit());
  const events = old.calls.filter(({ method }) => method === "StateChange").map(({ request }) => (request as { event: number }).event);
  assert.deepEqual(events, [v1.Event.RUN_POD_SANDBOX, v1.Event.POST_CREATE_CONTAINER, v1.Event.RUN_POD_SANDBOX]);
});

test("what there is comes in parts when it is more than a message; one that can't take parts is cut off", async () => {
  const pods = Array.from({ length: 60 }, (_, at): PodSandbox => ({ id: `p${at}`, annotations: { text: "x".repeat(200_000) } }));
  await using own = await bed({ pods, registrationTimeoutMs: 10_000 });
  const plugin = await own.plugin();
  assert.equal(plugin.synchronized.length, 60);
  assert.ok(plugin.names.filter((name) => name === "Synchronize").length >= 3);
  using old = new TestPlugin(own.socket, { name: "old", on: { Synchronize: () => ({ more: false }) } });
  await old.register();
  await old.closed;
  assert.match(own.log.join("\n"), /the node's state takes \d messages, and the plugin can only take one/);
});

test("nothing is made while a plugin learns of what there is: it misses none and sees none twice", async () => {
  await using own = await bed();
  let release: (value: object) => void = () => {};
  using late = new TestPlugin(own.socket, {
    on: { Synchronize: () => new Promise<object>((resolve) => (release = resolve)) },
  });
  await late.register();
  await until(() => late.names.includes("Synchronize"));
  assert.equal(own.nri.active, true, "whoever tells of an end waits for it too");
  let entered = false;
  const creating = (async () => {
    using _hold = await own.nri.enter(limit());
    entered = true;
    await own.nri.createContainer({ pod, container }, limit());
  })();
  await sleep(100);
  assert.equal(entered, false);
  release({});
  await creating;
  assert.deepEqual(late.names.filter((name) => name === "CreateContainer").length, 1);
});

test("updates of other containers and evictions, in answers and unsolicited; failures are told", async () => {
  await using own = await bed({ refuse: "gone" });
  const plugin = await own.plugin({
    on: {
      CreateContainer: () => ({ update: [update("other"), update("gone", true)], evict: [{ containerId: "victim", reason: "room" }] }),
      UpdateContainer: () => ({ update: [{ containerId: "c1", linux: { resources: { cpu: { cpus: "1-2" } } } }] }),
      StopContainer: () => ({ update: [update("after")] }),
    },
  });
  await own.nri.createContainer({ pod, container }, limit());
  await until(() => own.evicted.includes("victim"));
  const resources = await own.nri.updateContainer(
    { pod, container, resources: Object.assign(cpus("0"), { unified: { "memory.high": "1" } }) },
    limit(),
  );
  assert.equal(resources.cpu?.cpus, "1-2");
  assert.deepEqual(resources.unified, { "memory.high": "1" });
  await own.nri.stopContainer({ pod, container }, limit());
  assert.deepEqual(
    (
      await plugin.update([update("mine"), update("gone"), update("gone", true)], [new v1.ContainerEviction({ containerId: "second" })])
    ).map(({ containerId }) => containerId),
    ["gone"],
  );
  assert.deepEqual(
    own.updates.map(([id]) => id),
    ["other", "after", "mine"],
  );
  await until(() => own.evicted.includes("second"));
});

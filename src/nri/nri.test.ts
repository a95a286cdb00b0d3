import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { emptyResources, type LinuxResources, type PodSandbox, v1 } from "./messages.ts";
import { bed, container, limit, pod, until, validator } from "./test-bed.ts";
import { TestPlugin } from "./test-plugin.ts";

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

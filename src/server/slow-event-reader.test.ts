import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Client, type ClientReadableStream, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { runtime } from "../../api/cri/runtime/v1/api.js";
import { CridError } from "../base/errors.ts";
import { silentLogger } from "../base/log.ts";
import { LifecycleEvents } from "../container/events.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { podStatus, testNode } from "./fixtures.ts";
import type { ImageHandlers, RuntimeHandlers } from "./grpc-services.ts";
import { getContainerEvents } from "./handlers/get-container-events.ts";
import { CriServer } from "./server.ts";

const { v1 } = runtime;
type Events = ClientReadableStream<runtime.v1.ContainerEventResponse>;

function subscribe(client: Client): Events {
  return client.makeServerStreamRequest(
    "/runtime.v1.RuntimeService/GetContainerEvents",
    () => Buffer.from(v1.GetEventsRequest.encode({}).finish()),
    (bytes: Buffer) => v1.ContainerEventResponse.decode(bytes),
    {},
  );
}

test("over real connections: a caller that stops reading is dropped, counted and told; the other one gets everything", async () => {
  const directory = await mkdtemp(join(tmpdir(), "crid-events-"));
  const metrics = createMetrics();
  const limit = 100;
  const events = new LifecycleEvents({ limit, onDropped: () => metrics.eventReaderDropped() });
  const node = testNode();
  node.pods.set("pod1", podStatus("pod1"));
  const containers = { ...node.containers, list: node.containers.list.bind(node.containers), events };
  const unimplemented = () => {
    throw new CridError("unimplemented", "not in this test");
  };
  const finished: string[] = [];
  const server = new CriServer({
    address: join(directory, "crid.sock"),
    gid: process.getgid?.() ?? 0,
    runtime: new Proxy({ GetContainerEvents: getContainerEvents({ ...node, containers }) } as Partial<RuntimeHandlers>, {
      get: (target, key: keyof RuntimeHandlers) => target[key] ?? unimplemented,
    }) as RuntimeHandlers,
    images: new Proxy({}, { get: () => unimplemented }) as ImageHandlers,
    log: silentLogger(),
    observe: ({ code }) => finished.push(code),
  });
  await server.listen();
  const connect = () =>
    new Client(`unix:${join(directory, "crid.sock")}`, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  const [slowClient, quickClient] = [connect(), connect()];
  try {
    const [slow, quick] = [subscribe(slowClient), subscribe(quickClient)];
    // grpc-js itself reads on and on until somebody has read once: so one event is read, and then no more.
    slow.on("data", () => slow.pause());
    const failed = once(slow, "error").then(([error]) => error as ServiceError);
    let received = 0;
    quick.on("data", () => received++);
    quick.on("error", () => undefined);
    while (events.subscribers < 2) await new Promise((resolve) => setTimeout(resolve, 5));

    let published = 0;
    const turn = (): void => {
      for (let i = 0; i < limit / 2; i++)
        events.publish({ type: "started", containerId: "c1", sandboxId: "pod1", at: BigInt(++published) });
    };
    // What fits into the buffers of the sockets and of HTTP/2 is not behind yet; 20,000 messages do not fit.
    while (finished.length === 0 && published < 20_000) {
      turn();
      while (received < published) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    assert.deepEqual(finished, ["ResourceExhausted"]);
    assert.equal(events.subscribers, 1);
    turn();
    while (received < published) await new Promise((resolve) => setTimeout(resolve, 1));

    assert.match(await metrics.registry.metrics(), /^crid_event_subscribers_dropped_total 1$/m);
    slow.removeAllListeners("data").resume();
    const error = await failed;
    assert.equal(error.code, status.RESOURCE_EXHAUSTED);
    assert.match(error.details, /did not keep up .* subscribe again/);
  } finally {
    slowClient.close();
    quickClient.close();
    await server.close();
    await rm(directory, { recursive: true });
  }
});

import { EVENT_NUMBERS, type EventName } from "../src/nri/events.ts";
import { TestPlugin } from "../src/nri/test-plugin.ts";
import type { Context } from "./measures.ts";
import { createContainer, podConfig, timed } from "./pod.ts";

/**
 * CreateContainer without an NRI plugin, and with one that subscribes to everything and adjusts nothing; in turn, so that a drift of the machine meets both.
 */
export async function nriPlugin({ report, peers, directory }: Context, rounds: number): Promise<void> {
  for (const peer of peers) {
    const pod = podConfig(directory);
    const { podSandboxId } = await peer.client.runPodSandbox({ config: pod });
    const create = async (what: string, round: number): Promise<void> => {
      const { value: containerId, ms } = await timed(() => createContainer(peer, podSandboxId, pod, ["sleep", "3600"]));
      if (round >= 0) report.add(`CreateContainer, ${what}`, "ms", peer.name, ms);
      await peer.client.removeContainer({ containerId });
    };
    for (let round = -3; round < rounds; round++) {
      await create("no NRI plugin", round);
      using plugin = await comeIn(peer.nriSocket);
      await create("one NRI plugin", round);
      if (!plugin.names.includes("CreateContainer")) throw new Error(`${peer.name} did not ask the plugin`);
    }
    await peer.client.stopPodSandbox({ podSandboxId });
    await peer.client.removePodSandbox({ podSandboxId });
  }
}

/** Everything but validation: containerd 2.4.2 goes on asking a validating plugin that has left, and fails. */
const events = (Object.keys(EVENT_NUMBERS) as EventName[]).filter((event) => event !== "ValidateContainerAdjustment");

/** A plugin that has been told of what there is, and is asked from then on. */
async function comeIn(socket: string): Promise<TestPlugin> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const plugin = new TestPlugin(socket, {
    events,
    on: {
      Synchronize: ({ more }) => {
        setImmediate(resolve);
        return { more };
      },
    },
  });
  await plugin.register();
  await promise;
  // Its answer must have arrived.
  await new Promise((done) => setTimeout(done, 20));
  return plugin;
}

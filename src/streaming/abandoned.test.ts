import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { AbandonedSockets } from "./abandoned.ts";

test("a paused connection whose client is gone is ended, one whose client is there is not", async () => {
  using abandoned = new AbandonedSockets({ checkMs: 20 });
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const dial = async (): Promise<[Socket, Socket]> => {
    const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    const [socket] = (await once(server, "connection")) as [Socket];
    socket.on("data", () => {}).pause();
    client.write("bytes that nobody reads");
    abandoned.watch(socket);
    return [client, socket];
  };
  const [stays, kept] = await dial();
  const [goes, ended] = await dial();
  await delay(100);
  goes.destroy();
  await once(ended, "close");
  assert.equal(kept.destroyed, false);
  stays.destroy();
  kept.destroy();
  server.close();
});

import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { AbandonedSockets } from "./abandoned.ts";

for (const [host, what, bytes] of [
  ["127.0.0.1", "a few bytes", 30],
  ["127.0.0.1", "more bytes than the kernel takes", 64 << 20],
  ["::1", "more bytes than the kernel takes", 64 << 20],
] as const) {
  test(`a paused connection over ${host} with ${what} whose client is gone is ended, one whose client is there is not`, async () => {
    using abandoned = new AbandonedSockets({ checkMs: 20 });
    const server = createServer({ allowHalfOpen: true });
    server.listen(0, host);
    await once(server, "listening");
    const dial = async (): Promise<[Socket, Socket]> => {
      const client = connect((server.address() as AddressInfo).port, host);
      client.on("error", () => {});
      const [socket] = (await once(server, "connection")) as [Socket];
      socket.on("data", () => {}).pause();
      client.write(Buffer.alloc(bytes));
      abandoned.watch(socket);
      return [client, socket];
    };
    const [stays, kept] = await dial();
    const [goes, ended] = await dial();
    await delay(300);
    goes.destroy();
    await once(ended, "close");
    assert.equal(kept.destroyed, false);
    stays.destroy();
    kept.destroy();
    server.close();
  });
}

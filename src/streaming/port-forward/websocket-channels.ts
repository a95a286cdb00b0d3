import type { Logger } from "../../base/log.ts";
import type { ChannelCodec, ChannelSocket } from "../websocket/channel-socket.ts";
import { type Dial, forward, type PortForwardRequest } from "./forward.ts";

/** Subprotocols of the legacy channels. */
export const webSocketForwardProtocols: ReadonlyMap<string, ChannelCodec> = new Map([
  ["v4.channel.k8s.io", { base64: false, halfClose: false }],
  ["v4.base64.channel.k8s.io", { base64: true, halfClose: false }],
  ["", { base64: false, halfClose: false }],
]);

/**
 * Port-forward over WebSocket channels: two for each port of the request, data and error. The first message on each is the port, as two bytes,
 * the low one first. One connection a port; the socket closes when all have ended.
 */
export async function serveForwardChannels(options: {
  socket: ChannelSocket;
  request: PortForwardRequest;
  dial: Dial;
  log: Logger;
}): Promise<void> {
  const { socket, request, dial, log } = options;
  const gone = new AbortController();
  void socket.closed.then(() => gone.abort());
  const connections = request.ports.map(async (port, index) => {
    const [data, error] = [index * 2, index * 2 + 1];
    const name = Buffer.alloc(2);
    name.writeUInt16LE(port);
    const connection = { input: socket.input(data), output: socket.output(data), halfClose: false, gone: gone.signal };
    socket.send(data, name);
    socket.send(error, name);
    const message = await forward({ sandboxId: request.sandboxId, port, dial, connection, log });
    if (message !== undefined && !gone.signal.aborted) socket.send(error, Buffer.from(message));
  });
  await Promise.all(connections);
  socket.close();
  await socket.closed;
}

import { createServer, type Server, type Socket } from "node:net";
import { claimSocket, type SocketPlace } from "../base/claim-socket.ts";
import { CridError } from "../base/errors.ts";

/** The socket that external plugins connect to. Only root may: a plugin decides what containers may do to the node. */
export class PluginSocket {
  readonly #path: string;
  readonly #onConnection: (socket: Socket) => void;
  #open: { server: Server; place: SocketPlace } | undefined;
  #opening: Promise<void> | undefined;

  constructor(path: string, onConnection: (socket: Socket) => void) {
    this.#path = path;
    this.#onConnection = onConnection;
  }

  /** @throws failed-precondition when another process serves it; what binding throws */
  async listen(): Promise<void> {
    this.#opening = this.#listen();
    await this.#opening;
  }

  async #listen(): Promise<void> {
    const place = await claimSocket(this.#path, { gid: 0, key: "nri.socket" });
    const server = createServer(this.#onConnection);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen({ path: place.hidden }, resolve);
    try {
      await promise;
      server.off("error", reject);
      // A failed accept (EMFILE) is the peer's to try again.
      server.on("error", () => {});
      await place.publish();
    } catch (error) {
      server.close();
      throw CridError.from(error, `listen for NRI plugins on ${this.#path}`);
    }
    this.#open = { server, place };
  }

  /** Also one that is being opened. */
  async close(): Promise<void> {
    await this.#opening?.catch(() => {});
    this.#open?.server.close();
    await this.#open?.place.remove();
  }
}

import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { claimSocket, type SocketPlace } from "../base/claim-socket.ts";
import { CridError } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import { type AdminHandlers, adminMethods } from "./admin/admin-methods.ts";
import type { DuplexHandler, StreamHandler, UnaryHandler } from "./call.ts";
import { type ImageHandlers, imageMethods, type RuntimeHandlers, runtimeMethods } from "./grpc-services.ts";
import { type CallObserver, Instrument } from "./instrument.ts";
import type { AnyMethod, HandlersOf } from "./methods.ts";

/** A request is no bigger than what the kubelet itself may send and take (its maxMsgSize). */
const maxRequestBytes = 16 * 1024 * 1024;

/** Time that calls under way get to finish when the daemon stops, and then to undo what they have begun. */
const defaultGraceMs = { finish: 10_000, undo: 10_000 };

export interface CriServerOptions {
  /** The unix socket. */
  address: string;
  /** The group that may connect. */
  gid: number;
  runtime: RuntimeHandlers;
  images: ImageHandlers;
  admin?: AdminHandlers;
  log: Logger;
  observe?: CallObserver;
  graceMs?: { finish: number; undo: number };
}

/** The gRPC server of the CRI, and of crid's own admin service, on its unix socket. */
export class CriServer {
  readonly #options: CriServerOptions;
  readonly #instrument: Instrument;
  readonly #server: Server;
  #socket: SocketPlace | undefined;

  constructor(options: CriServerOptions) {
    this.#options = options;
    this.#instrument = new Instrument(options);
    this.#server = new Server({
      "grpc.max_receive_message_length": maxRequestBytes,
      // An ExecSync may answer 16 MiB of each stream; it is the caller's limit that counts.
      "grpc.max_send_message_length": -1,
      "grpc.max_concurrent_streams": 10_000,
    });
    this.#add("runtime.v1.RuntimeService", runtimeMethods, options.runtime);
    this.#add("runtime.v1.ImageService", imageMethods, options.images);
    // Its own names in the log and the metrics: it has a PullImage too.
    if (options.admin !== undefined) this.#add("crid.admin.v1.Admin", adminMethods, options.admin, "Admin/");
  }

  /** Serves. @throws failed-precondition when another process serves the socket */
  async listen(): Promise<void> {
    const { address, gid } = this.#options;
    const socket = await claimSocket(address, { gid, key: "grpc.address" });
    await new Promise<void>((resolve, reject) => {
      this.#server.bindAsync(`unix:${socket.hidden}`, ServerCredentials.createInsecure(), (error) => {
        if (error === null) resolve();
        else reject(new CridError("failed-precondition", `listen on ${address}: ${error.message}`, { cause: error }));
      });
    });
    await socket.publish();
    this.#socket = socket;
    this.#options.log.info({ address }, "CRI served");
  }

  /**
   * Takes no more calls, ends the streams, lets the other calls finish, aborts those that take too long and waits until they
   * have undone what they began.
   */
  async close(): Promise<void> {
    const grace = this.#options.graceMs ?? defaultGraceMs;
    const reason = new CridError("unavailable", "the daemon is stopping; call again when it is back");
    await this.#socket?.remove();
    const closed = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    this.#instrument.abortAll({ only: "stream", reason });
    if (!(await within(grace.finish, this.#instrument.idle()))) {
      this.#options.log.warn({ calls: this.#instrument.active }, "calls still under way are aborted");
      this.#instrument.abortAll({ reason });
      await within(grace.undo, this.#instrument.idle());
    }
    // The last answers may still be on their way; a client that keeps its connection open for nothing does not hold us up.
    if (!(await within(1000, closed))) this.#server.forceShutdown();
  }

  #add<Methods extends Record<string, AnyMethod>>(service: string, methods: Methods, handlers: HandlersOf<Methods>, prefix = ""): void {
    const definition: Record<string, ServiceDefinition[string]> = {};
    const implementation: UntypedServiceImplementation = {};
    for (const [name, method] of Object.entries<AnyMethod>(methods)) {
      definition[name] = {
        path: `/${service}/${name}`,
        requestStream: method.kind === "duplex",
        responseStream: method.kind !== "unary",
        requestSerialize: refuse,
        requestDeserialize: (bytes: Buffer) => method.decode(bytes),
        responseSerialize: (answer: unknown) => method.encode(answer),
        responseDeserialize: refuse,
      };
      // HandlersOf has paired each method with its handler by type; a loop over the names cannot say so again.
      implementation[name] = this.#instrumented(method, prefix + name, handlers[name]);
    }
    this.#server.addService(definition, implementation);
  }

  #instrumented(method: AnyMethod, name: string, handler: unknown): UntypedServiceImplementation[string] {
    switch (method.kind) {
      case "unary":
        return this.#instrument.unary(name, method.weight, handler as UnaryHandler<unknown, unknown>);
      case "stream":
        return this.#instrument.stream(name, method.weight, handler as StreamHandler<unknown, unknown>);
      case "duplex":
        return this.#instrument.duplex(name, method.weight, handler as DuplexHandler<unknown, unknown>);
    }
  }
}

/** The client's half of a method, which a server never uses. */
function refuse(): never {
  throw new CridError("internal", "the server does not send requests");
}

async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<false>();
  const timer = setTimeout(() => resolve(false), ms);
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

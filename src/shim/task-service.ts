import { type Client, Code, type Metadata, TtrpcError } from "ttrpc-node";
import { containerd, google } from "../../api/shim/task.js";
import { taskError } from "./task-error.ts";

interface Encoder<Q> {
  encode(message: Q): { finish(): Uint8Array };
}

interface Decoder<A> {
  decode(bytes: Uint8Array): A;
}

/** One RPC of the task service. */
export interface TaskMethod<Q, A> {
  readonly name: string;
  readonly request: Encoder<Q>;
  readonly answer: Decoder<A>;
}

const v3 = containerd.task.v3;
const { Empty } = google.protobuf;

function method<Q, A>(name: string, request: Encoder<Q>, answer: Decoder<A>): TaskMethod<Q, A> {
  return { name, request, answer };
}

/** The messages of v2 and v3 are the same byte for byte (containerd's api/runtime/task); only the service's name differs. */
export const taskMethods = {
  closeIO: method("CloseIO", v3.CloseIORequest, Empty),
  connect: method("Connect", v3.ConnectRequest, v3.ConnectResponse),
  create: method("Create", v3.CreateTaskRequest, v3.CreateTaskResponse),
  delete: method("Delete", v3.DeleteRequest, v3.DeleteResponse),
  exec: method("Exec", v3.ExecProcessRequest, Empty),
  kill: method("Kill", v3.KillRequest, Empty),
  pause: method("Pause", v3.PauseRequest, Empty),
  pids: method("Pids", v3.PidsRequest, v3.PidsResponse),
  resizePty: method("ResizePty", v3.ResizePtyRequest, Empty),
  resume: method("Resume", v3.ResumeRequest, Empty),
  shutdown: method("Shutdown", v3.ShutdownRequest, Empty),
  start: method("Start", v3.StartRequest, v3.StartResponse),
  state: method("State", v3.StateRequest, v3.StateResponse),
  update: method("Update", v3.UpdateTaskRequest, Empty),
  wait: method("Wait", v3.WaitRequest, v3.WaitResponse),
};

/** Calls the task service of one shim over one connection. */
export class TaskService {
  readonly #client: Client;
  readonly #metadata: Metadata;
  #version: 2 | 3;

  constructor(client: Client, options: { namespace: string; version: 2 | 3 }) {
    this.#client = client;
    this.#metadata = new Map([["containerd-namespace-ttrpc", [options.namespace]]]);
    this.#version = options.version;
  }

  /** The version of the task API that the shim answers to. */
  get version(): 2 | 3 {
    return this.#version;
  }

  /**
   * @param step what is done and to which id, for the error's message.
   * @throws CridError, see `taskError`. On abort the call goes on in the shim: ttrpc cannot cancel it.
   */
  async call<Q, A>(rpc: TaskMethod<Q, A>, request: Q, options: { step: string; signal?: AbortSignal }): Promise<A> {
    const payload = rpc.request.encode(request).finish();
    try {
      return rpc.answer.decode(await this.#send(rpc.name, payload, options.signal));
    } catch (error) {
      throw taskError(error, options.step);
    }
  }

  async #send(name: string, payload: Uint8Array, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const options = { metadata: this.#metadata, ...(signal === undefined ? {} : { signal }) };
    const { version } = this;
    try {
      return await this.#client.call(`containerd.task.v${version}.Task`, name, payload, options);
    } catch (error) {
      // A 1.7 shim that runs already may be announced as version 3 by a newer binary's `start` (containerd issue 10888).
      if (version !== 3 || !(error instanceof TtrpcError) || error.code !== Code.UNIMPLEMENTED) throw error;
      const answer = await this.#client.call("containerd.task.v2.Task", name, payload, options);
      this.#version = 2;
      return answer;
    }
  }
}

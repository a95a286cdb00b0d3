import { type EventEmitter, once } from "node:events";
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
} from "@grpc/grpc-js";
import { CridError, isAbort } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { Answer, Call, DuplexHandler, StreamHandler, UnaryHandler } from "./call.ts";
import type { Weight } from "./methods.ts";
import { type CallStatus, isFault, okStatus, statusOf } from "./status-code.ts";
import { subjectOf } from "./subject.ts";

/** Told of each finished call: `code` as in "NotFound". */
export type CallObserver = (call: { method: string; code: string; seconds: number }) => void;

type Kind = "unary" | "stream";
type GrpcCall<Request, Response> =
  | ServerUnaryCall<Request, Response>
  | ServerWritableStream<Request, Response>
  | ServerDuplexStream<Request, Response>;

/** A call under way. */
class ActiveCall implements Call {
  readonly id: string;
  readonly method: string;
  readonly kind: Kind;
  readonly abort = new AbortController();
  readonly started = performance.now();
  readonly finished: Promise<void>;
  readonly finish: () => void;
  readonly #parentLog: Logger;
  #log: Logger | undefined;

  constructor(options: { id: string; method: string; kind: Kind; log: Logger }) {
    this.id = options.id;
    this.method = options.method;
    this.kind = options.kind;
    this.#parentLog = options.log;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.finished = promise;
    this.finish = resolve;
  }

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  fail(reason: CridError): void {
    this.abort.abort(reason);
  }

  /** Made when first used: most calls log nothing of their own. */
  get log(): Logger {
    this.#log ??= this.#parentLog.child({ call: this.id, method: this.method });
    return this.#log;
  }
}

/**
 * The one wrapper around every handler: gives the call its id and its signal (caller gone, deadline, shutdown), logs it, counts
 * it, and turns what the handler throws into a gRPC status.
 */
export class Instrument {
  readonly #log: Logger;
  readonly #observe: CallObserver;
  readonly #active = new Set<ActiveCall>();
  #calls = 0;

  constructor(options: { log: Logger; observe?: CallObserver }) {
    this.#log = options.log;
    this.#observe = options.observe ?? (() => {});
  }

  /** How many calls are under way. */
  get active(): number {
    return this.#active.size;
  }

  /** Aborts the calls under way: all, or only the streams, which have no end of their own. */
  abortAll(options: { only?: Kind; reason: Error }): void {
    for (const call of this.#active) {
      if (options.only === undefined || call.kind === options.only) call.abort.abort(options.reason);
    }
  }

  /** Resolves when no call is under way. */
  async idle(): Promise<void> {
    while (this.#active.size > 0) await Promise.all([...this.#active].map((call) => call.finished));
  }

  unary<Request, Response>(
    method: string,
    weight: Weight,
    handler: UnaryHandler<Request, Response>,
  ): handleUnaryCall<Request, Answer<Response>> {
    return (rpc, respond) => {
      let answer: Answer<Response> | null = null;
      const work = async (call: Call): Promise<void> => {
        answer = await handler(rpc.request, call);
      };
      void this.#run({ method, weight, kind: "unary", rpc, work }).then((status) => {
        if (status === okStatus) respond(null, answer);
        else respond({ code: status.code, details: status.details });
      });
    };
  }

  stream<Request, Response>(
    method: string,
    weight: Weight,
    handler: StreamHandler<Request, Response>,
  ): handleServerStreamingCall<Request, Answer<Response>> {
    return (rpc) => {
      const work = async (call: Call): Promise<void> => {
        await send(handler(rpc.request, call), rpc, call);
      };
      void this.#run({ method, weight, kind: "stream", rpc, work }).then((status) => finish(rpc, status));
    };
  }

  duplex<Request, Response>(
    method: string,
    weight: Weight,
    handler: DuplexHandler<Request, Response>,
  ): handleBidiStreamingCall<Request, Answer<Response>> {
    return (rpc) => {
      const work = (call: Call): Promise<void> => send(handler(requestsOf(rpc, call), call), rpc, call);
      void this.#run({ method, weight, kind: "stream", rpc, work }).then((status) => finish(rpc, status));
    };
  }

  async #run<Request, Response>(options: {
    method: string;
    weight: Weight;
    kind: Kind;
    rpc: GrpcCall<Request, Response>;
    work: (call: Call) => Promise<void>;
  }): Promise<CallStatus> {
    const { method, weight, kind, rpc, work } = options;
    const call = new ActiveCall({ id: (++this.#calls).toString(36), method, kind, log: this.#log });
    this.#active.add(call);
    // Both kinds of call are emitters; the union's overloads have no common signature.
    (rpc as ServerUnaryCall<Request, Response>).on("cancelled", () => call.abort.abort(whyCancelled(method, rpc.getDeadline())));
    let failure: CridError | undefined;
    try {
      await work(call);
    } catch (error) {
      // Node's own functions throw a bare AbortError; the signal's reason tells which of the three it was.
      failure = CridError.from(isAbort(error) && call.signal.aborted ? call.signal.reason : error);
    } finally {
      this.#active.delete(call);
      call.finish();
    }
    const status = failure === undefined ? okStatus : statusOf(failure);
    const seconds = (performance.now() - call.started) / 1000;
    this.#observe({ method, code: status.name, seconds });
    this.#tell({ call, weight, request: "request" in rpc ? rpc.request : undefined, status, failure, seconds });
    return status;
  }

  #tell(done: { call: Call; weight: Weight; request: unknown; status: CallStatus; failure: CridError | undefined; seconds: number }): void {
    const { call, weight, request, status, failure, seconds } = done;
    const level = levelOf(weight, failure);
    if (!this.#log.isLevelEnabled(level)) return;
    const fields = { call: call.id, ...subjectOf(request), ms: Math.round(seconds * 1e5) / 100 };
    if (failure === undefined) this.#log[level](fields, call.method);
    else if (level === "error") this.#log.error({ ...fields, code: status.name, err: failure }, `${call.method} failed`);
    else this.#log[level]({ ...fields, code: status.name, error: failure.message }, `${call.method} failed`);
  }
}

async function send<Response>(
  answers: AsyncIterable<Response>,
  rpc: { write(part: Response): boolean } & EventEmitter,
  call: Call,
): Promise<void> {
  for await (const part of answers) {
    if (!rpc.write(part)) await once(rpc, "drain", { signal: call.signal });
  }
}

function finish(rpc: { end(): void } & EventEmitter, status: CallStatus): void {
  if (status === okStatus) rpc.end();
  else rpc.emit("error", Object.assign(new Error(status.details), { code: status.code, details: status.details }));
}

/** The messages of a stream. The iteration of a stream whose caller has gone would end as if all had come. */
async function* requestsOf<Request, Response>(rpc: ServerDuplexStream<Request, Response>, call: Call): AsyncGenerator<Request> {
  // A handler that stops reading still has an answer to send on the same stream.
  for await (const request of rpc.iterator({ destroyOnReturn: false })) yield request as Request;
  call.signal.throwIfAborted();
}

function levelOf(weight: Weight, failure: CridError | undefined): "debug" | "info" | "warn" | "error" {
  if (failure === undefined) return weight === "change" ? "info" : "debug";
  if (isFault(failure.kind)) return "error";
  return weight === "change" ? "warn" : "debug";
}

/** The caller's clock runs out, and its reset arrives, a little before ours does. */
const deadlineSlackMs = 100;

/** grpc-js says only that the call is over; the clock says whether it was the deadline. */
function whyCancelled(method: string, deadline: Date | number): CridError {
  if (Date.now() >= Number(deadline) - deadlineSlackMs) {
    return new CridError("deadline-exceeded", `${method}: the caller's deadline has passed`);
  }
  return new CridError("canceled", `${method}: the caller has gone`);
}

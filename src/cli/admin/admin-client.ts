import { connect } from "node:net";
import { Client, type ClientDuplexStream, type ClientReadableStream, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { crid } from "../../../api/crid/admin/v1/admin.js";
import { CridError, type ErrorKind, isErrno, messageOf } from "../../base/errors.ts";

const { v1 } = crid.admin;
const service = "/crid.admin.v1.Admin";

interface Encodes<Message> {
  encode(message: Message): { finish(): Buffer };
}
interface Decodes<Message> {
  decode(bytes: Uint8Array): Message;
}
/** What is sent and what comes back, for callers that only look at the types. */
type Sent<Message> = Message extends Encodes<infer Properties> ? Properties : never;

interface CallOptions {
  signal: AbortSignal;
}

/** The admin service of a daemon on this machine. Errors are CridErrors with the daemon's text. */
export class AdminClient implements Disposable {
  readonly #client: Client;

  private constructor(address: string) {
    this.#client = new Client(`unix:${address}`, credentials.createInsecure(), { "grpc.max_receive_message_length": -1 });
  }

  /**
   * @param address path of the daemon's socket
   * @throws unavailable when nobody answers there; permission-denied
   */
  static async connect(address: string): Promise<AdminClient> {
    await assertAnswers(address);
    return new AdminClient(address);
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  readonly listImages = this.#unary("ListImages", v1.ListImagesRequest, v1.ListImagesResponse);
  readonly pullImage = this.#stream("PullImage", v1.PullImageRequest, v1.PullImageResponse);
  readonly exportImages = this.#stream("ExportImages", v1.ExportImagesRequest, v1.ExportImagesResponse);
  readonly mountImage = this.#unary("MountImage", v1.MountImageRequest, v1.MountImageResponse);
  readonly unmountImage = this.#unary("UnmountImage", v1.UnmountImageRequest, v1.UnmountImageResponse);
  readonly listMounts = this.#unary("ListMounts", v1.ListMountsRequest, v1.ListMountsResponse);
  readonly tagImage = this.#unary("TagImage", v1.TagImageRequest, v1.TagImageResponse);
  readonly removeImage = this.#unary("RemoveImage", v1.RemoveImageRequest, v1.RemoveImageResponse);
  readonly checkImages = this.#stream("CheckImages", v1.CheckImagesRequest, v1.CheckImagesResponse);
  readonly listPulls = this.#unary("ListPulls", v1.ListPullsRequest, v1.ListPullsResponse);
  readonly listContent = this.#stream("ListContent", v1.ListContentRequest, v1.ListContentResponse);
  readonly readContent = this.#stream("ReadContent", v1.ReadContentRequest, v1.ReadContentResponse);
  readonly explainImage = this.#unary("ExplainImage", v1.ExplainImageRequest, v1.ExplainImageResponse);
  readonly rebuildState = this.#unary("RebuildState", v1.RebuildStateRequest, v1.RebuildStateResponse);

  /** Sends the archive as fast as the daemon takes it. */
  importImages(
    options: Sent<typeof v1.ImportOptions>,
    archive: AsyncIterable<Buffer>,
    o: CallOptions,
  ): AsyncIterable<InstanceType<typeof v1.ImportImagesResponse>> {
    const call = this.#client.makeBidiStreamRequest(
      `${service}/ImportImages`,
      (message: Sent<typeof v1.ImportImagesRequest>) => v1.ImportImagesRequest.encode(message).finish(),
      (bytes: Buffer) => v1.ImportImagesResponse.decode(bytes),
    );
    return answersOf(call, o, () => sendArchive(call, options, archive));
  }

  #unary<Request, Response>(method: string, request: Encodes<Request>, response: Decodes<Response>) {
    return (message: Request, o: CallOptions): Promise<Response> => {
      const { promise, resolve, reject } = Promise.withResolvers<Response>();
      const call = this.#client.makeUnaryRequest(
        `${service}/${method}`,
        (value: Request) => request.encode(value).finish(),
        (bytes: Buffer) => response.decode(bytes),
        message,
        (error: ServiceError | null, value?: Response) => {
          if (error !== null) reject(o.signal.aborted ? o.signal.reason : failureOf(error));
          else if (value === undefined) reject(new CridError("internal", `${method}: no answer`));
          else resolve(value);
        },
      );
      const onAbort = (): void => call.cancel();
      o.signal.addEventListener("abort", onAbort, { once: true });
      return promise.finally(() => o.signal.removeEventListener("abort", onAbort));
    };
  }

  #stream<Request, Response>(method: string, request: Encodes<Request>, response: Decodes<Response>) {
    return (message: Request, o: CallOptions): AsyncIterable<Response> =>
      answersOf(
        this.#client.makeServerStreamRequest(
          `${service}/${method}`,
          (value: Request) => request.encode(value).finish(),
          (bytes: Buffer) => response.decode(bytes),
          message,
        ),
        o,
      );
  }
}

async function* answersOf<Response>(
  call: ClientReadableStream<Response>,
  o: CallOptions,
  feed?: () => Promise<void>,
): AsyncGenerator<Response> {
  const onAbort = (): void => call.cancel();
  o.signal.addEventListener("abort", onAbort, { once: true });
  let broken: unknown;
  // What the daemon says is more than what the half-closed stream says, unless the fault is in the archive's source.
  const fed = feed?.().catch((error: unknown) => {
    broken = error;
    call.cancel();
  });
  try {
    for await (const answer of call) yield answer as Response;
    await fed;
  } catch (error) {
    o.signal.throwIfAborted();
    throw broken ?? failureOf(error);
  } finally {
    o.signal.removeEventListener("abort", onAbort);
    call.cancel();
  }
}

/** Ends quietly when the daemon has refused the archive: the answers say why. */
async function sendArchive<Response>(
  call: ClientDuplexStream<Sent<typeof v1.ImportImagesRequest>, Response>,
  options: Sent<typeof v1.ImportOptions>,
  archive: AsyncIterable<Buffer>,
): Promise<void> {
  let ended = false;
  const end = Promise.withResolvers<void>();
  for (const event of ["close", "error", "end", "status"]) {
    call.once(event, () => {
      ended = true;
      end.resolve();
    });
  }
  const write = async (message: Sent<typeof v1.ImportImagesRequest>): Promise<void> => {
    if (!call.write(message)) await Promise.race([new Promise<void>((resolve) => call.once("drain", resolve)), end.promise]);
  };
  await write({ options });
  for await (const data of archive) {
    if (ended) return;
    await write({ data });
  }
  if (!ended) call.end();
}

const kinds: Partial<Record<status, ErrorKind>> = {
  [status.INVALID_ARGUMENT]: "invalid-argument",
  [status.NOT_FOUND]: "not-found",
  [status.ALREADY_EXISTS]: "already-exists",
  [status.FAILED_PRECONDITION]: "failed-precondition",
  [status.PERMISSION_DENIED]: "permission-denied",
  [status.UNAUTHENTICATED]: "unauthenticated",
  [status.RESOURCE_EXHAUSTED]: "resource-exhausted",
  [status.UNAVAILABLE]: "unavailable",
  [status.DEADLINE_EXCEEDED]: "deadline-exceeded",
  [status.CANCELLED]: "canceled",
  [status.ABORTED]: "aborted",
  [status.DATA_LOSS]: "data-loss",
  [status.UNIMPLEMENTED]: "unimplemented",
  [status.INTERNAL]: "internal",
};

function failureOf(error: unknown): CridError {
  if (!(error instanceof Error) || !("code" in error) || !("details" in error)) return CridError.from(error);
  const { code, details } = error as ServiceError;
  if (code === status.UNIMPLEMENTED && details.includes("does not implement"))
    return new CridError("unimplemented", "the daemon does not know this command: it is older than this crid, or another runtime", {
      cause: error,
    });
  return new CridError(kinds[code] ?? "unknown", details, { cause: error });
}

async function assertAnswers(address: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect(address, resolve);
  socket.once("error", reject);
  try {
    await promise;
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ECONNREFUSED")) {
      throw new CridError("unavailable", `no crid answers at ${address}: start it, or name another socket with --address`, {
        cause: error,
      });
    }
    if (isErrno(error, "EACCES"))
      throw new CridError("permission-denied", `${address}: only root and the group grpc.gid may talk to crid`, { cause: error });
    throw new CridError("unavailable", `${address}: ${messageOf(error)}`, { cause: error });
  } finally {
    socket.destroy();
  }
}

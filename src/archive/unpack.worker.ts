import { setPriority } from "node:os";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { parentPort } from "node:worker_threads";
import { CridError } from "../base/errors.ts";
import type { BlobExtent, GrowingBlob } from "./growing-blob.ts";
import { probeGunzip } from "./native-gunzip.ts";
import { unpackLayer } from "./unpack.ts";
import type { UnpackAnswer, UnpackRequest } from "./unpack-messages.ts";

// The thread that layer-unpacker.ts starts: several jobs at a time, which take turns at each chunk, and an answer each.
const port = parentPort;
if (port === null) throw new Error("unpack.worker is a worker thread");

/**
 * Behind the daemon's main thread, which answers calls, where both want the same core. On Linux 0 is the calling thread (setpriority(2), "C library/kernel
 * differences"); the programs that it starts have it from there.
 */
const niceness = 5;
setPriority(0, niceness);

interface Running {
  controller: AbortController;
  extent: BlobExtent | undefined;
  blob: GrowingBlob | undefined;
}

const running = new Map<number, Running>();
const idleMs = 50;
let idle: NodeJS.Timeout | undefined;
const collectGarbage = garbageCollector();
const answer = (value: UnpackAnswer): void => port.postMessage(value);

port.on("message", (request: UnpackRequest) => {
  switch (request.do) {
    case "unpack":
      void unpack(request);
      return;
    case "grown": {
      const job = running.get(request.id);
      if (job === undefined) return;
      job.extent = request.extent;
      job.blob?.grown(request.extent);
      return;
    }
    case "abort":
      running.get(request.id)?.controller.abort();
      return;
    case "probe":
      void probeGunzip({ signal: new AbortController().signal }).then((program) => answer({ say: "probed", program }));
  }
});

async function unpack({ id, job, gunzip }: UnpackRequest & { do: "unpack" }): Promise<void> {
  const mine: Running = { controller: new AbortController(), extent: undefined, blob: undefined };
  running.set(id, mine);
  try {
    const result = await unpackLayer(job, {
      signal: mine.controller.signal,
      gunzip,
      onOpen: (blob) => {
        mine.blob = blob;
        // What was said before it was open.
        if (mine.extent !== undefined) blob.grown(mine.extent);
      },
    });
    answer({ say: "unpacked", id, result });
  } catch (error) {
    const { kind, message } = CridError.from(error);
    answer({ say: "failed", id, kind, message });
  } finally {
    running.delete(id);
    if (running.size === 0) collectWhenIdle();
  }
}

/**
 * What the layers have left goes when the thread has nothing to do: by itself V8 collects when new memory is wanted, and counts little what lies outside
 * of its heap.
 */
function collectWhenIdle(): void {
  clearTimeout(idle);
  idle = setTimeout(() => {
    if (running.size === 0) collectGarbage();
  }, idleMs).unref();
}

function garbageCollector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}

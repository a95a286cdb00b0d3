import { parentPort } from "node:worker_threads";
import { CridError } from "../base/errors.ts";
import type { UnpackAnswer } from "./layer-unpacker.ts";
import { unpackLayer } from "./unpack.ts";
import type { UnpackJob } from "./unpack-job.ts";

// The thread that layer-unpacker.ts starts: one job at a time, an answer each.
const port = parentPort;
if (port === null) throw new Error("unpack.worker is a worker thread");

port.on("message", (job: UnpackJob) => {
  const answer = (value: UnpackAnswer): void => port.postMessage(value);
  unpackLayer(job).then(
    (result) => answer({ ok: true, result }),
    (error: unknown) => {
      const { kind, message } = CridError.from(error);
      answer({ ok: false, kind, message });
    },
  );
});

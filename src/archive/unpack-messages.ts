import type { ErrorKind } from "../base/errors.ts";
import type { BlobExtent } from "./growing-blob.ts";
import type { GunzipProgram } from "./native-gunzip.ts";
import type { UnpackJob, UnpackResult } from "./unpack-job.ts";

/** What layer-unpacker.ts asks of a worker. */
export type UnpackRequest =
  | { do: "unpack"; id: number; job: UnpackJob; gunzip: GunzipProgram | undefined }
  /** More of the job's blob is there. */
  | { do: "grown"; id: number; extent: BlobExtent }
  /** The answer still comes: when it has, nothing of the job is open any more. */
  | { do: "abort"; id: number }
  | { do: "probe" };

/** What the worker answers. Errors cross the thread as kind and text, since a class does not survive the copy. */
export type UnpackAnswer =
  | { say: "unpacked"; id: number; result: UnpackResult }
  | { say: "failed"; id: number; kind: ErrorKind; message: string }
  | { say: "probed"; program: GunzipProgram | undefined };

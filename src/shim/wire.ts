import { containerd, type google } from "../../api/shim/task.js";
import { toJson } from "../base/json.ts";
import type { Nanos } from "../base/time.ts";
import type { RuncOptions } from "./task-types.ts";

const { Options } = containerd.runc.v1;

/** The runc options as the Any that Create and the bootstrap parameters carry. containerd's type URLs have no prefix. */
export function packRuncOptions(options: RuncOptions): google.protobuf.Any.$Properties {
  const value = Options.encode({
    binaryName: options.binaryName,
    root: options.root,
    systemdCgroup: options.systemdCgroup,
    noNewKeyring: options.noNewKeyring ?? false,
    noPivotRoot: options.noPivotRoot ?? false,
    shimCgroup: options.shimCgroup ?? "",
    ioUid: options.ioUid ?? 0,
    ioGid: options.ioGid ?? 0,
  }).finish();
  return { type_url: "containerd.runc.v1.Options", value };
}

/** A part of the OCI runtime spec as an Any: JSON under the type URL that containerd registered for it (core/runtime/typeurl.go). */
export function packOci(type: "Process" | "LinuxResources", value: object): google.protobuf.Any.$Properties {
  return { type_url: `types.containerd.io/opencontainers/runtime-spec/1/${type}`, value: Buffer.from(toJson(value)) };
}

/** A timestamp in nanoseconds; 0n when it is absent or Go's zero time, which lies in the year 1. */
export function toNanos(timestamp: google.protobuf.Timestamp.$Properties | null | undefined): Nanos {
  const seconds = timestamp?.seconds ?? 0n;
  return seconds <= 0n ? 0n : seconds * 1_000_000_000n + BigInt(timestamp?.nanos ?? 0);
}

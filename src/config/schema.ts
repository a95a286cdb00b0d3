import * as z from "zod";
import { nriSchema } from "./nri-schema.ts";
import { absolutePath, duration, port, size } from "./quantity-schemas.ts";
import { registrySchema } from "./registry-schema.ts";
import { rlimitsSchema } from "./rlimit-schema.ts";
import { verifierSchema } from "./verifier-schema.ts";

const handlerOptions = z.strictObject({
  SystemdCgroup: z.boolean().optional().describe("Let the OCI runtime ask systemd for cgroups. Not set: as cgroupDriver says."),
  NoPivotRoot: z.boolean().prefault(false).describe("For a root file system on a ramdisk, where pivot_root does not work."),
  NoNewKeyring: z.boolean().prefault(false).describe("Share the session keyring of the daemon with the containers."),
  ShimCgroup: z.string().prefault("").describe("Put the shims into this cgroup."),
  IoUid: z.int().nonnegative().prefault(0).describe("Owner of the stdio pipes."),
  IoGid: z.int().nonnegative().prefault(0).describe("Group of the stdio pipes."),
  Root: z
    .union([z.literal(""), absolutePath])
    .prefault("")
    .describe('State directory of the OCI runtime. "" = <state>/runc.'),
});

const handler = z.strictObject({
  shim: z.string().min(1).prefault("containerd-shim-runc-v2").describe("The shim: a name looked up in PATH, or a path."),
  binary: z.string().min(1).prefault("runc").describe("The OCI runtime that the shim calls: runc or crun, a name or a path."),
  podAnnotations: z
    .array(z.string().min(1))
    .prefault([])
    .describe("Annotations of the pod that the OCI runtime gets to see, as patterns (io.katacontainers.*): * is anything but /."),
  containerAnnotations: z
    .array(z.string().min(1))
    .prefault([])
    .describe("The same for annotations of a container, which only its own spec gets."),
  options: handlerOptions.prefault({}).describe("Options handed to the shim."),
});

/**
 * The configuration: names, types, defaults and meaning, in this one place. `crid config default` prints it, so a description
 * is a sentence for the operator.
 */
export const configSchema = z.strictObject({
  root: absolutePath.prefault("/var/lib/crid").describe("What survives a reboot: store, images, snapshots."),
  state: absolutePath
    .prefault("/run/crid")
    .describe("What a reboot ends: sockets, bundles, network namespaces. Keep it short: socket paths are limited to 107 bytes."),
  oomScore: z.int().min(-1000).max(1000).prefault(-999).describe("oom_score_adj of the daemon, as low as it is allowed to go."),
  debug: z.boolean().prefault(false).describe("Shims and OCI runtime log at level debug."),
  log: z
    .strictObject({
      level: z.enum(["trace", "debug", "info", "warn", "error"]).prefault("info").describe("trace, debug, info, warn or error."),
      format: z.enum(["json", "text"]).prefault("json").describe("json or text."),
    })
    .prefault({})
    .describe("The daemon's own log, on stderr."),
  grpc: z
    .strictObject({
      address: z
        .union([z.literal(""), absolutePath])
        .prefault("")
        .describe('The CRI socket. "" = <state>/crid.sock.'),
      gid: z.int().nonnegative().prefault(0).describe("The group that may connect to it."),
    })
    .prefault({})
    .describe("Where the kubelet and crictl connect."),
  streaming: z
    .strictObject({
      address: z.string().min(1).prefault("127.0.0.1").describe("Address to listen on; it is also the one in the URLs given out."),
      port: port.prefault(0).describe("0 = any free one."),
      idleTimeout: duration.prefault("4h").describe("A stream without traffic is closed after this long."),
      tls: z
        .strictObject({
          cert: absolutePath.optional().describe("The certificate, PEM. Without it and key: one of crid's own, signed by itself."),
          key: absolutePath.optional().describe("Its key, PEM."),
          clientCA: absolutePath.optional().describe("Callers must show a certificate signed by it."),
        })
        .refine(({ cert, key }) => (cert === undefined) === (key === undefined), { message: "cert and key come together" })
        .optional()
        .describe("Serve https. Not set: http."),
    })
    .prefault({})
    .describe("exec, attach and port-forward."),
  metrics: z
    .strictObject({
      address: z.string().prefault("127.0.0.1:1339").describe('host:port of /metrics and /healthz. "" = off.'),
    })
    .prefault({})
    .describe("Prometheus metrics."),
  cgroupDriver: z
    .enum(["auto", "cgroupfs", "systemd"])
    .prefault("auto")
    .describe("auto, cgroupfs or systemd. auto = systemd where it is pid 1 and cgroups are v2."),
  sandbox: z
    .strictObject({
      image: z
        .string()
        .prefault("")
        .describe(
          'The image of the pause container. "" = the built-in pause, which needs no image. Pods with a user namespace always use that.',
        ),
    })
    .prefault({})
    .describe("The container that holds a pod's namespaces."),
  runtime: z
    .strictObject({
      default: z.string().min(1).prefault("runc").describe("The handler of pods that name none."),
      handlers: z
        .record(z.string().min(1), handler)
        .prefault({ runc: {} })
        .describe("By name, as RuntimeClass.handler says. runc is always there."),
      blockio: z
        .strictObject({
          configFile: z
            .union([z.literal(""), absolutePath])
            .prefault("")
            .describe('The classes, in the format of goresctrl that containerd takes too. "" = none.'),
          ignoreNotEnabledErrors: z
            .boolean()
            .prefault(false)
            .describe("Without a usable file create containers without their class, instead of refusing them."),
        })
        .prefault({})
        .describe("Block I/O classes, which annotations name."),
      rdt: z
        .strictObject({
          ignoreNotEnabledErrors: z
            .boolean()
            .prefault(false)
            .describe("Where resctrl is not mounted create containers without their class, instead of refusing them."),
        })
        .prefault({})
        .describe("Classes of cache and memory bandwidth: the groups in resctrl, which annotations name."),
    })
    .prefault({})
    .describe("How containers are run."),
  cni: z
    .strictObject({
      binDirs: z.array(absolutePath).min(1).prefault(["/opt/cni/bin"]).describe("Where the plugins are, searched in this order."),
      confDir: absolutePath.prefault("/etc/cni/net.d").describe("The network configuration: the first file by name is used."),
      gc: z
        .boolean()
        .prefault(false)
        .describe(
          "At the start, let the plugins free what is not crid's (CNI GC). Only for networks that no other runtime uses by the same name.",
        ),
    })
    .prefault({})
    .describe("Pod networks."),
  registry: registrySchema,
  image: z
    .strictObject({
      snapshotter: z.enum(["auto", "erofs", "overlayfs"]).prefault("auto").describe("auto, erofs or overlayfs."),
      maxConcurrentDownloads: z.int().min(1).prefault(6).describe("Blobs fetched at once, over all pulls."),
      pullProgressTimeout: duration.prefault("5m").describe("A pull that receives nothing for this long fails. 0 = never."),
      discardUnpackedLayers: z
        .boolean()
        .prefault(false)
        .describe("Delete a layer's archive once it is unpacked. Saves disk; a lost snapshot is then pulled again."),
      collectInterval: duration
        .refine((ms) => ms >= 1000, "must be 1s or more")
        .prefault("10m")
        .describe("How often the store looks for blobs and layers that nothing refers to; removals and failed pulls collect at once."),
      keepPartialDownloads: duration.prefault("24h").describe("A partial download that nobody has gone on with for this long is removed."),
      scrubRate: size
        .prefault("64Mi")
        .describe(
          "After a stop that was not clean all blobs and layers are verified, at this many bytes a second. 0 = as fast as the disk.",
        ),
      maxLayerBytes: size.prefault("64Gi").describe("A layer that unpacks to more is refused: it fills the disk before anybody sees it."),
      maxLayerEntries: z
        .int()
        .min(1)
        .prefault(1_000_000)
        .describe("A layer of more entries is refused, or of twice as many files: each takes memory while it is unpacked."),
      gunzip: z
        .enum(["auto", "builtin"])
        .prefault("auto")
        .describe("auto or builtin. auto = with igzip or unpigz from PATH, where they are faster than the daemon itself."),
      pinned: z.array(z.string().min(1)).prefault([]).describe("References that the kubelet's image GC must keep."),
      verifier: verifierSchema,
    })
    .prefault({})
    .describe("Pulling and keeping images."),
  container: z
    .strictObject({
      maxLogLineSize: size.prefault("16Ki").describe("A longer line is split into parts (tag P), as the CRI log format has it."),
      drainExecTimeout: duration.prefault("10s").describe("How long ExecSync waits for output after the command has ended."),
      unsetSeccompProfile: z
        .enum(["unconfined", "runtime-default"])
        .prefault("unconfined")
        .describe("For containers whose pod sets none: unconfined or runtime-default."),
      rlimits: rlimitsSchema,
      selinux: z
        .enum(["auto", "off"])
        .prefault("auto")
        .describe("auto or off. auto = labels and categories for pods where the kernel has SELinux enabled."),
    })
    .prefault({})
    .describe("Containers."),
  nri: nriSchema,
  cdi: z
    .strictObject({
      enabled: z.boolean().prefault(true).describe("Give containers the CDI devices that they ask for. Off: they are refused."),
      dirs: z
        .array(absolutePath)
        .min(1)
        .prefault(["/etc/cdi", "/var/run/cdi"])
        .describe("Folders of device specifications; of two that name the same device the one in the later folder counts."),
    })
    .prefault({})
    .describe("Container Device Interface."),
});

/** The configuration as the parts use it: durations in milliseconds, sizes in bytes, nothing left to default. */
export type Config = z.output<typeof configSchema>;

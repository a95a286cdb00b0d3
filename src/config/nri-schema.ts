import * as z from "zod";
import { absolutePath, duration } from "./quantity-schemas.ts";

const reject = (what: string) => z.boolean().prefault(false).describe(`Do not let plugins adjust ${what}.`);

/** `nri.defaultValidator`: the switches of containerd's, by the names that they have in its YAML. */
const defaultValidator = z
  .strictObject({
    enable: z.boolean().prefault(false).describe("Check what plugins adjust. Without it the switches below have no effect."),
    rejectOCIHookAdjustment: reject("OCI hooks"),
    rejectRuntimeDefaultSeccompAdjustment: reject("the seccomp policy of containers with the runtime's default profile"),
    rejectUnconfinedSeccompAdjustment: reject("the seccomp policy of unconfined containers"),
    rejectCustomSeccompAdjustment: reject("the seccomp policy of containers with a profile of their own"),
    rejectNamespaceAdjustment: reject("namespaces"),
    rejectSysctlAdjustment: reject("sysctls"),
    requiredPlugins: z
      .array(z.string().min(1))
      .prefault([])
      .describe(
        "Plugins that must have seen a container, by name or as NN-name; without them none is created, those of static pods included.",
      ),
    tolerateMissingPluginsAnnotation: z
      .string()
      .prefault("")
      .describe('Pods with this annotation set to true do without required plugins. "" = none do.'),
  })
  .prefault({})
  .describe("What plugins may not do, and which must be there.");

/** `nri`. */
export const nriSchema = z
  .strictObject({
    enabled: z.boolean().prefault(true).describe("Serve NRI plugins."),
    socket: absolutePath.prefault("/var/run/nri/nri.sock").describe("Where plugins connect."),
    disableConnections: z.boolean().prefault(false).describe("Only run the plugins of pluginDir; no others may connect."),
    pluginDir: absolutePath
      .prefault("/opt/nri/plugins")
      .describe("Plugins started with the daemon: executables called NN-name, in the order of NN."),
    pluginConfDir: absolutePath.prefault("/etc/nri/conf.d").describe("Their configuration: NN-name.conf, else name.conf."),
    pluginRegistrationTimeout: duration
      .prefault("5s")
      .describe("How long a plugin may take to register, and then to take in the pods there are."),
    pluginRequestTimeout: duration.prefault("2s").describe("A plugin that takes longer to answer is cut off."),
    defaultValidator,
  })
  .prefault({})
  .describe("Node Resource Interface: plugins that see and adjust pods and containers.");

import { CridError, messageOf } from "../base/errors.ts";
import { parseYaml } from "../config/yaml-file.ts";
import { type Container, type ContainerAdjustment, type PodSandbox, v1 } from "./messages.ts";
import { Field, type Owners } from "./owners.ts";

/** A pod's (or, ending in /container.NAME, a container's) own list of plugins that must have seen it: YAML. */
const REQUIRED_PLUGINS = "required-plugins.noderesource.dev";

/** What plugins may not do, as containerd's default validator has it. */
export interface ValidatorSettings {
  enable: boolean;
  rejectOCIHookAdjustment: boolean;
  rejectRuntimeDefaultSeccompAdjustment: boolean;
  rejectUnconfinedSeccompAdjustment: boolean;
  rejectCustomSeccompAdjustment: boolean;
  rejectNamespaceAdjustment: boolean;
  rejectSysctlAdjustment: boolean;
  /** Names, or NN-names, of plugins that must have seen every container. */
  requiredPlugins: readonly string[];
  /** A pod with this annotation set to true does without them; "" = none may. */
  tolerateMissingPluginsAnnotation: string;
}

export interface Adjusted {
  pod: PodSandbox;
  /** As before the adjustments. */
  container: Container;
  adjustment: ContainerAdjustment;
  owners: Owners;
  /** The plugins that were there and have not failed to answer. */
  plugins: readonly { index: string; name: string }[];
}

/** @throws failed-precondition for what is not allowed, or when a required plugin has not seen the container */
export function validate(settings: ValidatorSettings, adjusted: Adjusted): void {
  const { owners, container } = adjusted;
  const id = container.id ?? "";
  const hooks = owners.owner(id, Field.OciHooks);
  if (settings.rejectOCIHookAdjustment && hooks !== undefined) refuse(`OCI hooks, by ${hooks}`);
  const seccomp = owners.owner(id, Field.SeccompPolicy);
  if (seccomp !== undefined && rejectsSeccomp(settings, container)) refuse(`the seccomp policy, by ${seccomp}`);
  const namespaces = owners.owners(id, Field.Namespace);
  if (settings.rejectNamespaceAdjustment && namespaces.size > 0) refuse(`namespaces: ${listed(namespaces)}`);
  const sysctls = owners.owners(id, Field.Sysctl);
  if (settings.rejectSysctlAdjustment && sysctls.size > 0) refuse(`sysctls: ${listed(sysctls)}`);
  checkRequired(settings, adjusted);
}

function rejectsSeccomp(settings: ValidatorSettings, container: Container): boolean {
  const { ProfileType } = v1.SecurityProfile;
  switch (container.linux?.seccompProfile?.profileType ?? ProfileType.UNCONFINED) {
    case ProfileType.RUNTIME_DEFAULT:
      return settings.rejectRuntimeDefaultSeccompAdjustment;
    case ProfileType.LOCALHOST:
      return settings.rejectCustomSeccompAdjustment;
    default:
      return settings.rejectUnconfinedSeccompAdjustment;
  }
}

function checkRequired(settings: ValidatorSettings, { pod, container, plugins }: Adjusted): void {
  const annotation = (key: string): string | undefined => effectiveAnnotation(pod, key, container.name ?? "");
  const tolerate = settings.tolerateMissingPluginsAnnotation;
  if (tolerate !== "" && isTrue(tolerate, annotation(tolerate))) return;
  const own = annotation(REQUIRED_PLUGINS);
  const required = [...settings.requiredPlugins, ...(own === undefined ? [] : namesOf(own))];
  const there = new Set(plugins.flatMap(({ index, name }) => [name, `${index}-${name}`]));
  const missing = required.filter((name) => !there.has(name));
  if (missing.length > 0) {
    throw new CridError(
      "failed-precondition",
      `required NRI plugins are not there, or have not answered: ${missing.join(", ")}; start them, or change nri.defaultValidator.requiredPlugins or the pod's annotation ${REQUIRED_PLUGINS}`,
    );
  }
}

/** The container's own, else the pod's. */
function effectiveAnnotation(pod: PodSandbox, key: string, container: string): string | undefined {
  const annotations = pod.annotations ?? {};
  return annotations[`${key}/container.${container}`] ?? annotations[`${key}/pod`] ?? annotations[key];
}

/** Go's strconv.ParseBool. */
function isTrue(key: string, value: string | undefined): boolean {
  if (value === undefined) return false;
  if (/^(1|t|T|TRUE|true|True)$/.test(value)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(value)) return false;
  throw new CridError("invalid-argument", `annotation ${key}: "${value}" is neither true nor false`);
}

function namesOf(text: string): string[] {
  let names: unknown;
  try {
    names = parseYaml(text);
  } catch (error) {
    throw new CridError("invalid-argument", `annotation ${REQUIRED_PLUGINS}: ${messageOf(error)}`, { cause: error });
  }
  if (!Array.isArray(names) || !names.every((name) => typeof name === "string"))
    throw new CridError("invalid-argument", `annotation ${REQUIRED_PLUGINS}: "${text}" is no list of names`);
  return names;
}

function listed(owners: ReadonlyMap<string, string>): string {
  return [...owners].map(([key, plugin]) => `${key} (by ${plugin})`).join(", ");
}

function refuse(what: string): never {
  throw new CridError("failed-precondition", `nri.defaultValidator does not allow plugins to adjust ${what}`);
}

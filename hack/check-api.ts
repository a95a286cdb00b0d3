import { readFileSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs";

/** What hack/apicheck prints of upstream, and what we read of our own protos. */
interface Declared {
  messages: Record<string, Record<string, { number: number; type: string; label: string }>>;
  enums: Record<string, Record<string, number>>;
  services: Record<string, Record<string, { Input: string; Output: string; Stream: boolean }>>;
}

const protos = [
  "api/cri/runtime/v1/api.proto",
  "api/nri/nri.proto",
  ...["task-v2", "task-v3", "task-events", "events-service", "runc-options", "bootstrap", "rpc-status"].map(
    (name) => `api/shim/${name}.proto`,
  ),
];

/** Declared upstream in the same files, and neither sent nor read by us, a shim or a plugin (NRI's WASM plugins are not supported). */
const notOurs = new Set([
  "containerd.types.ActiveMount",
  "containerd.types.ActivationInfo",
  "containerd.types.MountCapabilities",
  "nri.pkg.api.v1alpha1.HostFunctions",
  "nri.pkg.api.v1alpha1.LogRequest",
  "nri.pkg.api.v1alpha1.LogRequest.Level",
]);

function readOurs(): Declared {
  const root = new protobuf.Root();
  root.resolvePath = (origin, target) => {
    if (target.startsWith("google/protobuf/") || protos.includes(target)) return target;
    return join(origin.slice(0, origin.lastIndexOf("/")), target);
  };
  root.loadSync(protos, { keepCase: true });
  root.resolveAll();
  const declared: Declared = { messages: {}, enums: {}, services: {} };
  visit(root, declared);
  return declared;
}

function visit(namespace: protobuf.NamespaceBase, declared: Declared): void {
  for (const item of namespace.nestedArray) {
    const name = item.fullName.slice(1);
    if (item instanceof protobuf.Type) {
      if (name.startsWith("google.protobuf.")) continue;
      declared.messages[name] = Object.fromEntries(item.fieldsArray.map((field) => [field.name, describe(field)]));
    }
    if (item instanceof protobuf.Enum) declared.enums[name] = { ...item.values };
    if (item instanceof protobuf.Service) {
      declared.services[name] = Object.fromEntries(
        item.methodsArray.map(({ name: method, resolvedRequestType, resolvedResponseType, responseStream }) => [
          method,
          { Input: nameOf(resolvedRequestType), Output: nameOf(resolvedResponseType), Stream: responseStream === true },
        ]),
      );
    }
    if (item instanceof protobuf.Namespace) visit(item, declared);
  }
}

function describe(field: protobuf.Field): { number: number; type: string; label: string } {
  const type = field.resolvedType === null ? field.type : nameOf(field.resolvedType);
  if (field instanceof protobuf.MapField) return { number: field.id, type: `map<${field.keyType},${type}>`, label: "map" };
  const optional = field.options?.proto3_optional === true;
  return { number: field.id, type, label: field.repeated ? "repeated" : optional ? "optional" : "" };
}

function nameOf(type: protobuf.ReflectionObject | null): string {
  return type?.fullName.slice(1) ?? "?";
}

/** The differences, one a line: what only one side has, and what both have in two ways. */
function compare(ours: object, theirs: object, path: string): string[] {
  const differences: string[] = [];
  const left = new Map<string, unknown>(Object.entries(ours));
  for (const [key, theirValue] of Object.entries(theirs) as [string, unknown][]) {
    const at = `${path}.${key}`;
    const ourValue = left.get(key);
    left.delete(key);
    if (ourValue === undefined) {
      if (!notOurs.has(key)) differences.push(`${at}: missing in ours`);
    } else if (typeof theirValue === "object" && theirValue !== null && typeof ourValue === "object" && ourValue !== null) {
      differences.push(...compare(ourValue, theirValue, at));
    } else if (ourValue !== theirValue) {
      differences.push(`${at}: ours ${String(ourValue)}, upstream ${String(theirValue)}`);
    }
  }
  return [...differences, ...[...left.keys()].map((key) => `${path}.${key}: not in upstream`)];
}

const upstreamFile = process.argv[2];
if (upstreamFile === undefined) throw new Error("usage: check-api.ts UPSTREAM.json (as hack/apicheck prints it)");
const upstream = JSON.parse(readFileSync(upstreamFile, "utf8")) as Declared;
const ours = readOurs();
const differences = compare(ours, upstream, "api");
for (const difference of differences) console.error(difference);
const fields = Object.values(ours.messages).reduce((sum, message) => sum + Object.keys(message).length, 0);
const methods = Object.values(ours.services).reduce((sum, service) => sum + Object.keys(service).length, 0);
console.log(
  `api: ${Object.keys(ours.messages).length} messages with ${fields} fields, ${Object.keys(ours.enums).length} enums, ${methods} methods: ` +
    (differences.length === 0 ? "as upstream" : `${differences.length} differences`),
);
if (differences.length > 0 || fields === 0) process.exitCode = 1;

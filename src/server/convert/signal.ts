import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { signalNumber } from "../../linux/signals.ts";
import { badField } from "./fields.ts";

const { Signal } = runtime.v1;

/** "SIGTERM" or "SIGRTMAX-3" of SIGNAL_SIGTERM or SIGNAL_SIGRTMAXMINUS3. */
function nameOf(enumName: string): string {
  const name = enumName
    .replace(/^SIGNAL_/, "")
    .replace(/PLUS(\d+)$/, "+$1")
    .replace(/MINUS(\d+)$/, "-$1");
  // An old name for SIGCHLD that Linux has no number for.
  return name === "SIGCLD" ? "SIGCHLD" : name;
}

const names = new Map<number, string>();
const byNumber = new Map<number, runtime.v1.Signal>();
for (const [enumName, value] of Object.entries(Signal)) {
  if (typeof value !== "number" || value === Signal.SIGNAL_RUNTIME_DEFAULT) continue;
  const name = nameOf(enumName);
  names.set(value, name);
  // Of the names of one signal (SIGABRT, SIGIOT) the first is the usual one.
  if (!byNumber.has(signalNumber(name))) byNumber.set(signalNumber(name), value);
}

/** "" for "as the runtime thinks best". */
export function toSignalName(value: runtime.v1.Signal, path: string): string {
  if (value === Signal.SIGNAL_RUNTIME_DEFAULT) return "";
  const name = names.get(value);
  if (name === undefined) throw badField(path, `${value} is no signal`);
  return name;
}

/** @param number as kill(2) takes it */
export function fromSignalNumber(number: number): runtime.v1.Signal {
  return byNumber.get(number) ?? Signal.SIGNAL_RUNTIME_DEFAULT;
}

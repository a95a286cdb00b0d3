import { constants } from "node:os";
import { CridError } from "../base/errors.ts";

// What applications call SIGRTMIN and SIGRTMAX: glibc and musl keep the kernel's first real-time signals for themselves.
const SIGRTMIN = 34;
const SIGRTMAX = 64;

const numbers = new Map<string, number>(Object.entries(constants.signals).map(([name, value]) => [name, value]));

/**
 * The number of a signal given as an image's or the CRI's stop signal may be: "SIGTERM", "term", "15", "SIGRTMIN+3",
 * "RTMAX-1".
 *
 * @throws CridError invalid-argument when there is no such signal.
 */
export function signalNumber(text: string): number {
  const name = text.trim().toUpperCase();
  if (/^\d+$/.test(name)) {
    const number = Number(name);
    if (number >= 1 && number <= SIGRTMAX) return number;
  } else {
    const full = name.startsWith("SIG") ? name : `SIG${name}`;
    const known = numbers.get(full);
    if (known !== undefined) return known;
    const realtime = /^SIGRT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(full);
    if (realtime !== null) {
      const offset = Number(realtime[3] ?? "0") * (realtime[2] === "-" ? -1 : 1);
      const number = (realtime[1] === "MIN" ? SIGRTMIN : SIGRTMAX) + offset;
      if (number >= SIGRTMIN && number <= SIGRTMAX) return number;
    }
  }
  throw new CridError(
    "invalid-argument",
    `signal ${JSON.stringify(text)}: no such signal; give a name such as SIGTERM or SIGRTMIN+3, or 1 to 64`,
  );
}

/** The name of a signal's number: "SIGTERM", "SIGRTMIN+3"; "signal 70" for a number that is none. */
export function signalName(number: number): string {
  for (const [name, value] of numbers) if (value === number) return name;
  if (number === SIGRTMIN) return "SIGRTMIN";
  return number > SIGRTMIN && number <= SIGRTMAX ? `SIGRTMIN+${number - SIGRTMIN}` : `signal ${number}`;
}

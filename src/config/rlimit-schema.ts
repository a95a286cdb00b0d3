import * as z from "zod";

/** The names of setrlimit(2), as `prlimit` and `ulimit` users know them. */
export const rlimitNames = [
  ..."as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split(" "),
] as [string, ...string[]];

/** What stands for no limit: the true value, 2^64-1, is no JavaScript number, and this one is out of anybody's reach too. */
export const unlimited = Number.MAX_SAFE_INTEGER;

const word = "(\\d{1,15}|unlimited)";
const form = new RegExp(`^${word}(?::${word})?$`);

/** `SOFT:HARD`, or one number for both. */
const rlimit = z.codec(z.union([z.string(), z.int().nonnegative()]), z.strictObject({ soft: z.number(), hard: z.number() }), {
  decode: (value, context) => {
    const [, first, second] = form.exec(String(value)) ?? [];
    const soft = numberOf(first);
    const hard = second === undefined ? soft : numberOf(second);
    if (first !== undefined && soft <= hard) return { soft, hard };
    context.issues.push({
      code: "custom",
      input: value,
      message: `"${value}" is no limit; write it as 1024, 1024:524288 (SOFT:HARD) or unlimited`,
    });
    return z.NEVER;
  },
  encode: ({ soft, hard }) => `${wordOf(soft)}:${wordOf(hard)}`,
});

export const rlimitsSchema = z
  .partialRecord(z.enum(rlimitNames), rlimit)
  .prefault({})
  .describe(
    "Limits of every process of a container, by name (nofile, nproc, memlock, core ...): 1024, 1024:524288 (SOFT:HARD) or unlimited. Not set: as the service manager started crid (LimitNOFILE and so on).",
  );

function numberOf(text: string | undefined): number {
  return text === "unlimited" ? unlimited : Number(text);
}

function wordOf(limit: number): string {
  return limit === unlimited ? "unlimited" : String(limit);
}

import * as z from "zod";
import { formatDuration, formatSize, parseDuration, parseSize } from "./quantities.ts";

/** `5m`; milliseconds in the configuration as the parts use it. */
export const duration = z.codec(z.string(), z.number(), {
  decode: (text, context) => {
    const ms = parseDuration(text);
    if (ms !== undefined) return ms;
    context.issues.push({ code: "custom", input: text, message: `"${text}" is no duration; write it as 30s, 5m or 1h30m` });
    return z.NEVER;
  },
  encode: formatDuration,
});

/** `16Ki`; bytes. */
export const size = z.codec(z.union([z.string(), z.int().nonnegative()]), z.number(), {
  decode: (value, context) => {
    const bytes = parseSize(String(value));
    if (bytes !== undefined) return bytes;
    context.issues.push({ code: "custom", input: value, message: `"${value}" is no size; write it as 65536, 64Ki or 1Gi` });
    return z.NEVER;
  },
  encode: formatSize,
});

export const absolutePath = z.string().startsWith("/", "must be an absolute path");
export const port = z.int().min(0).max(65_535);

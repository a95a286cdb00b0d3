/**
 * What is used of undici. Load it by `import("./undici.ts")`: a daemon that starts, and one that pulls nothing, does without. By way of this
 * file, since an `import("undici")` of the bundle has no names.
 */
export { Agent, ProxyAgent, request } from "undici";

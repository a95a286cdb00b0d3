import manifest from "../package.json" with { type: "json" };

/** crid's own version. */
export const version: string = manifest.version;

/** One challenge of a WWW-Authenticate header (RFC 9110, 11.6.1). */
export interface Challenge {
  /** Lower case: "bearer", "basic". */
  scheme: string;
  /** Names in lower case. */
  parameters: Map<string, string>;
}

const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;
const parameter = /([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*/y;

/** Reads all challenges. What cannot be read is skipped: registries behind odd proxies send odd headers beside a good one. */
export function parseChallenges(header: string | string[] | undefined): Challenge[] {
  return [header ?? []].flat().flatMap((text) => parseHeader(text.slice(0, 8192)));
}

function parseHeader(text: string): Challenge[] {
  const challenges: Challenge[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found === null) return undefined;
    at = pattern.lastIndex;
    return found;
  };
  while (at < text.length) {
    const before = at;
    match(/[\s,]+/y);
    const pair = challenges.length > 0 ? match(parameter) : undefined;
    if (pair?.[1] !== undefined) {
      const value = match(quoted)?.[1]?.replace(/\\(.)/g, "$1") ?? match(token)?.[0] ?? "";
      const { parameters } = challenges.at(-1) ?? { parameters: new Map<string, string>() };
      const name = pair[1].toLowerCase();
      if (!parameters.has(name)) parameters.set(name, value);
    } else {
      const scheme = match(token)?.[0];
      if (scheme !== undefined) challenges.push({ scheme: scheme.toLowerCase(), parameters: new Map() });
    }
    if (at === before) at++;
  }
  return challenges;
}

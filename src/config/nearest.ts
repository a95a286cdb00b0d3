/** The part of a JSON Schema that the search for keys looks at. */
export interface SchemaNode {
  description?: string;
  default?: unknown;
  properties?: Record<string, SchemaNode>;
  additionalProperties?: boolean | SchemaNode;
}

/**
 * The known key that an unknown one was probably meant to be, as a path: one that is spelt almost like it in the same section,
 * else the same name in another section.
 */
export function nearestKey(root: SchemaNode, path: readonly string[], key: string): string | undefined {
  const here = at(root, path);
  let best: { name: string; distance: number } | undefined;
  for (const name of Object.keys(here?.properties ?? {})) {
    const distance = editDistance(key.toLowerCase(), name.toLowerCase());
    if (distance < (best?.distance ?? Infinity)) best = { name, distance };
  }
  if (best !== undefined && best.distance <= Math.max(1, Math.floor(best.name.length / 3))) return [...path, best.name].join(".");
  return elsewhere(root, [], key.toLowerCase());
}

function at(root: SchemaNode, path: readonly string[]): SchemaNode | undefined {
  let node: SchemaNode | undefined = root;
  for (const part of path) {
    const named: SchemaNode | undefined = node?.properties?.[part];
    const any: boolean | SchemaNode | undefined = node?.additionalProperties;
    node = named ?? (typeof any === "object" ? any : undefined);
  }
  return node;
}

function elsewhere(node: SchemaNode, path: readonly string[], key: string): string | undefined {
  for (const [name, child] of Object.entries(node.properties ?? {})) {
    if (name.toLowerCase() === key) return [...path, name].join(".");
    const deeper = elsewhere(child, [...path, name], key);
    if (deeper !== undefined) return deeper;
  }
  return typeof node.additionalProperties === "object" ? elsewhere(node.additionalProperties, [...path, "<name>"], key) : undefined;
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitute, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

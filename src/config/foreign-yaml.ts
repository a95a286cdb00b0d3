import { defineMappingTag, defineScalarTag, FAILSAFE_SCHEMA, loadAll, mergeTag, NOT_RESOLVED } from "js-yaml";

/**
 * Files of other programs that Go defined: typed by who reads a field, not by how the value looks. `name: 0` is the name "0", `mode: 0660` is
 * octal, and a field that nobody knows is an error. A YAML parser that types values by itself has lost the text by then, so here plain
 * scalars stay text until a reader asks. JSON is YAML.
 */
export type YamlNode = PlainScalar | string | YamlNode[] | Map<string, YamlNode>;

/** A scalar without quotes: what it is depends on who reads it. */
export class PlainScalar {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  get isNull(): boolean {
    return ["", "~", "null", "Null", "NULL"].includes(this.text);
  }
}

const plainTag = defineScalarTag("tag:crid,2026:plain", {
  implicit: true,
  implicitFirstChars: null,
  resolve: (text, isExplicit) => (isExplicit ? NOT_RESOLVED : new PlainScalar(text)),
  identify: () => false,
});

const keyOf = (key: unknown): string => (key instanceof PlainScalar ? key.text : String(key));

const mapTag = defineMappingTag<Map<string, unknown>>("tag:yaml.org,2002:map", {
  create: () => new Map(),
  addPair: (map, key, value) => {
    if (typeof key === "object" && !(key instanceof PlainScalar)) return "a key must be a scalar";
    map.set(keyOf(key), value);
    return "";
  },
  has: (map, key) => map.has(keyOf(key)),
  keys: (map) => map.keys(),
  get: (map, key) => map.get(keyOf(key)),
  identify: () => false,
});

const schema = FAILSAFE_SCHEMA.withTags(mergeTag, plainTag, mapTag);

/**
 * The first document of a text; undefined when there is none. Keys that occur twice are an error.
 *
 * @param path for the error
 * @throws YAMLException with line and column
 */
export function parseForeignYaml(text: string, path: string): YamlNode | undefined {
  const [first] = loadAll(text, { schema, filename: path });
  if (first === undefined || (first instanceof PlainScalar && first.isNull)) return undefined;
  return first as YamlNode;
}

/** Reads one value at the place `at` ("devices[0].name"). */
export type Reader<T> = (node: YamlNode, at: string) => T;

/** @throws Error naming the place, as all readers do */
export const text: Reader<string> = (node, at) => {
  if (typeof node === "string") return node;
  if (node instanceof PlainScalar) return node.isNull ? "" : node.text;
  throw new Error(`${at}: must be a string, not ${kindOf(node)}`);
};

/** Decimal, 0x, 0o, 0b, or octal by a leading zero. Parts after the point are cut off, as Go's readers do. */
export function integer(range: { min: number; max: number }): Reader<number> {
  return (node, at) => {
    const value = node instanceof PlainScalar ? (node.isNull ? 0 : integerOf(node.text)) : undefined;
    if (value === undefined) throw new Error(`${at}: must be an integer, not ${kindOf(node)}`);
    if (value < range.min || value > range.max) throw new Error(`${at}: ${value} is out of range ${range.min} to ${range.max}`);
    return value;
  };
}

const TRUE = new Set(["true", "True", "TRUE", "y", "Y", "yes", "on"]);
const FALSE = new Set(["false", "False", "FALSE", "n", "N", "no", "off", ""]);

export const bool: Reader<boolean> = (node, at) => {
  const value = node instanceof PlainScalar ? (node.isNull ? "" : node.text) : node;
  if (typeof value === "string" && TRUE.has(value)) return true;
  if (typeof value === "string" && FALSE.has(value) && !(value === "" && typeof node === "string")) return false;
  throw new Error(`${at}: must be true or false, not ${kindOf(node)}`);
};

/** Null is an empty list. Null entries are left out, as Go's readers do, but where an entry is a pointer: then the item's reader decides. */
export function list<T>(item: Reader<T>, entries: "values" | "pointers" = "values"): Reader<T[]> {
  return (node, at) => {
    if (isNull(node)) return [];
    if (!Array.isArray(node)) throw new Error(`${at}: must be a list, not ${kindOf(node)}`);
    const read = node.map((entry, index) => (entries === "values" && isNull(entry) ? undefined : item(entry, `${at}[${index}]`)));
    return read.filter((entry) => entry !== undefined);
  };
}

/** A mapping of free keys. Null is an empty one. */
export function dictionary<T>(value: Reader<T>): Reader<Map<string, T>> {
  return (node, at) => {
    if (isNull(node)) return new Map();
    if (!(node instanceof Map)) throw new Error(`${at}: must be a mapping, not ${kindOf(node)}`);
    return new Map([...node].map(([key, entry]) => [key, value(entry, join(at, key))]));
  };
}

type RequiredKeys<T> = { [K in keyof T]-?: object extends Pick<T, K> ? never : K }[keyof T];

/**
 * A mapping of known fields; a null one is as if it were not there.
 *
 * @param zero what required fields are when they are missing
 * @throws Error naming every unknown field
 */
export function fields<T extends object>(
  readers: { [K in keyof T]-?: Reader<Exclude<T[K], undefined>> },
  zero: Pick<T, RequiredKeys<T>>,
): Reader<T> {
  return (node, at) => {
    if (!(node instanceof Map)) throw new Error(`${at || "the document"}: must be a mapping, not ${kindOf(node)}`);
    const unknown = [...node.keys()].filter((key) => !Object.hasOwn(readers, key));
    if (unknown.length > 0) throw new Error(`${unknown.map((key) => join(at, key)).join(", ")}: unknown field`);
    const result: Partial<T> = { ...(zero as Partial<T>) };
    for (const name of Object.keys(readers) as (keyof T & string)[]) {
      const value = node.get(name);
      if (value !== undefined && !isNull(value)) result[name] = readers[name](value, join(at, name));
    }
    return result as T;
  };
}

/** For readers that Go's encoding/json feeds: it takes the names of fields in any case. */
export function anyCase<T>(names: readonly string[], reader: Reader<T>): Reader<T> {
  const known = new Map(names.map((name) => [name.toLowerCase(), name]));
  return (node, at) =>
    reader(node instanceof Map ? new Map([...node].map(([key, value]) => [known.get(key.toLowerCase()) ?? key, value])) : node, at);
}

export const isNull = (node: YamlNode): boolean => node instanceof PlainScalar && node.isNull;

const join = (at: string, key: string): string => (at === "" ? key : `${at}.${key}`);

function integerOf(source: string): number | undefined {
  const digits = source.replaceAll("_", "");
  const match = /^([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[oO]?([0-7]+)|0[bB]([01]+)|(0|[1-9][0-9]*))$/.exec(digits);
  if (match === null) {
    return /^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$/.test(digits) ? Math.trunc(Number(digits)) : undefined;
  }
  const [, sign, hex, octal, binary, decimal] = match;
  const value =
    hex !== undefined
      ? Number.parseInt(hex, 16)
      : octal !== undefined
        ? Number.parseInt(octal, 8)
        : Number.parseInt(binary ?? decimal ?? "", binary === undefined ? 10 : 2);
  return sign === "-" ? -value : value;
}

function kindOf(node: YamlNode): string {
  if (Array.isArray(node)) return "a list";
  if (node instanceof Map) return "a mapping";
  if (typeof node === "string") return `the string ${JSON.stringify(node)}`;
  return node.isNull ? "null" : node.text;
}

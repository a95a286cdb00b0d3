import { CridError } from "../base/errors.ts";
import { removalOf, removedKey, v1 } from "./messages.ts";

export const { Field } = v1;
type FieldNumber = number;

/**
 * Which plugin has set which field of which container, in one request. Two plugins that set the same would undo each other's work in an order that
 * nobody chose, so the second is refused. A plugin that first removes another's setting may then make its own.
 *
 * A name with a dash in front has removed the setting, and may claim it again.
 */
export class Owners {
  readonly #containers = new Map<string, { simple: Map<FieldNumber, string>; compound: Map<FieldNumber, Map<string, string>> }>();

  /** @throws failed-precondition when another plugin has it */
  claim(id: string, field: FieldNumber, plugin: string, key?: string): void {
    const other = this.owner(id, field, key);
    if (other !== undefined && removedKey(other) !== plugin) {
      const what = key === undefined ? nameOf(field) : `${nameOf(field)} ${key}`;
      throw new CridError("failed-precondition", `plugins "${plugin}" and "${removedKey(other) ?? other}" both tried to set ${what}`);
    }
    this.#set(id, field, plugin, key);
  }

  /** The plugin removes what another has set. */
  clear(id: string, field: FieldNumber, plugin: string, key?: string): void {
    this.#set(id, field, removalOf(plugin), key);
  }

  /** Of a field that several may add to. */
  join(id: string, field: FieldNumber, plugin: string): void {
    const others = this.owner(id, field);
    this.#set(id, field, others === undefined ? plugin : `${others},${plugin}`);
  }

  owner(id: string, field: FieldNumber, key?: string): string | undefined {
    const fields = this.#containers.get(id);
    return key === undefined ? fields?.simple.get(field) : fields?.compound.get(field)?.get(key);
  }

  /** By key. */
  owners(id: string, field: FieldNumber): ReadonlyMap<string, string> {
    return this.#containers.get(id)?.compound.get(field) ?? new Map();
  }

  /** For validating plugins. */
  toMessage(): InstanceType<typeof v1.OwningPlugins> {
    const message = new v1.OwningPlugins();
    for (const [id, { simple, compound }] of this.#containers) {
      message.owners[id] = new v1.FieldOwners({
        simple: Object.fromEntries(simple),
        compound: Object.fromEntries([...compound].map(([field, owners]) => [field, { owners: Object.fromEntries(owners) }])),
      });
    }
    return message;
  }

  #set(id: string, field: FieldNumber, value: string, key?: string): void {
    const fields = this.#containers.get(id) ?? { simple: new Map<number, string>(), compound: new Map<number, Map<string, string>>() };
    this.#containers.set(id, fields);
    if (key === undefined) {
      fields.simple.set(field, value);
      return;
    }
    const owners = fields.compound.get(field) ?? new Map<string, string>();
    fields.compound.set(field, owners);
    owners.set(key, value);
  }
}

function nameOf(field: FieldNumber): string {
  return Field[field] ?? `field ${field}`;
}

import { customAlphabet } from "nanoid";

const hex64 = customAlphabet("0123456789abcdef", 64);

/** A new sandbox or container id: 64 hex digits, the form that crictl, the kubelet's log paths and cAdvisor expect. */
export function newId(): string {
  return hex64();
}

/** The short form of an id for messages: its first 12 digits. */
export function shortId(id: string): string {
  return id.slice(0, 12);
}

import { CridError } from "../base/errors.ts";
import type { ContainerSecurity } from "../records/container-config.ts";
import type { OciUser } from "./spec.ts";

/** Reads a file below the image's root without following a link out of it; undefined when there is none. */
export type ReadInRoot = (path: string) => Buffer | undefined;

export interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
}

export interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

/** runc's limit: ids are int32 there, though the kernel has 32 bits. */
const MAX_ID = 2 ** 31 - 1;

/**
 * The lines of passwd(5) that are whole. A line that is not (comments, NIS `+` lines, ids that are no numbers) is skipped: taking a bad id for
 * 0, as some parsers do, would make that user root.
 */
export function parsePasswd(content: Buffer): PasswdEntry[] {
  return lines(content).flatMap((line) => {
    const [name, , uid, gid] = line.split(":");
    const ids = [parseId(uid), parseId(gid)] as const;
    if (name === undefined || name === "" || ids[0] === undefined || ids[1] === undefined) return [];
    return [{ name, uid: ids[0], gid: ids[1] }];
  });
}

/** The lines of group(5) that are whole. */
export function parseGroup(content: Buffer): GroupEntry[] {
  return lines(content).flatMap((line) => {
    const [name, , gidText, members = ""] = line.split(":");
    const gid = parseId(gidText);
    if (name === undefined || name === "" || gid === undefined) return [];
    return [
      {
        name,
        gid,
        members: members
          .split(",")
          .map((member) => member.trim())
          .filter((member) => member !== ""),
      },
    ];
  });
}

/**
 * The user that a container's process runs as.
 *
 * - Who: the CRI's user name, else its uid, else the image's USER, else root. A name must be in the image's /etc/passwd; a number need not.
 * - Primary group: the CRI's, else the image's `USER u:g`, else the one of /etc/passwd, else 0.
 * - Further groups: those of the CRI, and with policy "merge" those of /etc/group that list the user. The primary group is always among them, so
 *   that it cannot be shed by setting supplementary groups (CVE-2022-36109).
 *
 * @throws invalid-argument (a group without a user, a bad USER), not-found (no such user or group in the image)
 */
export function resolveUser(
  security: Pick<ContainerSecurity, "runAsUser" | "runAsGroup" | "runAsUsername" | "supplementalGroups" | "supplementalGroupsPolicy">,
  imageUser: string,
  readInRoot: ReadInRoot,
): OciUser {
  const passwd = once(() => parsePasswd(readInRoot("/etc/passwd") ?? Buffer.alloc(0)));
  const groups = once(() => parseGroup(readInRoot("/etc/group") ?? Buffer.alloc(0)));
  const asked = security.runAsUsername !== "" ? security.runAsUsername : security.runAsUser?.toString();
  if (asked === undefined && security.runAsGroup !== undefined) {
    throw new CridError("invalid-argument", `run_as_group: user group "${security.runAsGroup}" is specified without user`);
  }
  const [userText = "", groupText] = asked === undefined ? splitUser(imageUser) : [asked, security.runAsGroup?.toString()];

  let primary: { uid: number; gid: number };
  const uid = userText === "" ? 0 : numericId(userText, "uid");
  if (uid === undefined) {
    const entry = passwd().find(({ name }) => name === userText);
    if (entry === undefined) throw new CridError("not-found", `unable to find user ${userText}: no such user in the image's /etc/passwd`);
    primary = { uid: entry.uid, gid: entry.gid };
  } else {
    // Without any user named, nobody looks into the image: root is 0:0.
    primary = { uid, gid: userText === "" ? 0 : (passwd().find((entry) => entry.uid === uid)?.gid ?? 0) };
  }
  if (groupText !== undefined) primary.gid = resolveGroup(groupText, groups);

  const further = new Set<number>([primary.gid, ...security.supplementalGroups.map((gid) => checkedId(gid, "supplemental_groups"))]);
  if (security.supplementalGroupsPolicy === "merge") {
    const name = uid === undefined ? userText : passwd().find((entry) => entry.uid === uid)?.name;
    for (const group of groups()) {
      // A user's private group has the user's name; its member list adds nothing.
      if (name !== undefined && group.name !== name && group.members.includes(name)) further.add(group.gid);
    }
  }
  return { ...primary, additionalGids: [...further].sort((a, b) => a - b) };
}

function resolveGroup(text: string, groups: () => GroupEntry[]): number {
  const gid = numericId(text, "gid");
  if (gid !== undefined) return gid;
  const entry = groups().find(({ name }) => name === text);
  if (entry === undefined) throw new CridError("not-found", `unable to find group ${text}: no such group in the image's /etc/group`);
  return entry.gid;
}

function splitUser(text: string): [string, string | undefined] {
  const parts = text.split(":");
  if (parts.length > 2) throw new CridError("invalid-argument", `image: invalid USER value "${text}"`);
  return [parts[0] ?? "", parts[1]];
}

/** The number that the text is; undefined when it is a name. @throws invalid-argument when it is a number out of range */
function numericId(text: string, what: string): number | undefined {
  return /^[+-]?\d+$/.test(text) ? checkedId(Number(text), what) : undefined;
}

function checkedId(id: number, what: string): number {
  if (!Number.isInteger(id) || id < 0 || id > MAX_ID)
    throw new CridError("invalid-argument", `${what} ${id} is out of range 0 to ${MAX_ID}`);
  return id;
}

function parseId(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
}

function lines(content: Buffer): string[] {
  return content
    .toString("utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

import type { TarType } from "./tar-header.ts";

/** One file of the archive, with everything that PAX records and GNU extensions say of it. Names are one character a byte. */
export interface TarEntry {
  path: string;
  type: TarType;
  linkName: string;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of the file as it will be, holes included. */
  size: number;
  mtime: { seconds: number; nanos: number };
  devMajor: number;
  devMinor: number;
  xattrs: Map<string, Buffer>;
}

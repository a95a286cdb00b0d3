import { isIP } from "node:net";

/** `host` of `host:port`; brackets of an IPv6 address are dropped. */
export function hostnameOf(host: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d+)?$/.exec(host);
  if (bracketed?.[1] !== undefined) return bracketed[1];
  const colon = host.lastIndexOf(":");
  return colon >= 0 && host.indexOf(":") === colon ? host.slice(0, colon) : host;
}

/** `port` of `host:port`, "" when there is none. */
export function portOf(host: string): string {
  return /(?:^[^:]*|\]):(\d+)$/.exec(host)?.[1] ?? "";
}

/** `localhost` or a loopback address, as containerd's docker.IsLocalhost. */
export function isLoopback(hostname: string): boolean {
  const name = hostname.toLowerCase();
  if (name === "localhost") return true;
  return isIP(name) === 4 ? name.startsWith("127.") : v4In6(name)?.startsWith("127.") === true || compact(name) === "::1";
}

/**
 * An address that only means something on this machine's own link: cloud metadata services live there. A registry must not
 * be able to make the daemon ask them.
 */
export function isLinkLocal(address: string): boolean {
  const name = address.toLowerCase();
  if (isIP(name) === 4) return name.startsWith("169.254.") || name === "0.0.0.0";
  if (isIP(name) !== 6) return false;
  const mapped = v4In6(name);
  if (mapped !== undefined) return isLinkLocal(mapped);
  const text = compact(name);
  // fe80::/10; fd00:ec2::254 is a metadata service on a unique local address.
  return /^fe[89ab][0-9a-f]:/.test(text) || text === "fd00:ec2::254" || text === "::";
}

/** The shortest form of an IPv6 address, as the URL standard prints it; other text unchanged. */
function compact(address: string): string {
  const plain = address.split("%", 1)[0] ?? address;
  if (isIP(plain) !== 6) return address;
  return new URL(`http://[${plain}]`).hostname.slice(1, -1);
}

/** The IPv4 address inside `::ffff:a.b.c.d`. */
function v4In6(address: string): string | undefined {
  const match = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(compact(address));
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  const [high, low] = [Number.parseInt(match[1], 16), Number.parseInt(match[2], 16)];
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

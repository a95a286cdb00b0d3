import { closeFd } from "./files.ts";
import { check, declare } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const MSG_NOSIGNAL = 0x4000;

const cSocket = declare<(domain: number, type: number, protocol: number) => number>("int socket(int domain, int type, int protocol)");
const cSendto = declare<(fd: number, data: Buffer, length: number, flags: number, address: Buffer, addressLength: number) => number>(
  "long sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)",
);

/**
 * Tells the service manager a state ("READY=1", "STOPPING=1", "WATCHDOG=1"), as sd_notify(3) does: one datagram to the socket
 * named by NOTIFY_SOCKET, a path or, with @, an abstract name. Without that variable it does nothing and answers false.
 *
 * @throws an errno error when the manager's socket does not take it; the daemon goes on without.
 */
export function sdNotify(state: string, socket: string | undefined = process.env.NOTIFY_SOCKET): boolean {
  if (socket === undefined || (!socket.startsWith("/") && !socket.startsWith("@"))) return false;
  const address = unixAddress(socket);
  const fd = check(cSocket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket", socket);
  try {
    const data = Buffer.from(state);
    check(cSendto(fd, data, data.length, MSG_NOSIGNAL, address, address.length), "sendto", socket);
    return true;
  } finally {
    closeFd(fd);
  }
}

/** struct sockaddr_un: the family, then the path with its NUL, or for an abstract name a NUL and the name without one. */
function unixAddress(socket: string): Buffer {
  const path = Buffer.from(socket.startsWith("@") ? `\0${socket.slice(1)}` : `${socket}\0`);
  if (path.length > 108) throw Object.assign(new Error(`NOTIFY_SOCKET ${socket}: longer than 108 bytes`), { code: "ENAMETOOLONG" });
  const address = Buffer.alloc(2 + path.length);
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = AF_UNIX;
  path.copy(address, 2);
  return address;
}

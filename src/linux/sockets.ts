import { constants } from "node:os";
import { closeFd } from "./files.ts";
import { check, declare, errnoError, lastErrno, retryEintr } from "./libc.ts";

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
/** linux/tcp.h: the peer has closed its side, or the connection is gone. */
const TCP_CLOSE = 7;
const TCP_CLOSE_WAIT = 8;

const cSocket = declare<(domain: number, type: number, protocol: number) => number>("int socket(int domain, int type, int protocol)");
const cSocketpair = declare<(domain: number, type: number, protocol: number, fds: Int32Array) => number>(
  "int socketpair(int domain, int type, int protocol, int *fds)",
);
const cConnect = declare<(fd: number, address: Buffer, length: number) => number>("int connect(int fd, void *address, uint32_t length)");
const cGetsockopt = declare<(fd: number, level: number, name: number, value: Int32Array | Uint8Array, length: Uint32Array) => number>(
  "int getsockopt(int fd, int level, int name, void *value, uint32_t *length)",
);
const cGetpeername = declare<(fd: number, address: Buffer, length: Uint32Array) => number>(
  "int getpeername(int fd, void *address, uint32_t *length)",
);

/**
 * Begins a TCP connection to the loopback address of the calling thread's network namespace, and never waits: see `connectState`.
 * The descriptor stays in that namespace whatever the thread does afterwards.
 */
export function connectLoopback(family: 4 | 6, port: number): number {
  const subject = family === 4 ? `127.0.0.1:${port}` : `[::1]:${port}`;
  const fd = check(cSocket(family === 4 ? AF_INET : AF_INET6, SOCK_STREAM_NONBLOCK_CLOEXEC, 0), "socket", subject);
  const address = family === 4 ? addressV4(port) : addressV6(port);
  if (retryEintr(() => cConnect(fd, address, address.length)) === 0) return fd;
  const errno = lastErrno();
  if (errno === constants.errno.EINPROGRESS) return fd;
  closeFd(fd);
  throw errnoError(errno, "connect", subject);
}

/** Two unix stream sockets that are each other's peer; closed on exec, and not blocking. Both are the caller's to close. */
export function socketPair(): [number, number] {
  const fds = new Int32Array(2);
  check(cSocketpair(AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0, fds), "socketpair", "unix");
  return [fds[0] ?? -1, fds[1] ?? -1];
}

/** How a connection that was begun stands. @throws the error that ended it (ECONNREFUSED); the descriptor is the caller's to close */
export function connectState(fd: number): "connected" | "pending" {
  const error = new Int32Array(1);
  check(cGetsockopt(fd, SOL_SOCKET, SO_ERROR, error, Uint32Array.of(4)), "getsockopt", `fd ${fd}`);
  if (error[0] !== undefined && error[0] !== 0) throw errnoError(error[0], "connect", `fd ${fd}`);
  if (cGetpeername(fd, Buffer.alloc(28), Uint32Array.of(28)) === 0) return "connected";
  const errno = lastErrno();
  if (errno === constants.errno.ENOTCONN) return "pending";
  throw errnoError(errno, "getpeername", `fd ${fd}`);
}

/**
 * Whether the other end of a TCP connection has closed its side, without reading: the end of file is behind bytes that nobody wants yet.
 * False for what is no TCP socket.
 */
export function peerHasClosed(fd: number): boolean {
  // struct tcp_info begins with the state.
  const info = new Uint8Array(8);
  if (cGetsockopt(fd, IPPROTO_TCP, TCP_INFO, info, Uint32Array.of(info.length)) !== 0) return false;
  return info[0] === TCP_CLOSE || info[0] === TCP_CLOSE_WAIT;
}

/** struct sockaddr_in: the family in host order, port and address in network order, eight bytes of nothing. */
function addressV4(port: number): Buffer {
  const address = Buffer.alloc(16);
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = AF_INET;
  address.writeUInt16BE(port, 2);
  address.set([127, 0, 0, 1], 4);
  return address;
}

/** struct sockaddr_in6: family, port, flow label, sixteen bytes of address, scope. */
function addressV6(port: number): Buffer {
  const address = Buffer.alloc(28);
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = AF_INET6;
  address.writeUInt16BE(port, 2);
  address[23] = 1;
  return address;
}

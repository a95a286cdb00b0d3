import { connect, createServer } from "node:net";

// Processes for the port-forward measure.
//   serve SOURCE SINK                    sends without end on one port, takes without end on the other
//   splice PORT TARGET [PORT TARGET]...  passes connections on, as Node does with pipe(): what a plain forwarder in Node would reach

const host = "127.0.0.1";
const [role, ...rest] = process.argv.slice(2);
const ports = rest.map(Number);

function source(port: number): void {
  const block = Buffer.alloc(256 * 1024, "crid");
  createServer((socket) => {
    const more = (): void => {
      while (!socket.destroyed && socket.write(block));
    };
    socket.on("error", () => {}).on("drain", more);
    more();
  }).listen(port, host);
}

/** Answers with a byte for every MiB taken, so that the sender knows what has arrived. */
function sink(port: number): void {
  createServer((socket) => {
    let taken = 0;
    let told = 0;
    socket
      .on("error", () => {})
      .on("data", (chunk) => {
        taken += chunk.length;
        const due = Math.floor(taken / 2 ** 20) - told;
        if (due > 0) socket.write(Buffer.alloc(due));
        told += due;
      });
  }).listen(port, host);
}

function splice(port: number, target: number): void {
  createServer((socket) => {
    const other = connect(target, host);
    socket.on("error", () => {}).on("close", () => other.destroy());
    other.on("error", () => {}).on("close", () => socket.destroy());
    socket.pipe(other).pipe(socket);
  }).listen(port, host);
}

if (role === "serve") {
  source(ports[0] ?? 0);
  sink(ports[1] ?? 0);
} else {
  for (let at = 0; at + 1 < ports.length; at += 2) splice(ports[at] ?? 0, ports[at + 1] ?? 0);
}
process.send?.("ready");

import { fork } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "./measures.ts";
import type { Peer } from "./peer.ts";
import { createContainer, podConfig } from "./pod.ts";
import { type ExecSession, execOverSpdy, execOverWebSocket, LeanSpdyClient } from "./stream-client.ts";

/** A pod with a running container in each runtime, for as long as `use` takes. */
export async function inPods(
  context: Context,
  use: (containers: Map<Peer, { podId: string; containerId: string }>) => Promise<void>,
): Promise<void> {
  const containers = new Map<Peer, { podId: string; containerId: string }>();
  for (const peer of context.peers) {
    const pod = podConfig(context.directory, { hostNetwork: true });
    const { podSandboxId: podId } = await peer.client.runPodSandbox({ config: pod });
    const containerId = await createContainer(peer, podId, pod, ["sleep", "36000"]);
    await peer.client.startContainer({ containerId });
    containers.set(peer, { podId, containerId });
  }
  try {
    await use(containers);
  } finally {
    for (const [peer, { podId }] of containers) {
      await peer.client.stopPodSandbox({ podSandboxId: podId });
      await peer.client.removePodSandbox({ podSandboxId: podId });
    }
  }
}

/** The command says when it listens, so that no key comes before the terminal is set. */
const echoes = { tty: ["sh", "-c", "stty raw -echo; echo ready; exec cat"], plain: ["sh", "-c", "echo ready; exec cat"] };

async function openEcho(peer: Peer, containerId: string, transport: "SPDY" | "WebSocket", tty: boolean): Promise<ExecSession> {
  const { url } = await peer.client.exec({
    containerId,
    cmd: tty ? echoes.tty : echoes.plain,
    tty,
    stdin: true,
    stdout: true,
    stderr: false,
  });
  const session = transport === "SPDY" ? await execOverSpdy(url, { tty }) : await execOverWebSocket(url);
  let text = "";
  const { promise, resolve } = Promise.withResolvers<void>();
  session.onOutput = (payload) => {
    text += payload.toString("latin1");
    if (/ready\r?\n$/.test(text)) resolve();
  };
  await promise;
  return session;
}

/** One key in, its echo out, in microseconds. */
function keystroke(session: ExecSession): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const started = performance.now();
  session.onOutput = () => resolve((performance.now() - started) * 1000);
  session.type(Buffer.from("x"));
  return promise;
}

/**
 * The round trip of a key through an open exec to a `cat` and back, key by key in turn for each runtime, so that both meet the same moments of
 * the machine. CPU time is the daemon's and its helpers'.
 */
export async function echo(context: Context, rounds: number, keys: number): Promise<void> {
  const { report, peers } = context;
  await inPods(context, async (containers) => {
    for (let round = 0; round < rounds; round++) {
      for (const transport of ["SPDY", "WebSocket"] as const) {
        for (const tty of [true, false]) {
          const sessions = new Map<Peer, ExecSession>();
          for (const [peer, { containerId }] of containers) sessions.set(peer, await openEcho(peer, containerId, transport, tty));
          const cpu = new Map(peers.map((peer) => [peer, 0]));
          for (let key = -50; key < keys; key++) {
            for (const peer of key % 2 === 0 ? peers : peers.toReversed()) {
              const session = sessions.get(peer);
              if (session === undefined) continue;
              const before = peer.cpuMs();
              const us = await keystroke(session);
              if (key < 0) continue;
              cpu.set(peer, (cpu.get(peer) ?? 0) + peer.cpuMs() - before);
              report.add(`echo, ${transport}, ${tty ? "" : "no "}terminal`, "us", peer.name, us);
            }
          }
          for (const [peer, ms] of cpu)
            report.add(`CPU of an echo, ${transport}, ${tty ? "" : "no "}terminal`, "us", peer.name, (ms * 1000) / keys);
          for (const session of sessions.values()) session.close();
          await sleep(200);
        }
      }
    }
  });
}

const ports = { source: 18_801, sink: 18_802, spliceSource: 18_803, spliceSink: 18_804 };
const UP_CHUNK = Buffer.alloc(32 * 1024, "up");

/** Takes `bytes` from a connection that sends without end; answers MiB/s. */
async function takeFrom(open: (onData: (payload: Buffer) => void) => Promise<() => void>, bytes: number): Promise<number> {
  let left = bytes;
  const { promise, resolve } = Promise.withResolvers<void>();
  let started = 0;
  const close = await open((payload) => {
    if (started === 0) started = performance.now();
    left -= payload.length;
    if (left <= 0) resolve();
  });
  await promise;
  const seconds = (performance.now() - started) / 1000;
  close();
  return bytes / 2 ** 20 / seconds;
}

interface Uplink {
  /** Answers false when it is better to wait. */
  send(payload: Uint8Array): boolean;
  drained(): Promise<void>;
  close(): void;
}

/** Gives `mebibytes` to a connection whose end tells of each MiB; answers MiB/s. */
async function giveTo(open: (onData: (payload: Buffer) => void) => Promise<Uplink>, mebibytes: number): Promise<number> {
  let told = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const link = await open((payload) => {
    told += payload.length;
    if (told >= mebibytes) resolve();
  });
  const started = performance.now();
  for (let sent = 0; sent < mebibytes * 2 ** 20; sent += UP_CHUNK.length) {
    if (!link.send(UP_CHUNK)) await link.drained();
  }
  await promise;
  const seconds = (performance.now() - started) / 1000;
  link.close();
  return mebibytes / seconds;
}

async function forwarded(peer: Peer, podId: string, port: number, onData: (payload: Buffer) => void): Promise<Uplink> {
  const { url } = await peer.client.portForward({ podSandboxId: podId, port: [port] });
  const client = await LeanSpdyClient.dial(url, "portforward.k8s.io");
  const headers = { port: String(port), requestid: "0" };
  await client.open({ ...headers, streamtype: "error" });
  const data = await client.open({ ...headers, streamtype: "data" }, onData);
  return { send: (payload) => client.send(data, payload), drained: () => client.drained(), close: () => client.close() };
}

/** The same over a plain connection. */
async function direct(port: number, onData: (payload: Buffer) => void): Promise<Uplink> {
  const buffer = Buffer.allocUnsafeSlow(256 * 1024);
  const callback = (length: number): boolean => {
    onData(buffer.subarray(0, length));
    return true;
  };
  const socket = connect({ port, host: "127.0.0.1", noDelay: true, onread: { buffer, callback } });
  socket.on("error", () => {});
  await once(socket, "connect");
  return {
    send: (payload) => socket.write(payload),
    drained: async () => void (socket.writableNeedDrain && (await once(socket, "drain"))),
    close: () => void socket.destroy(),
  };
}

/**
 * Bytes through one forwarded connection, in each direction, and CPU time of the daemon for each GiB. Beside it what the same client gets from
 * the same server over loopback alone, and through a forwarder that is nothing but Node's pipe(); both are given as crid's, as
 * there is no other column.
 */
export async function portForward(context: Context, rounds: number, mebibytes: number): Promise<void> {
  const { report, peers } = context;
  const bytes = mebibytes * 2 ** 20;
  const helpers = [
    ["serve", ports.source, ports.sink],
    ["splice", ports.spliceSource, ports.source, ports.spliceSink, ports.sink],
  ].map(([role = "", ...args]) => fork(join(import.meta.dirname, "loopback.ts"), [String(role), ...args.map(String)]));
  await Promise.all(helpers.map((helper) => once(helper, "message")));
  const closing = (link: Promise<Uplink>): Promise<() => void> => link.then(({ close }) => close);
  try {
    await inPods(context, async (pods) => {
      for (let round = -1; round < rounds; round++) {
        for (const [figure, from, to] of [
          ["loopback alone", ports.source, ports.sink],
          ["Node's pipe()", ports.spliceSource, ports.spliceSink],
        ] as const) {
          const down = await takeFrom((onData) => closing(direct(from, onData)), bytes);
          const up = await giveTo((onData) => direct(to, onData), mebibytes);
          if (round < 0) continue;
          report.add(`${figure}, from the pod`, "MiB/s", "crid", down);
          report.add(`${figure}, to the pod`, "MiB/s", "crid", up);
        }
        for (const peer of round % 2 === 0 ? peers : peers.toReversed()) {
          const podId = pods.get(peer)?.podId ?? "";
          const began = peer.cpuMs();
          const down = await takeFrom((onData) => closing(forwarded(peer, podId, ports.source, onData)), bytes);
          const between = peer.cpuMs();
          const up = await giveTo((onData) => forwarded(peer, podId, ports.sink, onData), mebibytes);
          const ended = peer.cpuMs();
          if (round < 0) continue;
          report.add("port-forward, from the pod", "MiB/s", peer.name, down);
          report.add("port-forward, to the pod", "MiB/s", peer.name, up);
          report.add("CPU of a GiB from the pod", "ms", peer.name, ((between - began) * 1024) / mebibytes);
          report.add("CPU of a GiB to the pod", "ms", peer.name, ((ended - between) * 1024) / mebibytes);
        }
      }
    });
  } finally {
    for (const helper of helpers) helper.kill();
  }
}

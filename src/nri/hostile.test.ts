import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { bed, container, limit, pod, until } from "./test-bed.ts";
import { TestPlugin } from "./test-plugin.ts";

/** A ttrpc frame of type response. */
function response(streamId: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(10);
  header.writeUInt32BE(payload.length, 0);
  header.writeUInt32BE(streamId, 4);
  header[8] = 2;
  return Buffer.concat([header, payload]);
}

/** Frames of the plugin's own connection, each as long as one may be. */
function muxed(bytes: Buffer): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 4 << 20) {
    const part = bytes.subarray(at, at + (4 << 20));
    const header = Buffer.alloc(8);
    header.writeUInt32BE(1, 0);
    header.writeUInt32BE(part.length, 4);
    frames.push(header, part);
  }
  return Buffer.concat(frames);
}

test("a plugin that refuses makes the request fail and stays; one that hangs or dies is cut off, and the request goes on", async () => {
  await using own = await bed();
  let hang = false;
  const hanging = await own.plugin({
    index: "10",
    name: "hanging",
    on: {
      StartContainer: () => {
        throw new Error("not today");
      },
      RunPodSandbox: (_request, signal) =>
        hang ? new Promise((resolve) => signal.addEventListener("abort", () => setTimeout(() => resolve({}), 300))) : {},
    },
  });
  const dying = await own.plugin({
    index: "20",
    name: "dying",
    on: {
      CreateContainer: () => {
        dying.socket.destroy();
        return {};
      },
    },
  });
  await assert.rejects(
    own.nri.containerEvent("StartContainer", { pod, container }, limit()),
    /plugin 10-hanging, StartContainer: not today/,
  );
  assert.equal(own.nri.plugins.length, 2);
  hang = true;
  const started = performance.now();
  await own.nri.podEvent("RunPodSandbox", { pod }, limit());
  const ms = performance.now() - started;
  assert.ok(ms > 900 && ms < 8_000, `${ms} ms`);
  await hanging.closed;
  await own.nri.createContainer({ pod, container }, limit());
  await until(() => own.nri.plugins.length === 0);
  assert.deepEqual(own.cutOff.toSorted(), ["10-hanging deadline-exceeded", "20-dying unavailable"]);
  assert.match(own.log.join("\n"), /NRI plugin cut off .*10-hanging.*no answer after 1000 ms/);
  assert.equal(own.nri.active, false);
});

test("garbage, frames that are too long, a bad index or name, and a second registration are cut off with a reason", async () => {
  await using own = await bed();
  const raw = async (bytes: Buffer): Promise<void> => {
    const socket = connect(own.socket);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    socket.resume();
    socket.write(bytes);
    await closed;
  };
  await raw(Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  const long = Buffer.alloc(8);
  long.writeUInt32BE(2, 0);
  long.writeUInt32BE(0x7fffffff, 4);
  await raw(long);
  for (const identity of [{ index: "1" }, { index: "a0" }, { name: "" }, { name: "a b" }]) {
    using plugin = new TestPlugin(own.socket, identity);
    await assert.rejects(plugin.register(), /plugin (index|name) /);
    await plugin.closed;
  }
  const twice = await own.plugin();
  await assert.rejects(twice.register(), /registered a second time/);
  await twice.closed;
  // A stream of bytes after a sound registration.
  const noisy = await own.plugin({ name: "noisy" });
  noisy.socket.write(Buffer.alloc(64, 0xff));
  await noisy.closed;
  await until(() => own.nri.plugins.length === 0);
  const log = own.log.join("\n");
  for (const reason of [
    "what it sends is not NRI's protocol",
    "a frame of 2147483647 bytes",
    "is not two digits",
    "is empty, too long",
    "a second time",
  ])
    assert.ok(log.includes(reason), `${reason} in ${log}`);
});

test("an answer that is no message, one over 4 MiB, and one for the container that is being made are cut off; the container is made", async () => {
  await using own = await bed();
  const answers: [string, Buffer | object, RegExp][] = [
    ["garbage", Buffer.alloc(100, 0xff), /malformed ttrpc message/],
    ["big", Buffer.alloc(5 << 20), /the answer of 5242880 bytes exceeds the limit/],
    ["self", { update: [{ containerId: "c1", linux: { resources: {} } }] }, /asks to update the container that is being created/],
  ];
  for (const [name, answer, reason] of answers) {
    const plugin = await own.plugin({
      name,
      events: ["CreateContainer"],
      on: {
        CreateContainer: () => {
          if (!Buffer.isBuffer(answer)) return answer;
          // The third call of a plugin's life has the id 5; its answer is written past the library.
          plugin.socket.write(muxed(response(5, answer)));
          return new Promise(() => {});
        },
      },
    });
    const adjustment = await own.nri.createContainer({ pod, container }, limit());
    assert.deepEqual(own.nri.plugins, []);
    assert.deepEqual(adjustment.env, []);
    plugin[Symbol.dispose]();
    await until(() => own.nri.plugins.length === 0);
    assert.match(own.log.join("\n"), reason);
  }
});

test("one that connects and never registers, or never configures, is cut off in time", async () => {
  await using own = await bed({ registrationTimeoutMs: 300, requestTimeoutMs: 300 });
  using silent = new TestPlugin(own.socket);
  await silent.closed;
  using stuck = new TestPlugin(own.socket, { on: { Configure: () => new Promise(() => {}) } });
  await stuck.register();
  await stuck.closed;
  using wrong = new TestPlugin(own.socket, { on: { Configure: () => ({ events: 1 << 30 }) } });
  await wrong.register();
  await wrong.closed;
  assert.match(own.log.join("\n"), /wait for its registration: no answer after 300 ms/);
  assert.match(own.log.join("\n"), /subscribes to events that do not exist: 0x40000000/);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { checkOpenFiles, checkSysctls } from "./sysctls.ts";

const good: Record<string, string> = {
  "/proc/sys/net/ipv4/ip_forward": "1",
  "/proc/sys/fs/inotify/max_user_instances": "8192",
  "/proc/sys/fs/inotify/max_user_watches": "524288",
  "/proc/swaps": "Filename\tType\tSize\tUsed\tPriority",
  "/proc/42/limits": "Limit  Soft Limit  Hard Limit  Units\nMax open files            1048576              1048576              files",
  "/proc/self/limits": "Max open files            1024                 524288               files",
};

function read(files: Record<string, string> = {}): (path: string) => string | undefined {
  return (path) => ({ ...good, ...files })[path];
}

test("sysctls: fine, too low, and what to type", () => {
  assert.deepEqual(
    checkSysctls(read()).map(({ verdict }) => verdict),
    ["ok", "ok", "ok", "ok"],
  );
  const [forwarding, instances] = checkSysctls(
    read({ "/proc/sys/net/ipv4/ip_forward": "0", "/proc/sys/fs/inotify/max_user_instances": "128" }),
  );
  assert.equal(forwarding?.verdict, "failure");
  assert.match(forwarding?.fix ?? "", /^sysctl -w net\.ipv4\.ip_forward=1$/m);
  assert.equal(instances?.verdict, "warning");
  assert.match(instances?.message ?? "", /128/);
});

test("swap is told", () => {
  const swaps = `${good["/proc/swaps"]}\n/dev/sda2 partition 999 0 -2`;
  assert.equal(checkSysctls(read({ "/proc/swaps": swaps })).at(-1)?.verdict, "warning");
});

test("the limit of open files is the daemon's, if it runs", () => {
  assert.equal(checkOpenFiles(read(), 42).verdict, "ok");
  assert.equal(checkOpenFiles(read(), undefined).verdict, "warning");
  assert.match(checkOpenFiles(read(), undefined).message, /of this shell/);
});

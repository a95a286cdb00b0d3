import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isKind } from "../base/errors.ts";
import type { ContainerSecurity } from "../records/container-config.ts";
import { containerConfigFixture } from "./fixtures.ts";
import { parseGroup, parsePasswd, resolveUser } from "./user.ts";

const PASSWD = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:\ndefault-user:x:1000:1000::/:\n";
const GROUP = "root:x:0:\nwww-data:x:33:\nextra:x:50000:default-user,www-data\nadm:x:4:root\ndefault-user:x:1000:default-user\n";

function readIn(files: Record<string, string>): (path: string) => Buffer | undefined {
  return (path) => (files[path] === undefined ? undefined : Buffer.from(files[path]));
}

const image = readIn({ "/etc/passwd": PASSWD, "/etc/group": GROUP });

function security(change: Partial<ContainerSecurity>): ContainerSecurity {
  return { ...containerConfigFixture().security, ...change };
}

test("nobody named: root with the groups that list root", () => {
  assert.deepEqual(resolveUser(security({}), "", image), { uid: 0, gid: 0, additionalGids: [0, 4] });
});

test("a number takes its group from passwd, and 0 when it is not there", () => {
  assert.deepEqual(resolveUser(security({ runAsUser: 1000 }), "", image), { uid: 1000, gid: 1000, additionalGids: [1000, 50000] });
  assert.deepEqual(resolveUser(security({ runAsUser: 1234 }), "33", image), { uid: 1234, gid: 0, additionalGids: [0] });
});

test("the image's USER in all four forms", () => {
  assert.deepEqual(resolveUser(security({}), "33", image), { uid: 33, gid: 33, additionalGids: [33, 50000] });
  assert.deepEqual(resolveUser(security({}), "www-data", image), { uid: 33, gid: 33, additionalGids: [33, 50000] });
  assert.deepEqual(resolveUser(security({}), "1003:extra", image), { uid: 1003, gid: 50000, additionalGids: [50000] });
  assert.deepEqual(resolveUser(security({}), "www-data:7", image), { uid: 33, gid: 7, additionalGids: [7, 50000] });
});

test("a name wins over a number and must exist", () => {
  assert.equal(resolveUser(security({ runAsUsername: "www-data", runAsUser: 5 }), "", image).uid, 33);
  assert.throws(
    () => resolveUser(security({ runAsUsername: "ghost" }), "", image),
    (error) => isKind(error, "not-found") && /unable to find user ghost/.test(error.message),
  );
  assert.throws(() => resolveUser(security({ runAsUsername: "root" }), "", readIn({})), /unable to find user root/);
  assert.throws(() => resolveUser(security({}), "1:ghosts", image), /unable to find group ghosts/);
});

test("supplementalGroupsPolicy: strict takes only the request's, merge adds the image's", () => {
  const asked = { runAsUser: 1000, runAsGroup: 2000, supplementalGroups: [60000] };
  assert.deepEqual(resolveUser(security({ ...asked, supplementalGroupsPolicy: "strict" }), "", image).additionalGids, [2000, 60000]);
  assert.deepEqual(resolveUser(security({ ...asked, supplementalGroupsPolicy: "merge" }), "", image).additionalGids, [2000, 50000, 60000]);
});

test("a group without a user is refused", () => {
  assert.throws(
    () => resolveUser(security({ runAsGroup: 5 }), "", image),
    (error) => isKind(error, "invalid-argument") && /specified without user/.test(error.message),
  );
});

test("ids out of range are refused", () => {
  for (const user of ["-1", "2147483648", "99999999999999999999", "0:4294967296", "1:2:3"]) {
    assert.throws(
      () => resolveUser(security({}), user, image),
      (error) => isKind(error, "invalid-argument"),
      user,
    );
  }
});

test("a passwd line with an id that is no number makes nobody root", () => {
  assert.deepEqual(parsePasswd(Buffer.from("evil:x:zero:0::/:\n+nis::::::\n#c:x:0:0\nok:x:7:8::/:\nshort:x\n:x:0:0\n")), [
    { name: "ok", uid: 7, gid: 8 },
  ]);
});

const nameArbitrary = fc.stringMatching(/^[a-z_][a-z0-9_-]{0,15}$/);
const idArbitrary = fc.nat(2 ** 31 - 1);

test("property: whole passwd and group lines come back, whatever stands between them", () => {
  const noise = fc.string().filter((text) => !/[\n:]/.test(text));
  fc.assert(
    fc.property(fc.array(fc.tuple(nameArbitrary, idArbitrary, idArbitrary, noise)), (entries) => {
      const text = entries.map(([name, uid, gid, junk]) => `${junk}\n${name}:x:${uid}:${gid}:gecos:/home:/bin/sh`).join("\n");
      assert.deepEqual(
        parsePasswd(Buffer.from(text)),
        entries.map(([name, uid, gid]) => ({ name, uid, gid })),
      );
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(nameArbitrary, idArbitrary, fc.array(nameArbitrary))), (entries) => {
      const text = entries.map(([name, gid, members]) => `${name}:x:${gid}:${members.join(",")}\n`).join("");
      assert.deepEqual(
        parseGroup(Buffer.from(text)),
        entries.map(([name, gid, members]) => ({ name, gid, members })),
      );
    }),
  );
});

test("property: any bytes parse to entries with ids in range", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      for (const { uid, gid } of parsePasswd(Buffer.from(bytes))) assert.ok(uid >= 0 && uid < 2 ** 31 && gid >= 0 && gid < 2 ** 31);
      for (const { gid } of parseGroup(Buffer.from(bytes))) assert.ok(gid >= 0 && gid < 2 ** 31);
    }),
  );
});

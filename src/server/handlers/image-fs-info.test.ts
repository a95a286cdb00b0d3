import assert from "node:assert/strict";
import { test } from "node:test";
import { runtime } from "../../../api/cri/runtime/v1/api.js";
import { request, testCall, testNode } from "../fixtures.ts";
import { imageFsInfo } from "./image-fs-info.ts";

const { v1 } = runtime;

test("fills both lists", async () => {
  const answer = await imageFsInfo(testNode())(request(v1.ImageFsInfoRequest, {}), testCall());
  const { imageFilesystems, containerFilesystems } = v1.ImageFsInfoResponse.decode(
    v1.ImageFsInfoResponse.encode(answer as object).finish(),
  );
  assert.equal(imageFilesystems[0]?.fsId?.mountpoint, "/var/lib/crid/snapshots");
  assert.equal(imageFilesystems[0]?.usedBytes?.value, 100n);
  assert.equal(containerFilesystems[0]?.inodesUsed?.value, 7n);
  assert.ok((imageFilesystems[0]?.timestamp ?? 0n) > 10n ** 18n);
});

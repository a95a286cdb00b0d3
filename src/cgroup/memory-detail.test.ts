import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryDetail } from "./memory-detail.ts";

const reader = (files: Record<string, string>) => async (file: string) => files[file];

test("v1 and v2 say the same in their own files; what is not there is absent", async () => {
  const lists = { activeFile: 1n, inactiveFile: 9n };
  const v1 = reader({
    "memory.stat": "cache 1\ntotal_cache 10\ntotal_mapped_file 4\ntotal_active_file 1\ntotal_inactive_file 9\n",
    "memory.max_usage_in_bytes": "99\n",
    "memory.failcnt": "3\n",
  });
  assert.deepEqual(await memoryDetail[1](v1), { ...lists, cache: 10n, mappedFile: 4n, peak: 99n, limitHits: 3n });
  const v2 = reader({
    "memory.stat":
      "file 10\nfile_mapped 4\nactive_file 1\ninactive_file 9\nkernel 7\nfile_dirty 1\nfile_writeback 2\npgscan 3\npgsteal 4\nworkingset_refault_file 5\nworkingset_refault_anon 6\n",
    "memory.peak": "99\n",
    "memory.events": "high 8\nmax 3\noom_kill 1\n",
  });
  assert.deepEqual(await memoryDetail[2](v2), {
    ...lists,
    cache: 10n,
    mappedFile: 4n,
    kernel: 7n,
    peak: 99n,
    limitHits: 3n,
    highHits: 8n,
    dirty: 1n,
    writeback: 2n,
    scanned: 3n,
    stolen: 4n,
    refaultedFile: 5n,
    refaultedAnon: 6n,
  });
  assert.deepEqual(await memoryDetail[2](reader({})), {});
});

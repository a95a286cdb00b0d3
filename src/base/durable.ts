import { open } from "node:fs/promises";

const waiting = new Map<string, Promise<void>>();
const running = new Map<string, Promise<void>>();

/**
 * fsync of a directory: names made in it before this call survive a power cut after it. Calls that come while one runs share
 * the next: layers finish together, and each fsync waits for the same journal commit.
 */
export function syncDirectory(directory: string): Promise<void> {
  const next = waiting.get(directory);
  if (next !== undefined) return next;
  const before = running.get(directory) ?? Promise.resolve();
  const sync = before
    .catch(() => undefined)
    .then(() => {
      waiting.delete(directory);
      running.set(directory, sync);
      return syncNow(directory);
    })
    .finally(() => {
      if (running.get(directory) === sync) running.delete(directory);
    });
  waiting.set(directory, sync);
  return sync;
}

async function syncNow(directory: string): Promise<void> {
  await using handle = await open(directory, "r");
  await handle.sync();
}

/**
 * What a pull has cost: bytes from the registry, those that an earlier try had, and those of blobs that were here. Times of stages are summed over
 * blobs and layers that run side by side.
 */
export interface PullTotals {
  ms: number;
  downloadedBytes: number;
  resumedBytes: number;
  cachedBytes: number;
  cachedBlobs: number;
  /** Times that a connection was cut or an endpoint failed. */
  interruptions: number;
  resolveMs: number;
  downloadMs: number;
  inflateMs: number;
  writeMs: number;
  syncMs: number;
}

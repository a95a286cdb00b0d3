import { optional } from "./libc.ts";

const M_MMAP_THRESHOLD = -3;
const M_ARENA_MAX = -8;
const mallopt = optional<(parameter: number, value: number) => number>("int mallopt(int parameter, int value)");

/**
 * Limits how many heaps glibc's malloc spreads a process's threads over (mallopt(3), M_ARENA_MAX); other C libraries have one. Each heap keeps
 * for itself what its threads have freed, which with a dozen threads, most of them idle, is tens of megabytes. Takes effect for threads
 * that have not allocated yet.
 */
export function limitMallocArenas(count: number): void {
  mallopt?.(M_ARENA_MAX, count);
}

/**
 * Gives blocks of this size and more a mapping of their own, which goes back to the system when they are freed (mallopt(3), M_MMAP_THRESHOLD). By itself
 * malloc raises the limit to the largest block that it has seen freed, and keeps what the windows of decompressors have taken.
 */
export function mapLargeBlocks(bytes: number): void {
  mallopt?.(M_MMAP_THRESHOLD, bytes);
}

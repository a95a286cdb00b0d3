/** A streamed list comes in messages of about this size: far under what a caller takes, and few enough to cost little. */
export const maxPageBytes = 256 * 1024;

/** Items of a page where an item has no kept bytes. */
const maxPageItems = 100;

/** The items in pages. */
export function* pagesOf<Item>(items: readonly Item[]): Generator<Item[]> {
  for (let at = 0; at < items.length; at += maxPageItems) yield items.slice(at, at + maxPageItems);
}

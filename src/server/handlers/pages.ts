/**
 * A streamed list comes in messages of about this size: far under what a caller takes, whatever its entries hold, and few enough to cost little.
 * Only a single entry that is bigger makes a bigger message.
 */
export const maxPageBytes = 256 * 1024;

const bytes = 256 * 1024;
/** As many as the layers that a thread unpacks by turns use at a time, or nearly. */
const maxSpare = 12;
const spare: Buffer[] = [];

/** A buffer to read or write through: one that was given back, if there is any. Left to the garbage collector, which counts them little, tens of megabytes of them wait. */
export function takeBuffer(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(bytes);
}

/** Nobody uses the buffer any more: nor does a call that is still under way. */
export function giveBuffer(buffer: Buffer): void {
  if (spare.length < maxSpare) spare.push(buffer);
}

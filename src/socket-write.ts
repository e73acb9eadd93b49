// A body and what ends it, in one write: two writes are two segments, and a new buffer for each message costs as
// much as the write itself.

import type { Socket } from 'node:net'

/** Where they are put together: enough for a body that goes in one piece. */
const SHEET = 24 * 1024
let spare = Buffer.allocUnsafeSlow(SHEET)

/** For sockets of Node's own: what they have taken at once is with the system, and nobody reads it here any more. */
export function writeTogether(socket: Socket, body: Uint8Array, end: string): void {
  const { length } = body
  const size = length + Buffer.byteLength(end)
  const sheet = size > SHEET ? Buffer.allocUnsafe(size) : spare
  sheet.set(body)
  sheet.write(end, length)
  socket.write(sheet.subarray(0, size))
  // what is not with the system yet is still read from it
  if (sheet === spare && socket.writableLength > 0) spare = Buffer.allocUnsafeSlow(SHEET)
}

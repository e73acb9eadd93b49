// The message body as a stream that tells how far it was read, and asks a gate before its first byte and before
// every further piece: a process that was paused halfway must not go on behind its successor.
// In pieces, because a body given as one chunk counts as read to its end before a byte of it is sent.

import { Readable } from 'node:stream'

/** Octets per piece. Smaller ones tell more exactly where a connection broke, and cost more. */
const PIECE = 16_384

export class Body extends Readable {
  /** Whether the gate has been asked. */
  isOpened = false
  private readonly bytes: Uint8Array
  private readonly gate: () => void | Promise<void>
  private at = 0

  /** @param gate throws or rejects to forbid the body */
  constructor(bytes: Uint8Array, gate: () => void | Promise<void>) {
    super({ highWaterMark: PIECE })
    this.bytes = bytes
    this.gate = gate
  }

  override _read(): void {
    this.isOpened = true
    try {
      const passing = this.gate()
      if (!passing) this.give()
      else
        passing.then(
          () => this.give(),
          (error) => this.fail(error),
        )
    } catch (error) {
      this.fail(error)
    }
  }

  /** Whether its last byte has been given away, though perhaps not yet its end. */
  get isGiven(): boolean {
    return this.isOpened && this.at === this.bytes.byteLength
  }

  private give(): void {
    const { bytes, at } = this
    this.at = Math.min(at + PIECE, bytes.byteLength)
    if (this.at > at) this.push(Buffer.from(bytes.buffer, bytes.byteOffset + at, this.at - at))
    if (this.at === bytes.byteLength) this.push(null)
  }

  /** Ends it without its end; safe when nobody listens for errors. */
  fail(error: unknown): void {
    this.on('error', () => {})
    this.destroy(error instanceof Error ? error : new Error(String(error)))
  }
}

// nodemailer 10 silently sends a message again when a reused connection fails before this turns true. That
// would hide a 421 from the limiter, so it is told that the body was touched; our own retry costs as little.
Object.defineProperty(Body.prototype, 'readableDidRead', { get: () => true, configurable: true })

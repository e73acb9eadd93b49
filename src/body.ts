// The message body as a stream that tells how far it was read, and asks a gate before its first byte and before
// every further piece: a process that was paused halfway must not go on behind its successor.
// In pieces, because a body given as one chunk counts as read to its end before a byte of it is sent.
//
// A body of one piece that nodemailer's SMTPConnection asks for is given away as it goes on the wire, dots doubled and
// the final dot behind it: to the socket at once where a pool's connection has an outlet for it (quicken.ts), else to
// nodemailer's DataStream, in one write instead of two, and with neither a second stream nor nodemailer's byte by byte
// look at every body; that is a third of what a message costs it.

import { Readable, type Transform } from 'node:stream'
import { stuffer } from './mx/wire.ts'
import { Outlet } from './quicken.ts'

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

/** nodemailer's stream behind DATA, 7 to 10: doubles dots, and ends with the final one. */
interface DataStream extends Transform {
  inByteCount: number
  outByteCount: number
}

function isDataStream(stream: object): stream is DataStream {
  const { inByteCount, outByteCount, lastByte } = stream as unknown as Record<string, unknown>
  return (
    stream.constructor.name === 'DataStream' && inByteCount === 0 && outByteCount === 0 && lastByte === false
  )
}

/** What SMTPConnection uses of a stream, for a body of one piece; to anything but its DataStream or an outlet it is a `Body`. */
export class WholeBody {
  /** Whether the gate has been asked. */
  isOpened = false
  /** Whether it was given away, end included. */
  isGiven = false
  /** As for `Body`. */
  readonly readableDidRead = true
  private readonly bytes: Uint8Array
  private readonly gate: () => void | Promise<void>
  private onError: ((error: Error) => void) | undefined
  private stream: Body | undefined
  private isOver = false

  /** Whether a body is small enough. */
  static fits(bytes: Uint8Array): boolean {
    return bytes.byteLength <= PIECE && bytes.byteLength > 0
  }

  /** @param gate throws or rejects to forbid the body */
  constructor(bytes: Uint8Array, gate: () => void | Promise<void>) {
    this.bytes = bytes
    this.gate = gate
  }

  on(name: string, listener: (error: Error) => void): this {
    if (name === 'error') this.onError = listener
    return this
  }

  once(name: string, listener: (error: Error) => void): this {
    return this.on(name, listener)
  }

  removeListener(name: string, listener: (error: Error) => void): this {
    if (name === 'error' && this.onError === listener) this.onError = undefined
    return this
  }

  pipe<W extends NodeJS.WritableStream | Outlet>(to: W): W {
    if (this.isOver) return to
    if (!(to instanceof Outlet) && !isDataStream(to)) {
      this.asStream().pipe(to)
      return to
    }
    this.isOpened = true
    try {
      const passing = this.gate()
      if (!passing) this.give(to)
      else
        passing.then(
          () => this.give(to),
          (error) => this.fail(error),
        )
    } catch (error) {
      this.fail(error)
    }
    return to
  }

  private give(to: DataStream | Outlet): void {
    const isOpen = to instanceof Outlet ? to.isOpen : !to.destroyed
    if (this.isOver || !isOpen) return
    this.isOver = true
    this.isGiven = true
    const { bytes } = this
    const safe = stuffer()
    const stuffed = safe.push(bytes)
    const end = safe.end()
    to.inByteCount = bytes.length
    to.outByteCount = stuffed.length + end.length
    if (to instanceof Outlet) {
      to.give(stuffed, end)
      return
    }
    // past its transformation: the readable side is what goes to the socket
    to.push(Buffer.concat([stuffed, Buffer.from(end, 'latin1')]))
    to.push(null)
  }

  private asStream(): Body {
    this.stream ??= new Body(this.bytes, () => {
      this.isOpened = true
      return this.gate()
    })
      .on('error', (error) => this.onError?.(error))
      .on('end', () => {
        this.isGiven = true
      })
    return this.stream
  }

  destroy(): void {
    this.isOver = true
    this.stream?.destroy()
  }

  /** Ends it without its end. */
  fail(error: unknown): void {
    if (this.isOver) return
    this.isOver = true
    if (this.stream) this.stream.fail(error)
    else {
      const told = error instanceof Error ? error : new Error(String(error))
      queueMicrotask(() => this.onError?.(told))
    }
  }
}

// A connected socket as SMTP sees it: replies in, commands out, one deadline, and one last word.
// Not here: what is said (session.ts, exchange.ts) or how octets become replies (wire.ts).

import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Clock, Timer } from '../clock.ts'
import { writeTogether } from '../socket-write.ts'
import { type ReplyReader, replyReader, type WireReply } from './wire.ts'

/** Why a line is gone. */
export interface Lost {
  /** A Node error code, or `ETIMEDOUT`, `EPROTOCOL`, `EABORT`. */
  readonly errno: string
  readonly text: string
}

/** What the user of a line hears. */
export interface Listener {
  said(reply: WireReply): void
  /** At most once; nothing is heard after it. */
  lost(why: Lost): void
  /** The socket is gone for good: it no longer counts as open. */
  closed(): void
}

export class Line {
  #socket: Socket
  #reader: ReplyReader = replyReader()
  #deadline = Number.POSITIVE_INFINITY
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #lost: Lost | undefined
  #closed = false
  /** Replies that came together and have not been told yet. */
  #untold = 0
  readonly #clock: Clock
  readonly #listener: Listener

  constructor(socket: Socket, clock: Clock, listener: Listener) {
    this.#socket = socket
    this.#clock = clock
    this.#listener = listener
    socket.setNoDelay(true)
    this.#attach(socket)
  }

  /** Why it is gone, once it is. */
  get lost(): Lost | undefined {
    return this.#lost
  }

  /** Whether octets have arrived that were not told of yet. */
  get pending(): boolean {
    return this.#untold > 0 || this.#reader.pending
  }

  write(text: string): void {
    if (!this.#lost) this.#socket.write(text)
  }

  /** Body and end in one segment. */
  writeWhole(body: Uint8Array, end: string): void {
    if (!this.#lost) writeTogether(this.#socket, body, end)
  }

  /** Resolves when there is room for more, or nothing more can be written. */
  writePiece(piece: Uint8Array): Promise<void> | undefined {
    const socket = this.#socket
    if (this.#lost || socket.write(piece)) return undefined
    return new Promise((resolve) => {
      const done = () => {
        socket.off('drain', done)
        socket.off('close', done)
        resolve()
      }
      socket.on('drain', done)
      socket.on('close', done)
    })
  }

  /** From now on an answer is due within `ms`. */
  expect(ms: number): void {
    const now = this.#clock.monotonic()
    this.#deadline = now + ms
    // one timer, moved on when it fires: cheaper than one per command
    if (this.#timerAt <= this.#deadline) return
    this.#timer?.cancel()
    this.#start(ms, now)
  }

  /** No answer is due, and the process need not stay alive for this line. */
  rest(): void {
    this.#deadline = Number.POSITIVE_INFINITY
    this.#socket.unref()
  }

  wake(): void {
    this.#socket.ref()
  }

  /** Hands the plain socket over, to be wrapped in TLS; `resume` takes what came of it. */
  lend(): Socket {
    const socket = this.#socket
    socket.off('data', this.#onData)
    socket.off('end', this.#onEnd)
    return socket
  }

  resume(socket: TLSSocket): void {
    this.#socket.off('close', this.#onClose)
    this.#socket = socket
    this.#reader = replyReader()
    this.#untold = 0
    this.#attach(socket)
  }

  /** Ends our side; the server ends its own. */
  end(): void {
    this.#socket.end()
  }

  /** Ends it at once, for this reason. */
  cut(why: Lost): void {
    if (!this.#lost) {
      this.#lost = why
      this.#timer?.cancel()
      this.#socket.destroy()
      this.#listener.lost(why)
    } else this.#socket.destroy()
  }

  /** Ends it at once, when there is nobody to tell. */
  destroy(): void {
    this.#lost ??= { errno: 'ECONNRESET', text: 'the connection was closed' }
    this.#timer?.cancel()
    this.#socket.destroy()
  }

  #attach(socket: Socket): void {
    socket.on('data', this.#onData)
    socket.on('error', this.#onError)
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onClose)
  }

  readonly #onData = (chunk: Buffer) => {
    const replies = this.#reader.feed(chunk.toString('latin1'))
    if (!replies) {
      this.cut({ errno: 'EPROTOCOL', text: `not an SMTP reply: ${this.#reader.rest.slice(0, 200)}` })
      return
    }
    this.#untold = replies.length
    for (const reply of replies) {
      this.#untold--
      if (!this.#lost) this.#listener.said(reply)
    }
  }

  readonly #onError = (error: NodeJS.ErrnoException) => {
    this.cut({ errno: error.code ?? 'ESOCKET', text: error.message })
  }

  readonly #onEnd = () => {
    this.cut({ errno: 'ECONNRESET', text: 'the server closed the connection' })
  }

  readonly #onClose = () => {
    if (this.#closed) return
    this.#closed = true
    this.cut({ errno: 'ECONNRESET', text: 'the connection was closed' })
    this.#listener.closed()
  }

  #start(ms: number, now: number): void {
    this.#timerAt = now + ms
    this.#timer = this.#clock.after(ms, () => this.#tick())
    this.#timer.keep(false)
  }

  #tick(): void {
    this.#timerAt = Number.POSITIVE_INFINITY
    if (this.#lost || this.#deadline === Number.POSITIVE_INFINITY) return
    const now = this.#clock.monotonic()
    if (now < this.#deadline) this.#start(this.#deadline - now, now)
    else this.cut({ errno: 'ETIMEDOUT', text: 'no answer in time' })
  }
}

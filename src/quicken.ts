// What nodemailer's SMTPConnection spends on a message and a small body of ours has no need of: a stream piped to the
// socket, which takes seven listeners and as many to be taken away again, and a turn of the event loop between two
// replies that have come together. Both are a tenth of all that a message costs, store included.
//
// Only while a message of ours is under way on it, and only where the connection is as nodemailer 7 to 10 make it:
// everything else goes as it ever did. What a refusal or a lost connection comes to is nodemailer's to say, here too.

import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { writeTogether } from './socket-write.ts'

type Callback = (error: unknown, reply?: string) => void

/** nodemailer's, as far as we look at it. */
interface Connection {
  readonly options?: { readonly lmtp?: unknown; readonly debug?: unknown; readonly logger?: unknown }
  readonly _socket?: unknown
  readonly _destroyed?: unknown
  readonly _envelope?: unknown
  readonly _responseQueue: readonly unknown[]
  readonly _responseActions: ((reply: string) => void)[]
  _createSendStream(callback: Callback): unknown
  _processResponse(): unknown
  _actionSMTPStream(reply: string, callback: Callback): void
}

/** Where a body goes in one piece, in place of nodemailer's DataStream. */
export class Outlet {
  /** Octets of the body; nodemailer tells them as `messageSize`, with what was added. */
  inByteCount = 0
  outByteCount = 0
  readonly #socket: Socket

  constructor(socket: Socket) {
    this.#socket = socket
  }

  /** Whether anything given to it can still be sent. */
  get isOpen(): boolean {
    return this.#socket.writable
  }

  /** @param body with dots doubled */
  give(body: Uint8Array, end: string): void {
    writeTogether(this.#socket, body, end)
  }
}

/** What a connection does in its own way, while it sends that envelope. */
interface Shortcut {
  envelope: object
}

const shortcuts = new WeakMap<object, Shortcut>()

/** Has a connection send the message of this envelope, whose body goes to an `Outlet` as well as to a stream. */
export function quicken(connection: unknown, envelope: object): void {
  if (typeof connection !== 'object' || connection === null) return
  const known = shortcuts.get(connection)
  if (known) known.envelope = envelope
  else if (isFamiliar(connection)) shortcuts.set(connection, cut(connection, envelope))
}

function isFamiliar(connection: object): connection is Connection {
  const { options, _responseQueue: queue, _responseActions: actions } = connection as Partial<Connection>
  return (
    METHODS.every((name) => isInherited(connection, name)) &&
    Array.isArray(queue) &&
    Array.isArray(actions) &&
    !options?.lmtp &&
    !options?.debug &&
    !options?.logger
  )
}

const METHODS = ['_createSendStream', '_processResponse', '_actionSMTPStream'] as const

/** Not one that somebody else has put in its place. */
function isInherited(connection: object, name: string): boolean {
  return typeof Reflect.get(connection, name) === 'function' && !Object.hasOwn(connection, name)
}

function cut(connection: Connection, envelope: object): Shortcut {
  const shortcut: Shortcut = { envelope }
  const { _createSendStream: createSendStream, _processResponse: processResponse } = connection
  const isOurs = () => connection._envelope === shortcut.envelope

  connection._createSendStream = (callback) => {
    const socket = isOurs() ? ownSocket(connection._socket) : undefined
    if (!socket) return createSendStream.call(connection, callback)
    connection._responseActions.push((reply) => connection._actionSMTPStream(reply, callback))
    return new Outlet(socket)
  }

  // each call takes one reply, and leaves the next to a turn that then finds none
  connection._processResponse = () => {
    let left = connection._responseQueue.length
    const result = processResponse.call(connection)
    while (isOurs() && !connection._destroyed) {
      const { length } = connection._responseQueue
      if (length === 0 || length >= left) break
      left = length
      processResponse.call(connection)
    }
    return result
  }
  return shortcut
}

/** One of Node's own: others might read a chunk after they have said that they are done with it. */
function ownSocket(socket: unknown): Socket | undefined {
  const prototype = typeof socket === 'object' && socket !== null ? Object.getPrototypeOf(socket) : undefined
  return prototype === Socket.prototype || prototype === TLSSocket.prototype ? (socket as Socket) : undefined
}

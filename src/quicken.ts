// What nodemailer's SMTPConnection spends on a small message of ours and has no need of: a stream piped to the socket,
// which takes seven listeners and as many to be taken away again; a buffer, a closure and a turn of the event loop for
// each command and its reply. Together they are an eighth of all that a message costs on SQLite, and a fifth in memory.
//
//   nodemailer 10   the envelope in one string, as the same octets; replies that say yes are counted, nothing more
//   7 to 9          their own dialogue; only stream and turns are left out
//   a reply says no, in whatever phase: nodemailer hears it, as if it had asked, and says what it comes to
//
// Only while a message of ours is under way on it, and only where the connection is as nodemailer 7 to 10 make it.

import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Clock } from './clock.ts'
import { Place, type Resource } from './follow.ts'
import { writeTogether } from './socket-write.ts'

type Callback = (error: unknown, info?: unknown) => void

/** nodemailer's, as far as we look at it. */
interface Connection {
  readonly options?: { readonly lmtp?: unknown; readonly debug?: unknown; readonly logger?: unknown }
  readonly _socket?: unknown
  readonly _destroyed?: unknown
  readonly _responseQueue: string[]
  readonly _responseActions: ((reply: string) => void)[]
  readonly _supportedExtensions?: readonly string[]
  _envelope?: unknown
  _pendingSend?: unknown
  send(envelope: object, message: unknown, done: Callback): void
  close(): void
  reset(callback: Callback): void
  _sendCommand(command: string, shown?: string): void
  _createSendStream(callback: Callback): unknown
  _processResponse(): unknown
  _actionSMTPStream(reply: string, callback: Callback): void
  _formatError(message: unknown, type: string, response: unknown, command: string): Error
  _isDestroyedMessage(command: string): string | undefined
}

/** In which nodemailer notes its progress; read by answer.ts. */
interface Envelope {
  readonly from: string
  readonly to: readonly string[]
  accepted?: string[]
  rejected?: string[]
  rejectedErrors?: unknown[]
}

/** What a message is to a connection. */
interface Message {
  on(name: 'error', listener: (error: unknown) => void): unknown
  removeListener(name: 'error', listener: (error: unknown) => void): unknown
  pipe(to: Outlet): unknown
}

/** Where a body goes in one piece, in place of nodemailer's DataStream. */
export class Outlet {
  /** Octets of the body; nodemailer tells them as `messageSize`, with what was added. */
  inByteCount = 0
  outByteCount = 0
  readonly #socket: Socket
  readonly #place: Place | undefined

  constructor(socket: Socket, place: Place | undefined) {
    this.#socket = socket
    this.#place = place
  }

  /** Whether anything given to it can still be sent. */
  get isOpen(): boolean {
    return this.#socket.writable
  }

  /** @param body with dots doubled */
  give(body: Uint8Array, end: string): void {
    const next = this.#place?.take(dialogueOf) ?? ''
    writeTogether(this.#socket, body, next === '' ? end : end + next)
  }
}

/** Whose message it is. */
interface Sender {
  mayBegin(): boolean
}

const shortcuts = new WeakMap<object, Shortcut>()

/**
 * Has a pool's connection send the message of this envelope, whose body goes to an `Outlet` as well as to a stream.
 * @param resource the pool's, with that connection
 * @param sender asked before anything is said of it; after a `false` nothing is
 */
export function quicken(
  resource: { readonly connection?: unknown },
  envelope: object,
  sender: Sender,
  clock: Clock,
): void {
  const { connection } = resource
  if (typeof connection !== 'object' || connection === null) return
  let shortcut = shortcuts.get(connection)
  if (!shortcut) {
    if (!isFamiliar(connection)) return
    shortcut = new Shortcut(connection, resource, clock)
    shortcuts.set(connection, shortcut)
  }
  shortcut.envelope = envelope
  shortcut.sender = sender
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

const METHODS = [
  ...['send', 'close', '_sendCommand', '_setEnvelope', '_createSendStream', '_processResponse'],
  ...[
    '_actionMAIL',
    '_actionRCPT',
    '_actionDATA',
    '_actionSMTPStream',
    '_formatError',
    '_isDestroyedMessage',
  ],
]

/** Whether it is as nodemailer's pools make it. */
function isResource(resource: object): resource is Resource {
  const { pool, prependListener, messages, available } = resource as Partial<Resource>
  return (
    Array.isArray(pool?._queue) &&
    Array.isArray(pool._connections) &&
    typeof pool._processMessages === 'function' &&
    typeof prependListener === 'function' &&
    typeof messages === 'number' &&
    typeof available === 'boolean'
  )
}

/** Not one that somebody else has put in its place. */
function isInherited(connection: object, name: string): boolean {
  return typeof Reflect.get(connection, name) === 'function' && !Object.hasOwn(connection, name)
}

/** What a connection does in its own way, while it sends a message of ours. */
class Shortcut {
  /** Of the last that was ours. */
  envelope: object | undefined
  sender: Sender | undefined
  readonly #connection: Connection
  readonly #send: Connection['send']
  readonly #createSendStream: Connection['_createSendStream']
  readonly #processResponse: Connection['_processResponse']
  /** What it would have written. */
  #unwritten: string | undefined
  /** Nothing was said that a reset could take back. */
  #saidNothing = false
  #place: Place | undefined

  constructor(connection: Connection, resource: object, clock: Clock) {
    this.#connection = connection
    this.#send = connection.send
    this.#createSendStream = connection._createSendStream
    this.#processResponse = connection._processResponse
    connection._createSendStream = (callback) => this.#outlet(callback)
    connection._processResponse = () => this.#hear()
    // 10.1 sends the whole envelope before it hears a reply
    if (!isInherited(connection, '_advanceEnvelope') || !('_pendingSend' in connection)) return
    connection.send = (envelope, message, done) => this.#start(envelope, message, done)
    const sendCommand = connection._sendCommand
    connection._sendCommand = (command, shown) => {
      if (this.#unwritten === undefined) sendCommand.call(connection, command, shown)
      else this.#unwritten += `${command}\r\n`
    }
    if (!isInherited(connection, 'reset') || !isResource(resource)) return
    this.#place = new Place(resource, this, clock)
    const reset = connection.reset
    connection.reset = (callback) => {
      // or what was refused has ended, and behind it the next has begun
      if (this.#saidNothing || this.#place?.isTaken) clock.turn(() => callback(null, true))
      else reset.call(connection, callback)
    }
  }

  replies(): readonly string[] {
    return this.#connection._responseQueue.filter(isSaid)
  }

  isCut(): boolean {
    return (this.#connection._socket as Socket | undefined)?.destroyed === true
  }

  get #isOurs(): boolean {
    return this.#connection._envelope === this.envelope
  }

  #outlet(callback: Callback): unknown {
    const connection = this.#connection
    const socket = this.#isOurs ? ownSocket(connection._socket) : undefined
    if (!socket) return this.#createSendStream.call(connection, callback)
    connection._responseActions.push((reply) => {
      this.#place?.dotAnswered()
      connection._actionSMTPStream(reply, callback)
    })
    return new Outlet(
      socket,
      connection._supportedExtensions?.includes('PIPELINING') ? this.#place : undefined,
    )
  }

  /** nodemailer takes one reply a call, and leaves the next to a turn that then finds none. */
  #hear(): unknown {
    const connection = this.#connection
    if (this.#mustWait()) return false
    let left = connection._responseQueue.length
    const result = this.#processResponse.call(connection)
    while (this.#isOurs && !connection._destroyed) {
      const { length } = connection._responseQueue
      if (length === 0 || length >= left || this.#mustWait()) break
      left = length
      this.#processResponse.call(connection)
    }
    return result
  }

  /** What has come is for the next, which nodemailer has not begun. */
  #mustWait(): boolean {
    const { _responseActions: asked, _responseQueue: replies } = this.#connection
    if (!this.#place?.isTaken || asked.length > 0) return false
    if (replies.length > 0) this.#place.heard()
    return true
  }

  #start(envelope: object, message: unknown, done: Callback): void {
    const connection = this.#connection
    const written = this.#place?.begin()
    if (written !== undefined) {
      if (envelope === this.envelope && dialogueOf(envelope) === written)
        this.#sending(envelope, message, done).start(written, true)
      else {
        // another's is on its way already
        connection.close()
        done(connection._formatError('The connection was begun for another', 'ECONNECTION', false, 'CONN'))
      }
      return
    }
    this.#saidNothing =
      this.#place !== undefined && envelope === this.envelope && this.sender?.mayBegin() === false
    if (this.#saidNothing) {
      done(connection._formatError('It may not begin any more', 'EENVELOPE', false, 'API'))
      return
    }
    const socket = ownSocket(connection._socket)
    const text = envelope === this.envelope && socket && this.#isReady() ? dialogueOf(envelope) : undefined
    if (text === undefined) {
      this.#send.call(connection, envelope, message, done)
      return
    }
    this.#sending(envelope, message, done).start(text, false)
  }

  #sending(envelope: object, message: unknown, done: Callback): Sending {
    const goOnAsEver = () => this.#unheard(envelope, message, done)
    return new Sending(this.#connection, envelope as Envelope, message as Message, done, goOnAsEver)
  }

  /** Has nodemailer send it as far as it does without a reply; gives what was to be written, and is not. */
  #unheard(envelope: object, message: unknown, done: Callback): string {
    this.#unwritten = ''
    try {
      this.#send.call(this.#connection, envelope, message, done)
      return this.#unwritten
    } finally {
      this.#unwritten = undefined
    }
  }

  #isReady(): boolean {
    const { _supportedExtensions, _responseActions, _responseQueue, _pendingSend } = this.#connection
    return (
      _supportedExtensions?.includes('PIPELINING') === true &&
      _responseActions.length === 0 &&
      _responseQueue.length === 0 &&
      !_pendingSend &&
      this.#connection._isDestroyedMessage('send message') === undefined
    )
  }
}

/** One message, as long as all goes well. */
class Sending {
  readonly #connection: Connection
  readonly #envelope: Envelope
  readonly #message: Message
  readonly #done: Callback
  readonly #goOnAsEver: () => string
  #text = ''
  /** What was said to the envelope. */
  #said: string[] = []
  #isOver = false
  readonly #hear = (reply: string) => this.#answered(reply)
  readonly #onStreamError = (error: unknown) =>
    this.#end(this.#connection._formatError(error, 'ESTREAM', false, 'API'))
  /** nodemailer ends what is under way by it, when the connection ends. */
  readonly #pending: object

  constructor(
    connection: Connection,
    envelope: Envelope,
    message: Message,
    done: Callback,
    goOnAsEver: () => string,
  ) {
    this.#connection = connection
    this.#goOnAsEver = goOnAsEver
    this.#envelope = envelope
    this.#message = message
    this.#done = done
    this.#pending = {
      callback: (error: unknown) => this.#end(error),
      stream: message,
      onStreamError: this.#onStreamError,
    }
  }

  /** @param isWritten behind the message before it */
  start(text: string, isWritten: boolean): void {
    const connection = this.#connection
    const envelope = this.#envelope
    envelope.accepted = []
    envelope.rejected = []
    envelope.rejectedErrors = []
    connection._envelope = envelope
    connection._pendingSend = this.#pending
    this.#message.on('error', this.#onStreamError)
    // MAIL, RCPT and DATA
    for (let left = envelope.to.length + 2; left > 0; left--) connection._responseActions.push(this.#hear)
    this.#text = text
    if (isWritten) {
      connection._processResponse()
      return
    }
    const socket = connection._socket as Socket
    socket.write(text, 'latin1')
  }

  #answered(reply: string): void {
    const said = this.#said
    const { to, accepted } = this.#envelope
    const isLast = said.push(reply) === to.length + 2
    const digit = reply.charCodeAt(0)
    if (isLast && this.#connection._responseQueue.some(isSaid)) this.#confused(reply)
    else if (digit !== (isLast ? THREE : TWO)) this.#leave()
    else if (isLast) this.#message.pipe(this.#connection._createSendStream(this.#answeredDot) as Outlet)
    else if (said.length > 1) accepted?.push(to[said.length - 2] as string)
  }

  /** It says more than it was asked: what it says to the body could not be told from that. */
  #confused(reply: string): void {
    this.#end(this.#connection._formatError('Unexpected Response', 'EPROTOCOL', reply, 'CONN'))
  }

  readonly #answeredDot = (error: unknown, reply?: unknown) => {
    const { accepted, rejected } = this.#envelope
    this.#end(error, error ? undefined : { accepted, rejected, response: reply })
  }

  #end(error: unknown, info?: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#connection._pendingSend === this.#pending) this.#connection._pendingSend = false
    this.#done(error, info)
  }

  /** To nodemailer: it says what we have said, which stays unwritten, and hears what we have heard. */
  #leave(): void {
    const connection = this.#connection
    const said = this.#said
    this.#isOver = true
    this.#message.removeListener('error', this.#onStreamError)
    connection._pendingSend = false
    connection._responseActions.splice(0, this.#envelope.to.length + 2 - said.length)
    const text = this.#goOnAsEver()
    if (text !== this.#text) {
      // not as we know it: nobody can tell which replies belong to what
      connection.close()
      // and so it is nobody's refusal
      this.#done(connection._formatError('The connection speaks its own way', 'ECONNECTION', false, 'CONN'))
      return
    }
    // as octets: it reads them again
    connection._responseQueue.unshift(...said.map((reply) => Buffer.from(reply).toString('latin1')))
    connection._processResponse()
  }
}

/** nodemailer passes over empty lines. */
function isSaid(reply: string): boolean {
  return reply.trim() !== ''
}

const TWO = 50
const THREE = 51

/** All up to DATA, if nodemailer says it in these octets; `undefined` for what needs more thought. */
function dialogueOf(envelope: object): string | undefined {
  for (const field in envelope) if (field !== 'from' && field !== 'to') return undefined
  const { from, to } = envelope as Envelope
  if (!PLAIN.test(from)) return undefined
  let text = `MAIL FROM:<${from}>\r\n`
  for (const address of to) {
    if (address === '' || !PLAIN.test(address)) return undefined
    text += `RCPT TO:<${address}>\r\n`
  }
  return to.length === 0 ? undefined : `${text}DATA\r\n`
}

/** Printable ASCII, without what ends an address. */
const PLAIN = /^[!-;=?-~]*$/

/** One of Node's own: others might read a chunk after they have said that they are done with it. */
function ownSocket(socket: unknown): Socket | undefined {
  if (typeof socket !== 'object' || socket === null || Object.hasOwn(socket, 'write')) return undefined
  const prototype = Object.getPrototypeOf(socket)
  return prototype === Socket.prototype || prototype === TLSSocket.prototype ? (socket as Socket) : undefined
}

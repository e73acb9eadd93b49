// One try: frozen bytes handed to the transport, and one Reply per recipient back, whatever shape
// nodemailer gives its results in. The body is a stream of ours, which is how a try that may have delivered
// is told from one that cannot have: without its end nodemailer never writes the final dot. The stream is
// also the gate, and the handle by which a try is given up.
// Not here: what a reply means (core/classify), or when to try again.

import { isAscii } from 'node:buffer'
import { types } from 'node:util'
import {
  type EnvelopeInUse,
  type Failure,
  failureOf,
  isRecord,
  type RecipientOutcome,
  readAnswer,
} from './answer.ts'
import { Body, WholeBody } from './body.ts'
import type { Clock } from './clock.ts'
import { wordsOf } from './core/error.ts'
import type { Message } from './core/message.ts'
import type { Reply } from './core/reply.ts'
import { Follower } from './follow.ts'
import { thaw } from './freeze.ts'
import { quicken } from './quicken.ts'
import type { InnerTransport, Target } from './transporter.ts'

export type { OwnAnswer, RecipientOutcome } from './answer.ts'

export interface AttemptRequest {
  readonly message: Message
  readonly bytes: Uint8Array
  /** In the envelope of this try; the message may have others. */
  readonly recipients: readonly string[]
  readonly timeoutMs: number
  /** Aborting it ends the try as soon as nothing can be delivered any more. */
  readonly signal?: AbortSignal
  /** Called at the body's first read, every time it is opened; throws or rejects to forbid the body. */
  readonly gate: () => void | Promise<void>
  /** Whether it may still begin; asked by transports that let messages wait, and for small mail over pools. */
  readonly mayBegin?: () => boolean
  /**
   * Called once when the time is over and the body had been handed over to a transport that cannot abort:
   * the promise still resolves, with the late answer.
   */
  readonly onOverdue?: () => void
  /** For transports that understand them, as `mail.data.steadymail`. */
  readonly hints?: Readonly<Record<string, unknown>>
}

export interface AttemptResult {
  /** In the order of the request's recipients. */
  readonly outcomes: readonly RecipientOutcome[]
  /** How often the pool began again by itself. */
  readonly resends: number
  /** The gate refused: nothing was sent. */
  readonly gated: boolean
  /** Ended by the signal or the timeout. */
  readonly aborted: boolean
  readonly durationMs: number
  /** The SMTP dialogue, from transports that keep one. */
  readonly transcript?: readonly string[]
}

/**
 * What transports written for steadymail find on `mail.message` beside nodemailer's own methods.
 * They answer with `info.steadymail` or `error.steadymail`, an `OwnAnswer`, which is used as it is.
 */
export interface FrozenMail {
  readonly data: {
    readonly steadymail?: Readonly<Record<string, unknown>>
    readonly signal?: AbortSignal
    readonly [field: string]: unknown
  }
  readonly message: FrozenMessage
}

/** The message in such a mail. */
export interface FrozenMessage {
  /** A fresh object per call: nodemailer writes its progress into it. */
  getEnvelope(): { from: string; to: string[]; [extra: string]: unknown }
  messageId(): string
  getHeader(name: string): string
  createReadStream(): Body
  /** What SIZE and BODY say of the body, known before the gate is asked. */
  bodyFacts(): { readonly size: number; readonly eightBit: boolean }
  /** Asked before anything is said of a message that waited; after a `false` it is given back, and counts as not tried. */
  mayBegin(): boolean
  /** Passes the gate and gives the whole body at once; throws or rejects when the gate forbids it. */
  takeBody(): Uint8Array | Promise<Uint8Array>
}

/** As many as nodemailer 10 allows by default; 7 to 9 would begin again without end. */
const MAX_RESENDS = 5

const HELD_BACK = { error: new Error('it may not begin any more') }

/** In place of an error, when the try ended from our side. */
const OURS = Symbol('given up')

/** A try under way. */
export interface Attempting {
  /** Ends it as soon as nothing can be delivered any more. */
  abort(): void
}

/** Makes one try. Never rejects: whatever happens is a reply, or the lack of one. */
export function attempt(target: Target, request: AttemptRequest, clock: Clock): Promise<AttemptResult> {
  return new Promise((resolve) => {
    begin(target, request, clock, resolve)
  })
}

/** Begins one try and calls back once, perhaps before it returns. Never throws, as `attempt`. */
export function begin(
  target: Target,
  request: AttemptRequest,
  clock: Clock,
  done: (result: AttemptResult) => void,
): Attempting {
  const one = new Try(target, request, clock, done)
  one.start()
  return one
}

class Try implements Attempting {
  private readonly target: Target
  readonly request: AttemptRequest
  private readonly clock: Clock
  private readonly resolve: (result: AttemptResult) => void
  private readonly startedAt: number
  private timer: { cancel(): void }
  /** Behind others at the transport. */
  private isInLine: boolean
  private readonly controller: AbortController | QuickSignal | undefined
  private readonly onAbort = () => this.giveUp('aborted')
  private settled = false
  private givenUp: 'aborted' | 'timeout' | undefined
  private refusal: { readonly error: unknown } | undefined
  private body: Body | WholeBody | undefined
  private opened = 0
  private assigned = 0
  private handedOver = false
  private resource: PoolResource | undefined
  private reused = false
  private envelope: EnvelopeInUse | undefined
  private mail: FrozenMail | undefined
  /** Its envelope is on its way behind another message. */
  private giveUpPlace: (() => void) | undefined
  private isWithServer = false

  constructor(
    target: Target,
    request: AttemptRequest,
    clock: Clock,
    resolve: (result: AttemptResult) => void,
  ) {
    this.target = target
    this.request = request
    this.clock = clock
    this.resolve = resolve
    this.startedAt = clock.monotonic()
    this.controller = target.abortable
      ? target.quickSignal
        ? new QuickSignal()
        : new AbortController()
      : undefined
    this.isInLine = target.ahead > 0
    // those before it in line have their time each
    this.timer = this.until((1 + target.ahead) * request.timeoutMs)
    request.signal?.addEventListener('abort', this.onAbort, { once: true })
  }

  private until(ms: number): { cancel(): void } {
    return this.clock.after(ms, () => this.giveUp('timeout'))
  }

  abort(): void {
    this.giveUp('aborted')
  }

  start(): void {
    if (this.request.signal?.aborted) {
      this.givenUp = 'aborted'
      this.settle(OURS, undefined)
      return
    }
    const { transport, kind } = this.target
    if (kind === 'sendmail-only') {
      this.sendWhole().then(
        (info) => this.settle(undefined, info),
        (error) => this.settle(error, undefined),
      )
      return
    }
    if (!transport) throw new Error(`a ${kind} target without a transport`)
    this.send(transport, this.makeMail())
  }

  private send(transport: InnerTransport, mail: unknown): void {
    const done = (error: unknown, info?: unknown) => this.settle(error ?? undefined, info)
    try {
      const answer = transport.send(mail, done)
      // a plugin may be an async function, whose rejection nobody else would see
      if (types.isPromise(answer)) answer.catch(done)
    } catch (error) {
      done(error)
    }
  }

  /** SES, sendmail, mocks: they get the whole message at once, so the gate comes before it. */
  private async sendWhole(): Promise<unknown> {
    const { message, bytes, recipients } = this.request
    const { transport, transporter } = this.target
    await this.pass()
    const frozen = { bytes, from: message.from, to: recipients, wire: message.wire }
    if (transport) {
      const mail = await thaw(this.target, frozen)
      this.mustGoOn()
      this.handedOver = true
      return new Promise((resolve, reject) => {
        const done = (error: unknown, info?: unknown) => (error ? reject(error) : resolve(info))
        const answer = transport.send(mail, done)
        if (types.isPromise(answer)) answer.catch(reject)
      })
    }
    const { envelope, ...fields } = message.wire
    this.handedOver = true
    return transporter?.sendMail({
      ...fields,
      raw: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      envelope: { ...envelope, from: message.from, to: [...recipients] },
      messageId: message.messageId,
    })
  }

  private makeMail(): FrozenMail {
    const { hints, message } = this.request
    const { dsn, requireTLSExtensionEnabled } = message.wire
    const data: Record<string, unknown> = {}
    if (dsn) data.dsn = dsn
    if (requireTLSExtensionEnabled) data.requireTLSExtensionEnabled = true
    if (hints) data.steadymail = hints
    if (this.controller) data.signal = this.controller.signal
    const mail: FrozenMail = { data, message: new TryMessage(this) }
    this.mail = mail
    return mail
  }

  /** For TryMessage: a fresh envelope, in which nodemailer notes its progress. */
  lend(): EnvelopeInUse & { from: string; to: string[] } {
    const { message, recipients } = this.request
    // whoever still has this mail after its try is over finds nobody to send it to
    const to = this.isOver() ? [] : [...recipients]
    const extras = message.wire.envelope
    const fresh = extras ? { ...extras, from: message.from, to } : { from: message.from, to }
    this.envelope = fresh
    this.resource = this.findResource()
    this.reused = (this.resource?.messages ?? 0) > 0
    return fresh
  }

  /** For TryMessage: the body as a stream. */
  open(): Body {
    this.opened++
    const { bytes } = this.request
    const pass = () => this.pass()
    const whole = this.target.kind !== 'plugin' && WholeBody.fits(bytes)
    this.body = whole ? new WholeBody(bytes, pass) : new Body(bytes, pass)
    if (whole && this.envelope && this.resource) quicken(this.resource, this.envelope, this, this.clock)
    this.giveUpPlace = undefined
    return this.body as Body // a WholeBody goes to nothing but nodemailer's SMTPConnection
  }

  /** For TryMessage: its envelope, as `lend` will give it, if that may go behind another message. */
  toFollow(): { readonly from: string; readonly to: readonly string[] } | undefined {
    const { message, recipients, bytes, mayBegin } = this.request
    const { dsn, requireTLSExtensionEnabled, envelope } = message.wire
    if (dsn || requireTLSExtensionEnabled || envelope || this.opened > 0 || this.isOver()) return undefined
    return WholeBody.fits(bytes) && mayBegin?.() !== false
      ? { from: message.from, to: recipients }
      : undefined
  }

  /** For TryMessage. */
  follows(giveUp: () => void): void {
    this.giveUpPlace = giveUp
  }

  /** For TryMessage: its envelope is with the server, which has nobody else's to answer. */
  comesNext(): void {
    this.isWithServer = true
    this.goes()
  }

  /** For TryMessage: it waits no longer behind others at the transport, and what they took is not its own time. */
  goes(): void {
    if (!this.isInLine || this.isOver()) return
    this.isInLine = false
    this.timer.cancel()
    this.timer = this.until(this.request.timeoutMs)
  }

  /** For TryMessage: the body at once. */
  take(): Uint8Array | Promise<Uint8Array> {
    this.opened++
    const { bytes } = this.request
    const passed = this.pass()
    if (!passed) {
      this.handedOver = true
      return bytes
    }
    return passed.then(() => {
      this.handedOver = true
      return bytes
    })
  }

  /** For TryMessage. */
  mayBegin(): boolean {
    const mayBegin = this.request.mayBegin?.() !== false
    if (!mayBegin) this.refusal ??= HELD_BACK
    else if (this.refusal === HELD_BACK) this.refusal = undefined
    if (mayBegin) this.goes()
    return mayBegin
  }

  /** The gate, every time a body is opened. */
  private pass(): void | Promise<void> {
    this.mustGoOn()
    const refuse = (error: unknown): never => {
      this.refusal ??= { error }
      throw error
    }
    try {
      // the try may have been given up while the gate was asked
      return this.request.gate()?.then(() => this.mustGoOn(), refuse)
    } catch (error) {
      return refuse(error)
    }
  }

  private mustGoOn(): void {
    if (this.isOver()) throw new Error('this try is over')
  }

  private isOver(): boolean {
    return this.settled || this.givenUp !== undefined
  }

  // ---- the pool's own bookkeeping, where it shows ---------------------------------------------------------

  /** A pool asks for the Message-ID each time it assigns the message to a connection. */
  noteAssignment(): void {
    if (this.target.kind !== 'smtp-pool') return
    this.assigned++
    this.goes()
    if (this.assigned <= MAX_RESENDS + 1 && !this.isOver()) return
    this.assigned--
    // nodemailer 7 to 9 begin again for ever when every connection closes before its greeting
    const error = { code: 'ECONNECTION', command: 'CONN', message: 'Connections close before the greeting' }
    this.settle(error, undefined)
    this.clock.turn(() => {
      const resource = this.findResource()
      if (!resource) return
      const entry = resource.queueEntry
      resource.queueEntry = false
      resource.close?.()
      // the pool counts those that it was given
      if (entry) entry.callback?.(error)
    })
  }

  private findResource(): PoolResource | undefined {
    const connections = this.target.kind === 'smtp-pool' ? this.target.transport?._connections : undefined
    if (!Array.isArray(connections)) return undefined
    return connections.find((one: PoolResource) => one.queueEntry && one.queueEntry.mail === this.mail)
  }

  private resends(): number {
    return Math.max(0, Math.max(this.opened, this.assigned) - 1)
  }

  // ---- the end --------------------------------------------------------------------------------------------

  private isHandedOver(): boolean {
    if (this.handedOver || !this.body) return this.handedOver
    // SMTP ends a message only after the body's end; what others do with its bytes is unknown
    return this.target.kind === 'plugin' || this.body instanceof WholeBody
      ? this.body.isGiven
      : this.body.readableEnded
  }

  private giveUp(why: 'aborted' | 'timeout'): void {
    if (this.settled || this.givenUp) return
    this.givenUp = why
    if (this.controller) {
      this.controller.abort()
      return
    }
    if (this.isHandedOver()) {
      if (why === 'timeout') this.request.onOverdue?.()
      return
    }
    // without its body's end nothing can be delivered: no need to wait for anybody
    this.body?.fail(new Error('this try was given up'))
    this.settle(OURS, undefined)
  }

  private settle(error: unknown, info: unknown): void {
    if (this.settled) return
    this.settled = true
    this.timer.cancel()
    this.request.signal?.removeEventListener('abort', this.onAbort)
    this.giveUpPlace?.()
    const { request, target } = this
    const failed = error === undefined ? this.premature(info) : this.failure(error)
    const handedOver = this.isHandedOver()
    const answer = this.read({
      recipients: request.recipients,
      info,
      error,
      failure: failed,
      envelope: this.envelope,
      target,
      handedOver,
    })
    // nodemailer 7 to 9 read the body of a refused message to throw it away: the gate must not hear of it
    if (!handedOver) this.body?.destroy()
    const result = {
      outcomes: answer.outcomes,
      resends: this.resends(),
      gated: this.refusal !== undefined && !handedOver,
      aborted: this.givenUp !== undefined && failed !== undefined,
      durationMs: this.clock.monotonic() - this.startedAt,
    }
    this.resolve(answer.transcript ? { ...result, transcript: answer.transcript } : result)
  }

  /**
   * A reply that came while the body waited for its gate, or was half sent, is to nothing that we have said; nodemailer
   * takes it for the one to the final dot. What follows on that connection would be read as the body.
   */
  private premature(info: unknown): Failure | undefined {
    const { kind, host } = this.target
    if (!kind.startsWith('smtp') || !this.body?.isOpened || this.isHandedOver()) return undefined
    const { resource } = this
    if (resource) {
      resource.queueEntry = false // else the pool sends it again
      resource.close?.()
    }
    const said = isRecord(info) && typeof info.response === 'string' ? `: ${info.response}` : ''
    const text = `answered before the message was sent${said}`
    const reply: Reply = { text, phase: 'data', errno: 'EPROTOCOL', ...(host !== undefined && { host }) }
    return { reply, uncertain: false }
  }

  /** What the transport said; nonsense must not cost the try its end, and so its slot. */
  private read(given: Parameters<typeof readAnswer>[0]): ReturnType<typeof readAnswer> {
    try {
      return readAnswer(given)
    } catch (error) {
      const text = `the transport answered what cannot be read: ${wordsOf(error)}`
      const reply: Reply = { text, phase: 'unknown', errno: 'EPROTOCOL' }
      const outcome = { accepted: false, reply, uncertain: given.handedOver } as const
      return { outcomes: given.recipients.map(() => outcome) }
    }
  }

  private failure(error: unknown): Failure {
    const { target, envelope, resource } = this
    const unread = resource?.connection?._responseQueue
    const progress = {
      kind: target.kind,
      host: target.host,
      envelope,
      unread: Array.isArray(unread) ? unread.map(String) : [],
      reused: this.reused,
      read: this.body?.isOpened === true,
      handedOver: this.isHandedOver(),
    }
    const given = this.localFailure()
    if (!given) return failureOf(error, progress)
    const phase = this.isWithServer && !envelope ? 'mail' : failureOf(given, progress).reply.phase
    const reply: Reply = { text: given.message, phase, errno: given.code }
    return { reply, uncertain: progress.handedOver }
  }

  /** What ended the try from our side: then nodemailer's error only repeats it. */
  private localFailure(): { code: string; message: string } | undefined {
    if (this.refusal && !this.isHandedOver()) {
      const { error } = this.refusal
      return {
        code: 'EABORT',
        message: `not sent: ${wordsOf(error)}`,
      }
    }
    if (this.givenUp === 'timeout') {
      return { code: 'ETIMEDOUT', message: `no answer within ${this.request.timeoutMs} ms` }
    }
    if (this.givenUp === 'aborted') return { code: 'EABORT', message: 'aborted' }
    return undefined
  }
}

/** What a transport sees of the message. */
class TryMessage extends Follower implements Readonly<FrozenMessage> {
  readonly #try: Try

  constructor(one: Try) {
    super()
    this.#try = one
  }

  envelopeToFollow(): { readonly from: string; readonly to: readonly string[] } | undefined {
    return this.#try.toFollow()
  }

  follows(giveUp: () => void): void {
    this.#try.follows(giveUp)
  }

  comesNext(): void {
    this.#try.comesNext()
  }

  getEnvelope(): { from: string; to: string[] } {
    return this.#try.lend()
  }

  messageId(): string {
    return this.#try.request.message.messageId
  }

  getHeader(name: string): string {
    if (name.toLowerCase() !== 'message-id') return ''
    this.#try.noteAssignment()
    return this.messageId()
  }

  createReadStream(): Body {
    return this.#try.open()
  }

  bodyFacts(): { size: number; eightBit: boolean } {
    const { bytes } = this.#try.request
    return { size: bytes.byteLength, eightBit: !isAscii(bytes) }
  }

  mayBegin(): boolean {
    return this.#try.mayBegin()
  }

  takeBody(): Uint8Array | Promise<Uint8Array> {
    return this.#try.take()
  }
}

/** What nodemailer's SMTP transports use of an AbortSignal, at a tenth of its cost; other plugins get a real one. */
class QuickSignal {
  aborted = false
  reason: unknown
  private listeners: (() => void)[] = []

  get signal(): AbortSignal {
    return this as unknown as AbortSignal
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.listeners.push(listener)
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.listeners = this.listeners.filter((one) => one !== listener)
  }

  abort(): void {
    this.aborted = true
    this.reason = new Error('this try was given up')
    for (const listener of this.listeners) listener()
  }
}

/** A nodemailer pool resource, as far as we look at it. */
interface PoolResource {
  readonly messages?: number
  readonly connection?: { readonly _responseQueue?: unknown }
  queueEntry?: { readonly mail: unknown; callback?(error: unknown): void } | false
  close?(): void
}

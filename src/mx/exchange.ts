// One mail transaction on a session that is ready: MAIL, RCPT, DATA, the body, and a Reply for each
// recipient in the phase in which it really came.
//
//   [rset] ─▶ mail ─▶ rcpt × n ─▶ data ─▶ go ─▶ [body] ─▶ dot ─▶ concluded
//     with PIPELINING all up to DATA leaves in one segment, behind the final dot of the message before where there
//     is one, and the replies come one by one
//   a 421 or a lost line: up to `go`, where DATA is allowed and nothing of the body written → abandoned, another
//   host may be asked; from there on → concluded, and uncertain once the final dot was handed over
//
// Not here: the session around it (session.ts).

import type { Phase, Reply } from '../core/reply.ts'
import type { Line, Lost } from './line.ts'
import {
  type MailParameters,
  mailCommand,
  type Offers,
  rcptCommand,
  type Speaker,
  stuffer,
  toReply,
  type WireReply,
} from './wire.ts'

export interface Transaction extends MailParameters {
  readonly from: string
  readonly to: readonly string[]
  /** Called once DATA is allowed: all of the body, or its pieces. Throws or rejects to forbid it. */
  body(): BodySource | Promise<BodySource>
}

export type BodySource = Uint8Array | AsyncIterable<Uint8Array>

/** What was said to one recipient. */
export interface Said {
  readonly address: string
  readonly accepted: boolean
  readonly reply: Reply
  /** The body was handed over to its end, and no reply came. */
  readonly uncertain: boolean
}

export interface ExchangeResult {
  /** In the order of the transaction's recipients; those in `unanswered` are missing. */
  readonly said: readonly Said[]
  /** Recipients that another host may be asked for: the session ended before the body was asked for. */
  readonly unanswered: readonly string[]
  /** What ended the session before the body. */
  readonly ended: Reply | undefined
  /** Whether the server answered anything in this transaction but a goodbye. */
  readonly heard: boolean
  /** What `body` threw; nothing was delivered then. */
  readonly refusal: { readonly error: unknown } | undefined
  /** Commands that were refused. */
  readonly errors: number
  /** What was said; of the body, its length. */
  readonly lines: readonly string[]
  /** Whether the session can go on, and whether with an RSET first. */
  readonly after: 'ready' | 'reset' | 'close'
  /** Whether the session went on to another message, whose it is now. */
  readonly passedOn: boolean
}

export interface ExchangeOptions {
  readonly line: Line
  readonly speaker: Speaker
  readonly offers: Offers
  readonly patience: { readonly command: number; readonly dot: number }
  readonly needsReset: boolean
  /** The envelope of the message that goes on behind this one's final dot; empty for none. */
  readonly follow: () => string
  readonly done: (exchange: Exchange, result: ExchangeResult) => void
}

type Step = 'rset' | 'mail' | 'rcpt' | 'data' | 'empty' | 'go' | 'body' | 'dot' | 'over'

const PHASE_OF: Readonly<Record<Step, Phase>> = {
  rset: 'mail',
  mail: 'mail',
  rcpt: 'rcpt',
  data: 'data',
  empty: 'data',
  go: 'data',
  body: 'data',
  dot: 'dot',
  over: 'unknown',
}

/** Octets above which the body goes in pieces, so that a lost line tells what cannot have arrived. */
const PIECE = 65_536

export class Exchange {
  readonly result: Promise<ExchangeResult>
  #resolve: (result: ExchangeResult) => void = () => {}
  readonly #t: Transaction
  readonly #o: ExchangeOptions
  readonly #pipelining: boolean
  readonly #lines: string[] = []
  readonly #refused: (WireReply | undefined)[]
  #step: Step
  #answered = 0
  #accepted = 0
  #errors = 0
  #sender: WireReply | undefined
  #dotSent = false
  #passedOn = false
  #refusal: { readonly error: unknown } | undefined

  constructor(transaction: Transaction, options: ExchangeOptions) {
    this.#t = transaction
    this.#o = options
    this.#pipelining = options.offers.keywords.has('PIPELINING')
    this.#refused = new Array(transaction.to.length)
    this.#step = options.needsReset ? 'rset' : 'mail'
    this.result = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  start(): void {
    this.expectFirst()
    this.#o.line.write(this.envelope())
  }

  /** The answers to what was sent along with the message before are due now. */
  expectFirst(): void {
    this.#o.line.expect(this.#o.patience.command)
  }

  /** What is said first: with PIPELINING all up to DATA (RFC 2920 §3.1), which saves two round trips a message. */
  envelope(): string {
    const { needsReset, offers } = this.#o
    let said = needsReset ? this.#say('RSET') : ''
    if (this.#pipelining) {
      said += this.#say(this.#mail())
      for (const to of this.#t.to) said += this.#say(rcptCommand(to, this.#t.dsn, offers))
      said += this.#say('DATA')
    } else if (!needsReset) said += this.#say(this.#mail())
    return said
  }

  #mail(): string {
    return mailCommand(this.#t.from, this.#t, this.#o.offers)
  }

  #say(command: string): string {
    this.#lines.push(`C: ${command}`)
    return `${command}\r\n`
  }

  #command(command: string): void {
    this.expectFirst()
    this.#o.line.write(this.#say(command))
  }

  /** The server's next reply. */
  hear(said: WireReply): void {
    this.#lines.push(`S: ${said.text}`)
    const positive = said.code >= 200 && said.code < 300
    if (said.code >= 400) this.#errors++
    if (!this.#fits(said.code)) {
      // as a yes to DATA, which is none: one reply too many came, and every later one would be taken for another's
      const text = `not an answer to what was asked: ${said.text}`
      const reply = this.#failure(PHASE_OF[this.#step], 'EPROTOCOL', text)
      if (this.#isBeforeBody()) this.#abandon(reply)
      else this.#conclude('close', reply)
      return
    }
    if (said.code === 421 && this.#isBeforeBody()) {
      this.#abandon(this.#reply(said, PHASE_OF[this.#step]))
      return
    }
    switch (this.#step) {
      case 'rset':
        this.#step = 'mail'
        if (!this.#pipelining) this.#command(this.#mail())
        return
      case 'mail':
        this.#step = 'rcpt'
        if (!positive) this.#sender = said
        if (this.#pipelining) return
        if (positive) this.#nextRecipient()
        else this.#conclude('ready')
        return
      case 'rcpt':
        this.#recipient(said, positive)
        return
      case 'data':
        this.#data(said)
        return
      case 'empty':
        this.#conclude('ready')
        return
      case 'go':
        // nothing of the body is written: whatever this answers, it is not the message
        this.#abandon(this.#reply(said, 'data'))
        return
      case 'body':
        // before the end: whatever it says, the session is out of step now
        this.#conclude(
          'close',
          positive
            ? this.#failure('dot', 'EPROTOCOL', `answered too soon: ${said.text}`)
            : this.#reply(said, 'dot'),
        )
        return
      case 'dot':
        this.#conclude(said.code === 421 ? 'close' : 'ready', this.#reply(said, 'dot'))
        return
      case 'over':
        return
      default:
        this.#step satisfies never
    }
  }

  /** Whether a code can be the answer at this step: 3xx only to DATA, and there no 2xx. */
  #fits(code: number): boolean {
    if (this.#step === 'over' || this.#step === 'body' || code >= 400) return true
    return this.#step !== 'go' && (this.#step === 'data') === code >= 300
  }

  /** The line is gone. */
  lose({ errno, text }: Lost): void {
    this.#lines.push(`* ${text}`)
    const reply = this.#failure(PHASE_OF[this.#step], errno, text)
    if (this.#isBeforeBody()) this.#abandon(reply)
    else this.#conclude('close', reply)
  }

  #isBeforeBody(): boolean {
    return this.#step !== 'body' && this.#step !== 'dot' && this.#step !== 'over'
  }

  #recipient(said: WireReply, positive: boolean): void {
    if (positive) this.#accepted++
    else this.#refused[this.#answered] = said
    this.#answered++
    const all = this.#answered === this.#t.to.length
    if (all) this.#step = 'data'
    if (this.#pipelining) return
    if (!all) this.#nextRecipient()
    else if (this.#accepted > 0) this.#command('DATA')
    else this.#conclude('reset')
  }

  #nextRecipient(): void {
    const to = this.#t.to[this.#answered] as string // answered < to.length here
    this.#command(rcptCommand(to, this.#t.dsn, this.#o.offers))
  }

  #data(said: WireReply): void {
    const allowed = said.code >= 300 && said.code < 400
    if (this.#sender) {
      // a server that wants a message from a sender it has refused does not get one
      this.#conclude(allowed ? 'close' : 'ready')
    } else if (this.#accepted === 0) {
      if (!allowed) this.#conclude('reset')
      else {
        // DATA was on its way already; an empty message for nobody ends it
        this.#step = 'empty'
        this.#command('.')
      }
    } else if (!allowed) this.#conclude('reset', this.#reply(said, 'data'))
    else this.#body()
  }

  #body(): void {
    this.#step = 'go'
    this.expectFirst()
    if (this.#isSpokenTo()) return
    try {
      const source = this.#t.body()
      if (source instanceof Uint8Array) this.#whole(source)
      else this.#later(source)
    } catch (error) {
      this.#forbid(error)
    }
  }

  /** More has come behind the yes to DATA: once all of it is heard it ends this, and is not taken for the answer to the dot. */
  #isSpokenTo(): boolean {
    return this.#o.line.pending
  }

  #later(source: AsyncIterable<Uint8Array> | Promise<BodySource>): void {
    const write = async () => {
      const body = await source
      if (body instanceof Uint8Array) this.#whole(body)
      else await this.#pieces(body)
    }
    write().catch((error) => this.#forbid(error))
  }

  #whole(body: Uint8Array): void {
    if (this.#step !== 'go' || this.#isSpokenTo()) return
    if (body.length > PIECE) {
      this.#later(cut(body))
      return
    }
    const safe = stuffer()
    const stuffed = safe.push(body)
    this.#end(body.length, (end) => this.#o.line.writeWhole(stuffed, end), safe.end())
  }

  async #pieces(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const safe = stuffer()
    let size = 0
    for await (const piece of pieces) {
      if (this.#step === 'go' && !this.#isSpokenTo()) this.#step = 'body'
      if (this.#step !== 'body') return
      size += piece.length
      this.#o.line.expect(this.#o.patience.command)
      await this.#o.line.writePiece(safe.push(piece))
    }
    const isEmpty = this.#step === 'go' && !this.#isSpokenTo()
    if (this.#step === 'body' || isEmpty) this.#end(size, (end) => this.#o.line.write(end), safe.end())
  }

  #end(size: number, write: (end: string) => void, end: string): void {
    this.#lines.push(`* message of ${size} octets`)
    this.#dotSent = true
    this.#step = 'dot'
    this.#o.line.expect(this.#o.patience.dot)
    const along = this.#o.follow()
    this.#passedOn = along !== ''
    write(end + along)
  }

  /** The body is not to be sent: in the middle of DATA only closing the connection says so. */
  #forbid(error: unknown): void {
    if (this.#step !== 'go' && this.#step !== 'body') return
    this.#refusal = { error }
    const why = error instanceof Error ? error.message : String(error)
    this.#conclude('close', this.#failure('data', 'EABORT', `not sent: ${why}`))
  }

  /** Every recipient's fate is known: its own refusal, the sender's, or `last`. */
  #conclude(after: 'ready' | 'reset' | 'close', last?: Reply): void {
    const uncertain = this.#dotSent && last?.code === undefined
    const accepted = last?.code !== undefined && last.code < 300
    const rest = last ?? this.#failure('rcpt', 'EPROTOCOL', 'not answered')
    this.#finish(
      after,
      this.#t.to.map((address, i) => {
        const reply = this.#own(i)
        if (reply) return { address, accepted: false, reply, uncertain: false }
        return { address, accepted, reply: rest, uncertain }
      }),
      [],
      undefined,
    )
  }

  /** The session ended before the body: only refusals that were made stand. */
  #abandon(ended: Reply): void {
    const said: Said[] = []
    const unanswered: string[] = []
    this.#t.to.forEach((address, i) => {
      const reply = this.#own(i)
      if (reply) said.push({ address, accepted: false, reply, uncertain: false })
      else unanswered.push(address)
    })
    this.#finish('close', said, unanswered, ended)
  }

  /** The refusal that is already this recipient's. */
  #own(i: number): Reply | undefined {
    if (this.#sender) return this.#reply(this.#sender, 'mail')
    const own = this.#refused[i]
    return own && this.#reply(own, 'rcpt')
  }

  #finish(
    after: ExchangeResult['after'],
    said: readonly Said[],
    unanswered: readonly string[],
    ended: Reply | undefined,
  ): void {
    const heard = this.#step !== 'mail' && this.#step !== 'rset'
    this.#step = 'over'
    const result = {
      said,
      unanswered,
      ended,
      heard,
      refusal: this.#refusal,
      errors: this.#errors,
      lines: this.#lines,
      after,
      passedOn: this.#passedOn,
    }
    this.#o.done(this, result)
    this.#resolve(result)
  }

  #reply(said: WireReply, phase: Phase): Reply {
    return toReply(said, phase, this.#o.speaker)
  }

  #failure(phase: Phase, errno: string, text: string): Reply {
    return { text, phase, ...this.#o.speaker, errno }
  }
}

async function* cut(body: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.length; at += PIECE) yield body.subarray(at, at + PIECE)
}

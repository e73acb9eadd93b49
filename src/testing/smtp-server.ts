// A real SMTP server on a loopback socket that says what a test wants it to say, in any phase, and keeps a
// record of everything. For tests of your own policies, and a fast sink for measurements.
// Not here: the protocol (smtp/session.ts), scripts (smtp/script.ts, smtp/behaviours.ts).

import { createServer, type Server } from 'node:net'
import { createSecureContext } from 'node:tls'
import { systemClock } from '../clock.ts'
import { type TestCertificate, testCertificate } from './smtp/certificate.ts'
import { SmtpLog, type SmtpLogLine } from './smtp/log.ts'
import { compileScript, type SmtpScript, type SmtpScriptFunction, type SmtpSession } from './smtp/script.ts'
import { Session, type SessionHost, type SmtpCounts, type SmtpMessage } from './smtp/session.ts'

export {
  during,
  type GreylistOptions,
  greylist,
  maxConnections,
  maxMessagesPerConnection,
  maxRecipients,
  type RateLimitOptions,
  type ReplyText,
  rateLimit,
  recipients,
} from './smtp/behaviours.ts'
export { type TestCertificate, type TestCertificateOptions, testCertificate } from './smtp/certificate.ts'
export type { SmtpLogLine } from './smtp/log.ts'
export type {
  SmtpAnswer,
  SmtpEvent,
  SmtpPhase,
  SmtpScript,
  SmtpScriptFunction,
  SmtpScriptRule,
  SmtpSession,
} from './smtp/script.ts'
export type { SmtpCounts, SmtpMessage } from './smtp/session.ts'

/** How a scripted server listens and what it says. */
export interface SmtpServerOptions {
  /** What it says, where it is not friendly. Rules and functions, tried in order. @default friendly */
  readonly script?: SmtpScript
  /** A loopback address; all of 127.0.0.0/8 is usable on Linux. @default '127.0.0.1' */
  readonly host?: string
  /** @default any free port */
  readonly port?: number
  /** Its name in greeting and EHLO. @default 'mx.test' */
  readonly name?: string
  /**
   * What EHLO advertises, beside STARTTLS and AUTH.
   * @default ['PIPELINING', '8BITMIME', 'SMTPUTF8', 'ENHANCEDSTATUSCODES', 'DSN', 'SIZE <maxSize>']
   */
  readonly extensions?: readonly string[]
  /** Largest message in octets. @default 26214400 */
  readonly maxSize?: number
  /** `implicit`: TLS from the first byte. A certificate is made when none is given. @default none */
  readonly tls?:
    | 'starttls'
    | 'implicit'
    | { readonly mode: 'starttls' | 'implicit'; readonly certificate: TestCertificate }
  /** Logins that are accepted, by AUTH PLAIN and LOGIN. @default AUTH is not offered */
  readonly auth?: {
    readonly users: Readonly<Record<string, string>>
    /** Refuse MAIL before a login with 530. @default false */
    readonly required?: boolean
  }
  /** Keep log, messages and sessions. Without it, only `counts` and `next`. @default true */
  readonly record?: boolean
  /** Epoch ms; give a manual clock's `now`. @default the machine's */
  readonly now?: () => number
}

/** A running server. */
export interface SmtpServer {
  readonly host: string
  readonly port: number
  /** As nodemailer's `createTransport` takes it. */
  readonly url: string
  /** With TLS: what clients trust (`tls: { ca: server.certificate.cert }`). */
  readonly certificate: TestCertificate | undefined
  /** Everything seen and said, in order. */
  readonly log: readonly SmtpLogLine[]
  /** Accepted messages, in order. */
  readonly messages: readonly SmtpMessage[]
  /** All connections ever, in order. */
  readonly sessions: readonly SmtpSession[]
  readonly counts: Readonly<SmtpCounts>
  /** Puts a script before the others; call the result to take it away again. */
  use(script: SmtpScript): () => void
  /** The next log line that fits; rejects when the server closes first. */
  next(predicate?: (line: SmtpLogLine) => boolean): Promise<SmtpLogLine>
  /** As `next`, but a line that is in the log already will do. */
  seen(predicate: (line: SmtpLogLine) => boolean): Promise<SmtpLogLine>
  /** Says this on every connection that waits between messages, and closes them. Gives their number. */
  endIdle(reply?: string): number
  /** Stops listening and cuts all connections: further ones are refused, until `up`. */
  down(): Promise<void>
  /** Listens again, on the same port. */
  up(): Promise<void>
  /** Ends the server for good. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Starts a scriptable SMTP server.
 *
 * ```ts
 * const server = await smtpServer({
 *   script: [
 *     { on: 'rcpt', to: '@busy.test', times: 2, answer: '421 4.7.0 Try again later' },
 *     { on: 'dot', answer: ['drop'] },            // once: take the message, say nothing, hang up
 *     greylist({ seconds: 300 }),
 *     (event) => (event.phase === 'mail' && event.session.messages >= 10 ? '421 4.7.0 Enough' : undefined),
 *   ],
 * })
 * const transporter = createTransport(server.url)
 * ```
 */
export async function smtpServer(options: SmtpServerOptions = {}): Promise<SmtpServer> {
  const server = new ScriptedServer(options)
  await server.up()
  return server
}

class ScriptedServer implements SmtpServer {
  readonly host: string
  port: number
  readonly certificate: TestCertificate | undefined
  readonly messages: SmtpMessage[] = []
  readonly sessions: SmtpSession[] = []
  readonly counts: SmtpCounts = {
    connections: 0,
    open: 0,
    peak: 0,
    mail: 0,
    rcpt: 0,
    messages: 0,
    recipients: 0,
    deferred: 0,
    refused: 0,
  }

  private readonly options: SmtpServerOptions
  private readonly record: boolean
  private readonly lines: SmtpLog
  private readonly open = new Set<Session>()
  private readonly sessionHost: SessionHost
  private scripts: SmtpScriptFunction[]
  private script: SmtpScriptFunction | undefined
  private listener: Server | undefined

  constructor(options: SmtpServerOptions) {
    this.options = options
    this.host = options.host ?? '127.0.0.1'
    this.port = options.port ?? 0
    this.record = options.record ?? true
    this.lines = new SmtpLog(this.record)
    this.scripts = options.script === undefined ? [] : [compileScript(options.script)]
    this.combine()
    const { tls } = options
    this.certificate =
      tls === undefined ? undefined : typeof tls === 'object' ? tls.certificate : testCertificate()
    this.sessionHost = this.makeSessionHost()
  }

  private makeSessionHost(): SessionHost {
    const { options, record, counts, lines, certificate } = this
    const maxSize = options.maxSize ?? 26_214_400
    const { tls, auth } = options
    const self = this
    return {
      name: options.name ?? 'mx.test',
      extensions: options.extensions ?? [
        ...['PIPELINING', '8BITMIME', 'SMTPUTF8', 'ENHANCEDSTATUSCODES', 'DSN'],
        `SIZE ${maxSize}`,
      ],
      maxSize,
      record,
      secureContext: certificate && createSecureContext({ ...certificate }),
      implicitTls: tls === 'implicit' || (typeof tls === 'object' && tls.mode === 'implicit'),
      users: auth && new Map(Object.entries(auth.users)),
      authRequired: auth?.required ?? false,
      counts,
      get script() {
        return self.script
      },
      get isRead() {
        return lines.isRead
      },
      now: options.now ?? systemClock.now,
      note: (line) => lines.note(line),
      deliver: (message) => {
        this.messages.push(message)
      },
      closed: (session) => {
        this.open.delete(session)
        counts.open--
      },
    }
  }

  get url(): string {
    const { tls } = this.options
    const implicit = tls === 'implicit' || (typeof tls === 'object' && tls.mode === 'implicit')
    return `${implicit ? 'smtps' : 'smtp'}://${this.host}:${this.port}`
  }

  get log(): readonly SmtpLogLine[] {
    return this.lines.lines
  }

  use(script: SmtpScript): () => void {
    const compiled = compileScript(script)
    this.scripts = [compiled, ...this.scripts]
    this.combine()
    return () => {
      this.scripts = this.scripts.filter((one) => one !== compiled)
      this.combine()
    }
  }

  private combine(): void {
    this.script = this.scripts.length === 0 ? undefined : compileScript([...this.scripts])
  }

  next(predicate: (line: SmtpLogLine) => boolean = () => true): Promise<SmtpLogLine> {
    return this.lines.next(predicate)
  }

  async seen(predicate: (line: SmtpLogLine) => boolean): Promise<SmtpLogLine> {
    return this.log.find(predicate) ?? this.lines.next(predicate)
  }

  endIdle(reply?: string): number {
    const idle = [...this.open].filter((session) => session.isIdle)
    for (const session of idle) session.end(reply)
    return idle.length
  }

  async up(): Promise<void> {
    if (this.listener) return
    const listener = createServer((socket) => {
      this.counts.connections++
      this.counts.open++
      this.counts.peak = Math.max(this.counts.peak, this.counts.open)
      const session = new Session(socket, this.counts.connections, this.sessionHost)
      this.open.add(session)
      if (this.record) this.sessions.push(session)
    })
    this.listener = listener
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject)
      listener.listen({ host: this.host, port: this.port }, () => {
        listener.off('error', reject)
        resolve()
      })
    })
    const address = listener.address()
    if (typeof address === 'object' && address) this.port = address.port
  }

  async down(): Promise<void> {
    const { listener } = this
    this.listener = undefined
    for (const session of this.open) session.drop()
    if (listener) await new Promise<void>((resolve) => listener.close(() => resolve()))
  }

  async close(): Promise<void> {
    await this.down()
    this.lines.end()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

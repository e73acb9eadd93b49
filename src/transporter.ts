// The user's object: which shape it has, what its pool allows, and the one error listener it needs.
// Reads nodemailer's objects through structural types of our own, so that majors 7 to 10 all fit.
// Not here: building bytes (freeze.ts) or sending them (attempt.ts).

import { createTransport } from 'nodemailer'
import { badOption, SteadymailError, show, wordsOf } from './core/error.ts'

/** Anything with nodemailer's `sendMail`; `M` is what it takes for a mail, whatever the major. */
export interface TransporterLike<M = unknown> {
  sendMail(mail: M): Promise<unknown>
}

/** A nodemailer transport plugin, as one would give to `createTransport`. */
export interface TransportPlugin {
  readonly name: string
  readonly version: string
  send(mail: never, callback: (error: Error | null, info?: unknown) => void): void
}

/** nodemailer's SMTP options, as far as we name them; all others pass through. */
export interface TransportOptions {
  readonly host?: string
  readonly port?: number | string
  readonly pool?: boolean
  readonly url?: string
  readonly [option: string]: unknown
}

/** What `wrapTransport` takes: a transporter, a transport plugin, nodemailer's options, or a URL. */
export type TransportInput<M = unknown> = TransporterLike<M> | TransportPlugin | TransportOptions | string

/** Symbol by which our own drop-in transport is known, so that it is never wrapped again. */
export const DROP_IN: unique symbol = Symbol.for('steadymail.drop-in') as never

/** What a transport object may say about itself under `steadymail`, to be treated better than a stranger. */
export interface TransportFacts {
  /** `direct`: talks to the recipients' own servers. @default 'relay' */
  readonly route?: 'relay' | 'direct'
  /** Attempts it can have under way. */
  readonly maxConnections?: number
  /**
   * Messages that it makes use of beside the one on each connection: they wait for it, a lane's no longer than their lane is
   * open (`mayBegin`) and on no more connections than it has (`sessions` of its hints). @default 0
   */
  readonly ahead?: number
  /** It uses of a signal only `aborted` and the `abort` listeners, and is given one without an AbortSignal's cost. @default false */
  readonly quickSignal?: boolean
  /** The best MX host of a domain, and the same from memory. */
  resolve?(domain: string): Promise<{ readonly mx: string; readonly ttlMs: number }>
  peek?(domain: string): string | undefined
}

/** A transport's own knowledge of MX hosts. */
export type TransportMx = Required<Pick<TransportFacts, 'resolve' | 'peek'>>

/** The wrapped object, understood. */
export interface Target {
  /** `sendmail-only`: SES, sendmail, mocks: takes the message as `{ raw, envelope }`, not as a body stream. */
  readonly kind: 'smtp' | 'smtp-pool' | 'plugin' | 'sendmail-only'
  /** The transport's own name, as `SMTP (pool)`. */
  readonly name: string
  readonly defaultRoute: 'relay' | 'direct'
  /** The pool's `maxConnections`, or what the transport says of itself. */
  readonly maxConnections: number | undefined
  /** Messages that it makes use of beside the one on each connection: they stand in line behind it. */
  readonly ahead: number
  /** MX hosts, where the transport knows them. */
  readonly mx: TransportMx | undefined
  /** For explanations and logs; holds no credentials. */
  readonly host: string | undefined
  /** Whether a send takes an AbortSignal (nodemailer ≥ 10.5). */
  readonly abortable: boolean
  /** Whether a signal with `aborted` and the `abort` listeners is enough for it. */
  readonly quickSignal: boolean
  /** Whether we made it, and so close it. */
  readonly owned: boolean
  /** What the user should know about it, one sentence each; empty when all is well. */
  readonly advice: readonly string[]
  /** The mailer object, where there is one. */
  readonly transporter: InnerTransporter | undefined
  /** The object whose `send` takes compiled messages; absent where there is only a `sendMail`. */
  readonly transport: InnerTransport | undefined
  /** Connects and logs in once, where the transport can. */
  verify(): Promise<void>
  /** Closes a transporter that we made; takes our error listener away from any other. */
  close(): Promise<void>
}

/** A nodemailer `Mail`, as far as we use it. */
export interface InnerTransporter extends TransporterLike {
  readonly transporter?: InnerTransport
  readonly options?: Readonly<Record<string, unknown>>
  readonly _defaults?: Readonly<Record<string, unknown>>
  readonly _userPlugins?: Readonly<Record<string, readonly unknown[]>>
  readonly meta?: unknown
  readonly dkim?: unknown
  verify?(): unknown
  close?(): unknown
  on?(event: 'error', listener: (error: Error) => void): unknown
  off?(event: 'error', listener: (error: Error) => void): unknown
}

/** A nodemailer transport, as far as we use it. */
export interface InnerTransport {
  readonly name?: string
  readonly options?: Readonly<Record<string, unknown>>
  readonly supportsAbortSignal?: boolean
  readonly steadymail?: TransportFacts
  /** Pool resources; nodemailer's own bookkeeping, read where it exists. */
  readonly _connections?: unknown
  send(mail: unknown, callback: (error: unknown, info?: unknown) => void): unknown
  verify?(callback?: (error: unknown) => void): unknown
  close?(): unknown
  on?(event: 'error', listener: (error: Error) => void): unknown
  off?(event: 'error', listener: (error: Error) => void): unknown
}

export interface OpenOptions {
  /** Hears the errors that the transporter emits outside of any send. */
  readonly onError?: (error: Error) => void
}

/** nodemailer transports that read more of a mail than its bytes: they get a mail object of nodemailer's own. */
const NEEDS_MAIL_OBJECT = new Set(['SESTransport', 'Sendmail', 'StreamTransport', 'JSONTransport'])

/** Without one of these an object is no transport options: nodemailer would quietly talk to localhost. */
const OPTION_KEYS = [
  ...['url', 'host', 'port', 'service', 'secure', 'auth', 'pool', 'socket', 'connection', 'getSocket'],
  ...['sendmail', 'SES', 'streamTransport', 'jsonTransport', 'proxy', 'localAddress'],
]

const EXPECTED =
  'a nodemailer transporter, a transport plugin, transport options, or an smtp:// or smtps:// URL'

/**
 * Understands what `wrapTransport` was given. Opens no socket.
 * @throws SteadymailError `BAD_OPTION` for a steadymail object, or one that cannot send mail
 */
export function openTarget(input: unknown, options: OpenOptions = {}): Target {
  if (typeof input === 'string') {
    // never shown: a URL holds a password
    if (!/^smtps?:/i.test(input)) throw badTransporter('a string that is no such URL')
    return describe(made(input), true, options)
  }
  if (typeof input !== 'object' || input === null) throw badOption('transporter', EXPECTED, input)
  if (isOurs(input)) {
    throw badTransporter('a steadymail mailer or transport, which is wrapped already')
  }
  if (has(input, 'sendMail')) return describe(input as InnerTransporter, false, options)
  if (has(input, 'send')) return describePlugin(input as InnerTransport, options)
  if (OPTION_KEYS.some((key) => key in input)) return describe(made(input), true, options)
  throw badTransporter(show(input))
}

function badTransporter(given: string): SteadymailError {
  return new SteadymailError('BAD_OPTION', `transporter: expected ${EXPECTED}, got ${given}`, {
    path: 'transporter',
  })
}

function has(value: object, method: string): boolean {
  return typeof (value as Record<string, unknown>)[method] === 'function'
}

function isOurs(input: object): boolean {
  const inner = (input as { transporter?: unknown }).transporter
  return (
    has(input, 'sendWithRetry') ||
    DROP_IN in input ||
    (typeof inner === 'object' && inner !== null && DROP_IN in inner)
  )
}

function made(input: string | object): InnerTransporter {
  try {
    return createTransport(input as never) as unknown as InnerTransporter
  } catch (error) {
    const why = wordsOf(error)
    // nodemailer's own messages name options, not their values; a URL error may repeat the URL
    const safe =
      typeof input === 'string' ? 'a URL that nodemailer cannot read' : `options it refuses: ${why}`
    throw badTransporter(safe)
  }
}

function describe(transporter: InnerTransporter, owned: boolean, options: OpenOptions): Target {
  const transport = transporter.transporter
  if (typeof transport !== 'object' || transport === null || !has(transport, 'send')) {
    return target({
      kind: 'sendmail-only',
      name: 'sendMail',
      transporter,
      transport: undefined,
      owned,
      options,
    })
  }
  const kind = kindOf(transport)
  return target({ kind, name: transport.name ?? 'transport', transporter, transport, owned, options })
}

function describePlugin(transport: InnerTransport, options: OpenOptions): Target {
  const { name = 'transport' } = transport
  return target({ kind: kindOf(transport), name, transporter: undefined, transport, owned: false, options })
}

function kindOf(transport: InnerTransport): Target['kind'] {
  if (transport.name === 'SMTP') return 'smtp'
  if (transport.name === 'SMTP (pool)') return 'smtp-pool'
  return NEEDS_MAIL_OBJECT.has(transport.name ?? '') ? 'sendmail-only' : 'plugin'
}

/** In a pool's own queue: one whose envelope goes with the message before it, and two that go out while a commit is gathered and made. */
const POOL_AHEAD = 3

interface Parts {
  readonly kind: Target['kind']
  readonly name: string
  readonly transporter: InnerTransporter | undefined
  readonly transport: InnerTransport | undefined
  readonly owned: boolean
  readonly options: OpenOptions
}

function target({ kind, name, transporter, transport, owned, options }: Parts): Target {
  const facts = transport ?? transporter?.transporter
  const settings = facts?.options ?? {}
  const emitter = transporter ?? transport
  const listener = (error: Error) => options.onError?.(error)
  // a pool's error without a listener would end the process
  emitter?.on?.('error', listener)
  return {
    kind,
    name,
    transporter,
    transport,
    owned,
    ahead: kind === 'smtp-pool' ? POOL_AHEAD : (facts?.steadymail?.ahead ?? 0),
    mx: mxOf(facts?.steadymail),
    defaultRoute: facts?.steadymail?.route === 'direct' ? 'direct' : 'relay',
    maxConnections:
      kind === 'smtp-pool' && typeof settings.maxConnections === 'number'
        ? settings.maxConnections
        : facts?.steadymail?.maxConnections,
    host:
      kind === 'smtp' || kind === 'smtp-pool'
        ? typeof settings.host === 'string'
          ? settings.host
          : 'localhost'
        : undefined,
    abortable: kind !== 'sendmail-only' && facts?.supportsAbortSignal === true,
    quickSignal: kind === 'smtp' || kind === 'smtp-pool' || facts?.steadymail?.quickSignal === true,
    advice: adviceFor(kind, settings),
    verify: () => verify(emitter),
    async close() {
      emitter?.off?.('error', listener)
      if (owned) {
        // a closing pool still reports the errors of its connections
        emitter?.on?.('error', () => {})
        await emitter?.close?.()
      }
    },
  }
}

function adviceFor(kind: Target['kind'], settings: Readonly<Record<string, unknown>>): readonly string[] {
  const advice: string[] = []
  if (kind === 'smtp-pool' && settings.maxRequeues !== 0) {
    advice.push('set maxRequeues: 0 on the pool, so that every retry is one that steadymail has counted')
  }
  if (kind === 'smtp-pool' && settings.rateLimit) {
    advice.push(
      'leave rateLimit of the pool unset: it delays messages that steadymail believes to be under way',
    )
  }
  return advice
}

async function verify(emitter: InnerTransporter | InnerTransport | undefined): Promise<void> {
  if (!emitter?.verify) return
  await new Promise<unknown>((resolve, reject) => {
    const answer = emitter.verify?.((error: unknown) => (error ? reject(error) : resolve(undefined)))
    if (isThenable(answer)) answer.then(resolve, reject)
    else if (answer !== undefined) resolve(undefined) // as nodemailer's `false` for a transport without verify
  })
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && has(value, 'then')
}

function mxOf(facts: TransportFacts | undefined): TransportMx | undefined {
  const { resolve, peek } = facts ?? {}
  return resolve && peek ? { resolve, peek } : undefined
}

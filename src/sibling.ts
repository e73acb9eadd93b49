// A sibling of the user's transporter that sends nothing: it has its options, defaults, plugins and keys, and
// hands back what it would have sent. The user's own object is not touched.
// Not here: when it is needed (freeze.ts).

import type { Readable } from 'node:stream'
import { createTransport } from 'nodemailer'
import { SteadymailError, show, wordsOf } from './core/error.ts'
import { badMessage, isRecord, type Mail } from './envelope.ts'
import type { MimeTree } from './render.ts'
import type { InnerTransporter, Target } from './transporter.ts'

/** A compiled mail as nodemailer hands it to a transport. */
export interface CompiledMail {
  readonly data: Mail
  readonly message: {
    getEnvelope(): Readonly<Record<string, unknown>>
    messageId(): string
    createReadStream(): Readable
  } & MimeTree
}

export interface Builder {
  sendMail(mail: Mail, callback: (error: unknown, compiled: CompiledMail) => void): unknown
}

export interface Workshop {
  /** Whether no plugin, default or key of the transporter changes a mail. */
  isPlain(): boolean
  /** Whether a raw mail with an envelope of its own leaves the transporter as it came. */
  keepsRaw(): boolean
  builder(): Builder
  /** Compiles without stream plugins, for mails whose body is not wanted. */
  readonly envelopes: Builder
  /** No defaults, plugins or keys: for bytes that had them already. */
  readonly clean: Builder
}

interface MailClass {
  new (transport: unknown, options: unknown, defaults: unknown): Writable<InnerTransporter> & Builder
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** Defaults that cannot change a raw mail with an envelope of its own. */
const HEADER_DEFAULTS = new Set(['from', 'sender', 'replyTo', 'cc', 'bcc', 'subject', 'headers', 'xMailer'])

/** Instead of a socket: hands the compiled mail back. Keeps no Bcc, unlike nodemailer's stream transport. */
const capture = {
  name: 'steadymail-freeze',
  version: '1',
  send(mail: unknown, callback: (error: null, mail: unknown) => void) {
    callback(null, mail)
  },
}

const workshops = new WeakMap<Target, Workshop>()

/** The workshop of a target, made once. */
export function workshopFor(target: Target): Workshop {
  let workshop = workshops.get(target)
  if (!workshop) {
    workshop = makeWorkshop(target)
    workshops.set(target, workshop)
  }
  return workshop
}

function makeWorkshop(target: Target): Workshop {
  const original = target.transporter
  if (!original || !isMailer(original)) {
    const builder = createTransport({ ...capture } as never) as unknown as Builder
    return {
      isPlain: () => true,
      keepsRaw: () => true,
      builder: () => builder,
      envelopes: builder,
      clean: builder,
    }
  }
  const Mailer = original.constructor as unknown as MailClass
  const sibling = () => {
    // options and defaults are the user's own objects, so that later changes to them are seen
    const made = new Mailer({ ...capture }, original.options, original._defaults)
    made.meta = original.meta
    return made
  }
  const whole = sibling()
  const envelopes = sibling()
  const plugins = () => original._userPlugins ?? {}
  Object.defineProperty(whole, '_userPlugins', { get: plugins })
  Object.defineProperty(envelopes, '_userPlugins', { get: () => ({ ...plugins(), stream: [] }) })
  const keepsRaw = () =>
    !original.dkim &&
    original.options?.maxRecipients === undefined &&
    Object.values(plugins()).every((list) => list.length === 0) &&
    Object.keys(original._defaults ?? {}).every((field) => HEADER_DEFAULTS.has(field))
  return {
    isPlain: () => Object.keys(original._defaults ?? {}).length === 0 && keepsRaw(),
    keepsRaw,
    builder: () => whole,
    envelopes,
    clean: new Mailer({ ...capture }, {}, {}),
  }
}

function isMailer(transporter: InnerTransporter): boolean {
  const { constructor: Made, _userPlugins } = transporter
  return typeof Made === 'function' && Made !== Object && typeof _userPlugins === 'object'
}

/** Compiles one mail; rejects with `BAD_MESSAGE`. */
export function compile(builder: Builder, mail: Mail): Promise<CompiledMail> {
  return new Promise((resolve, reject) => {
    const { signal: _signal, ...fields } = mail
    try {
      builder.sendMail(fields, (error, compiled) => (error ? reject(unreadable(error)) : resolve(compiled)))
    } catch (error) {
      reject(unreadable(error))
    }
  })
}

/** Reads a compiled mail through nodemailer's own streams; rejects with `BAD_MESSAGE`. */
export function drain(compiled: CompiledMail, maxMessageBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const stream = compiled.message.createReadStream()
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size > maxMessageBytes) {
        reject(tooLarge(maxMessageBytes, `more than that`))
        stream.destroy()
      }
    })
    stream.once('error', (error) => reject(unreadable(error)))
    stream.once('end', () => resolve(Buffer.concat(chunks, size)))
  })
}

/** Before 9.0.1 nodemailer read `raw: { path }` and `raw: { href }` in spite of these flags (GHSA-p6gq-j5cr-w38f). */
export function checkRawSource({ transporter }: Target, mail: Mail): void {
  const { raw } = mail
  if (!isRecord(raw)) return
  for (const [source, flag, what] of RAW_SOURCES) {
    const places = [mail, transporter?.options, transporter?._defaults]
    if (typeof raw[source] === 'string' && places.some((place) => place?.[flag])) {
      throw badMessage('mail.raw', `mail.raw: ${what} access rejected for ${show(raw[source])} (${flag})`)
    }
  }
}

const RAW_SOURCES = [
  ['path', 'disableFileAccess', 'File'],
  ['href', 'disableUrlAccess', 'URL'],
] as const

export function tooLarge(limit: number, given: string): SteadymailError {
  return badMessage('mail', `mail: expected at most ${limit} bytes (maxMessageBytes), got ${given}`)
}

function unreadable(error: unknown): SteadymailError {
  if (SteadymailError.is(error)) return error
  const { code, message } = errorFields(error)
  const refused = /^E(NOENT|ACCES|ISDIR|PERM|MFILE|FETCH|FILEACCESS|URLACCESS|STREAM)$/.test(code)
  const content = refused || /^(File|Url) access rejected/.test(message) // no code before nodemailer 8
  const path = content ? 'mail.attachments' : 'mail'
  const what = content ? 'a file, URL or stream could not be read' : 'the message could not be built'
  return new SteadymailError('BAD_MESSAGE', `${path}: ${what}: ${message}`, { path, cause: error })
}

function errorFields(error: unknown): { code: string; message: string } {
  const { code } = isRecord(error) ? error : {}
  return { code: typeof code === 'string' ? code : '', message: wordsOf(error) }
}

// Mail → bytes, once: whatever nodemailer would have put on the wire, so that every retry is identical.
// A raw mail with a plain envelope takes a short path that neither builds nor parses its body; everything
// else is built by a sibling of the user's transporter, with its defaults, plugins and DKIM keys.
// Not here: sending (attempt.ts). This file and attempt.ts are the only ones that know nodemailer's shapes.

import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import { createTransport } from 'nodemailer'
import { addressKey, checkAddress, domainOf, wireAddress } from './address.ts'
import { SteadymailError, show } from './core/error.ts'
import type { WireOptions } from './core/message.ts'
import { type MimeTree, render } from './render.ts'
import type { InnerTransporter, Target } from './transporter.ts'

/** One mail, built. */
export interface Frozen {
  /** What goes on the wire, before dot-stuffing; line ends as the mail had them. Holds no Bcc, unless a raw mail did. */
  readonly bytes: Uint8Array
  /** Envelope sender; empty for the null reverse-path. */
  readonly from: string
  /** Envelope recipients as nodemailer would use them, each mailbox once, in order. */
  readonly to: readonly string[]
  /** With angle brackets. */
  readonly messageId: string
  /** Domain of the From header, else of the envelope sender, normalised. */
  readonly fromDomain: string
  readonly wire: WireOptions
}

export interface FreezeLimits {
  readonly maxMessageBytes: number
}

/** A compiled mail as nodemailer hands it to a transport. */
interface CompiledMail {
  readonly data: Mail
  readonly message: {
    getEnvelope(): Readonly<Record<string, unknown>>
    messageId(): string
    createReadStream(): Readable
  } & MimeTree
}

type Mail = Readonly<Record<string, unknown>>

interface Envelope {
  readonly from: string
  readonly to: readonly string[]
  readonly extras?: Readonly<Record<string, unknown>>
}

/**
 * Builds a mail once: defaults, plugins, DKIM, attachments from streams, paths and URLs, all as the wrapped
 * transporter would.
 *
 * A raw mail goes out as given: its headers are not touched, a Bcc header included. Only a Message-ID or Date
 * that it lacks is put in front, because retries must carry the same ones; a raw mail that is signed already
 * (DKIM-Signature) is left alone even then.
 *
 * @throws SteadymailError `BAD_MESSAGE`: no recipients, an address that cannot be used, too large,
 * per-message `auth`, an attachment that cannot be read
 */
export async function freeze(target: Target, mail: unknown, limits: FreezeLimits): Promise<Frozen> {
  const fields = checkMail(mail)
  const workshop = workshopFor(target)
  const raw = plainRaw(workshop, fields)
  if (raw !== undefined) {
    const envelope = plainEnvelope(fields) ?? envelopeFrom(await compile(workshop.envelopes, fields))
    return frozen(raw, checkEnvelope(envelope), fields, limits, workshop)
  }
  checkRawSource(target, fields)
  const compiled = await compile(workshop.builder(), workshop.isPlain() ? prepared(fields) : fields)
  const envelope = checkEnvelope(envelopeFrom(compiled))
  const bytes = render(compiled.message) ?? (await drain(compiled, limits))
  return frozen(bytes, envelope, compiled.data, limits, workshop)
}

/**
 * Only the envelope a mail would have. Reads no attachment, but runs the transporter's compile plugins.
 * @throws SteadymailError `BAD_MESSAGE` as `freeze` does for recipients
 */
export async function envelopeOf(
  target: Target,
  mail: unknown,
): Promise<{ readonly from: string; readonly to: readonly string[] }> {
  const fields = checkMail(mail)
  const workshop = workshopFor(target)
  const plain = plainRaw(workshop, fields) === undefined ? undefined : plainEnvelope(fields)
  const { from, to } = checkEnvelope(plain ?? envelopeFrom(await compile(workshop.envelopes, fields)))
  return { from, to }
}

/** Frozen bytes as the mail object that nodemailer's SES, sendmail and other such transports take. */
export function thaw(
  target: Target,
  frozen: { bytes: Uint8Array; from: string; to: readonly string[]; wire: WireOptions },
): Promise<unknown> {
  const { bytes, from, to, wire } = frozen
  const { envelope, ...fields } = wire
  return compile(workshopFor(target).clean, {
    ...fields,
    raw: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    envelope: { ...envelope, from, to: [...to] },
  })
}

// ---- the sibling transporter ------------------------------------------------------------------------------

interface Builder {
  sendMail(mail: Mail, callback: (error: unknown, compiled: CompiledMail) => void): unknown
}

interface Workshop {
  /** Whether no plugin, default or key of the transporter changes a mail: a raw one leaves it as it came. */
  isPlain(): boolean
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

/** Instead of a socket: hands the compiled mail back. Keeps no Bcc, unlike nodemailer's stream transport. */
const capture = {
  name: 'steadymail-freeze',
  version: '1',
  send(mail: unknown, callback: (error: null, mail: unknown) => void) {
    callback(null, mail)
  },
}

const workshops = new WeakMap<Target, Workshop>()

function workshopFor(target: Target): Workshop {
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
    return { isPlain: () => true, builder: () => builder, envelopes: builder, clean: builder }
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
  return {
    isPlain: () =>
      !original.dkim &&
      Object.keys(original._defaults ?? {}).length === 0 &&
      original.options?.maxRecipients === undefined &&
      Object.values(plugins()).every((list) => list.length === 0),
    builder: () => whole,
    envelopes,
    clean: new Mailer({ ...capture }, {}, {}),
  }
}

function isMailer(transporter: InnerTransporter): boolean {
  const { constructor: Made, _userPlugins } = transporter
  return typeof Made === 'function' && Made !== Object && typeof _userPlugins === 'object'
}

function compile(builder: Builder, mail: Mail): Promise<CompiledMail> {
  return new Promise((resolve, reject) => {
    const { signal: _signal, ...fields } = mail
    try {
      builder.sendMail(fields, (error, compiled) => (error ? reject(unreadable(error)) : resolve(compiled)))
    } catch (error) {
      reject(unreadable(error))
    }
  })
}

function drain(compiled: CompiledMail, { maxMessageBytes }: FreezeLimits): Promise<Buffer> {
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

// ---- envelopes --------------------------------------------------------------------------------------------

const PLAIN_ADDRESS = /^[\w+-]+(?:\.[\w+-]+)*@[a-z0-9-]+(?:\.[a-z0-9-]+)+$/i
const NAMED_ADDRESS = /^[\w .'-]{0,100}<([^<>]+)>$/

function plainAddress(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > 320) return undefined
  if (PLAIN_ADDRESS.test(value)) return value
  const named = NAMED_ADDRESS.exec(value)?.[1]
  return named !== undefined && PLAIN_ADDRESS.test(named) ? named : undefined
}

/** The envelope, where nodemailer's address parser could not see anything else in it. */
function plainEnvelope(mail: Mail): Envelope | undefined {
  const given = mail.envelope
  const source = isRecord(given) ? given : mail
  const to: string[] = []
  for (const field of ['to', 'cc', 'bcc']) {
    const value = source[field]
    if (value === undefined || value === null) continue
    for (const one of Array.isArray(value) ? value : [value]) {
      const address = plainAddress(one)
      if (address === undefined) return undefined
      to.push(address)
    }
  }
  if (isRecord(given)) {
    const from = given.from ? plainAddress(given.from) : ''
    return from === undefined ? undefined : { from, to, ...extrasOf(given) }
  }
  // custom headers may hold further addresses
  const from = plainAddress(source.from)
  return from === undefined || source.headers || source.envelope ? undefined : { from, to }
}

const ADDRESS_FIELDS = ['from', 'to', 'cc', 'bcc'] as const

/**
 * The same mail with its plain addresses parsed and its Message-ID made, which nodemailer does at ten times
 * the cost: it parses the addresses anew for each of several uses.
 */
function prepared(mail: Mail): Mail {
  if (mail.envelope || mail.headers || mail.raw) return mail
  const parsed: Record<string, unknown> = {}
  for (const field of ADDRESS_FIELDS) {
    const value = mail[field]
    if (value === undefined || value === null) continue
    const list = (Array.isArray(value) ? value : [value]).map(parsedAddress)
    if (list.includes(undefined)) return mail
    parsed[field] = list
  }
  const from = Array.isArray(parsed.from) ? parsed.from[0]?.address : undefined
  if (typeof from !== 'string') return mail
  const messageId = mail.messageId || `<${randomUUID()}@${domainOf(from)}>`
  return { ...mail, ...parsed, messageId }
}

function parsedAddress(value: unknown): { name: string; address: string } | undefined {
  const address = plainAddress(value)
  if (address === undefined || typeof value !== 'string') return undefined
  const name = value === address ? '' : value.slice(0, value.indexOf('<')).trim()
  // quotes and dots in a name are nodemailer's to read
  return /^[\w ]*$/.test(name) ? { name, address } : undefined
}

function envelopeFrom(compiled: CompiledMail): Envelope {
  const envelope = compiled.message.getEnvelope()
  const to = Array.isArray(envelope.to) ? envelope.to.map(String) : []
  return { from: envelope.from ? String(envelope.from) : '', to, ...extrasOf(envelope) }
}

const ENVELOPE_ADDRESSES = new Set(['from', 'to', 'cc', 'bcc'])

function extrasOf(envelope: Readonly<Record<string, unknown>>): Pick<Envelope, 'extras'> {
  const extras: Record<string, unknown> = {}
  let found = false
  for (const [key, value] of Object.entries(envelope)) {
    if (ENVELOPE_ADDRESSES.has(key) || value === undefined) continue
    extras[key] = value
    found = true
  }
  return found ? { extras } : {}
}

function checkEnvelope(envelope: Envelope): Envelope {
  if (envelope.to.length === 0) {
    throw badMessage('mail.to', 'mail.to: expected at least one recipient, got none')
  }
  const to = new Map<string, string>()
  envelope.to.forEach((address, i) => {
    checkAddress(address, `envelope.to[${i}]`)
    const key = addressKey(address)
    if (!to.has(key)) to.set(key, wireAddress(address))
  })
  if (envelope.from !== '') checkAddress(envelope.from, 'envelope.from')
  return { ...envelope, from: wireAddress(envelope.from), to: [...to.values()] }
}

// ---- raw mails --------------------------------------------------------------------------------------------

/** The bytes of a raw mail that nodemailer would pass on unchanged. */
function plainRaw(workshop: Workshop, mail: Mail): Buffer | undefined {
  const { raw } = mail
  if (typeof raw !== 'string' && !(raw instanceof Uint8Array)) return undefined
  if (raw.length === 0 || mail.dkim || mail.newline || mail.maxRecipients !== undefined) return undefined
  if (!workshop.isPlain()) return undefined
  // a copy, because the caller's buffer may change while the message waits
  return typeof raw === 'string' ? Buffer.from(raw) : Buffer.from(raw)
}

/** Header blocks above this are searched no further; servers refuse far smaller ones. */
const MAX_HEADER_BYTES = 256 * 1024

function headersOf(bytes: Buffer): string {
  const crlf = bytes.indexOf('\r\n\r\n')
  const lf = bytes.subarray(0, crlf < 0 ? bytes.length : crlf).indexOf('\n\n')
  const end = lf >= 0 ? lf : crlf >= 0 ? crlf : bytes.length
  return bytes.toString('utf8', 0, Math.min(end, MAX_HEADER_BYTES))
}

const MESSAGE_ID = /^message-id:[ \t]*(?:\r?\n[ \t]+)?(<[^<>\r\n]*>|[^\s<>]+)/im
const DATE = /^date:/im
const SIGNATURE = /^dkim-signature:/im
const FROM = /^from:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)/im

async function frozen(
  body: Buffer,
  envelope: Envelope,
  mail: Mail,
  { maxMessageBytes }: FreezeLimits,
  workshop: Workshop,
): Promise<Frozen> {
  let bytes = body
  let headers = headersOf(bytes)
  if (!MESSAGE_ID.test(headers) || !DATE.test(headers)) {
    const added = await missingHeaders(headers, envelope, workshop)
    headers = `${added}${headers}`
    if (!SIGNATURE.test(headers)) bytes = Buffer.concat([Buffer.from(added), body])
  }
  if (bytes.length > maxMessageBytes) throw tooLarge(maxMessageBytes, `${bytes.length}`)
  const messageId = MESSAGE_ID.exec(headers)?.[1] ?? ''
  return {
    bytes,
    from: envelope.from,
    to: envelope.to,
    messageId: messageId.startsWith('<') ? messageId : `<${messageId}>`,
    fromDomain: fromDomainOf(headers) || domainOf(envelope.from),
    wire: wireOf(mail, envelope),
  }
}

/** The header lines, from nodemailer's own generator, that a raw mail lacks. */
async function missingHeaders(headers: string, envelope: Envelope, workshop: Workshop): Promise<string> {
  const { from, to } = envelope
  const stub = await compile(workshop.envelopes, { envelope: { from, to }, text: '' })
  // the transporter's defaults could add addresses or identifiers of their own, which do no harm here
  const made = stub.message.buildHeaders()
  const lines: string[] = []
  if (!MESSAGE_ID.test(headers)) lines.push(`Message-ID: ${stub.message.messageId()}\r\n`)
  if (!DATE.test(headers)) lines.push(`Date: ${/^Date: (.*)$/im.exec(made)?.[1]?.trim() ?? ''}\r\n`)
  return lines.join('')
}

/** The domain of the header's author: who the receiver will judge. */
function fromDomainOf(headers: string): string {
  const value = FROM.exec(headers)?.[1]
  if (value === undefined) return ''
  const bare = value
    .slice(0, 2000)
    .replace(/\r?\n/g, '')
    .replace(/"(?:[^"\\]|\\.)*"(?!@)/g, '')
  const address = /<([^<>]*@[^<>]*)>/.exec(bare)?.[1] ?? /[^\s,;<>()]+@[^\s,;<>()]+/.exec(bare)?.[0]
  return address === undefined ? '' : domainOf(address.trim())
}

function wireOf(mail: Mail, { extras }: Envelope): WireOptions {
  return {
    ...(isRecord(mail.dsn) && { dsn: { ...mail.dsn } }),
    ...(mail.requireTLSExtensionEnabled === true && { requireTLSExtensionEnabled: true }),
    ...(extras && { envelope: extras }),
    ...(isRecord(mail.ses) && { ses: { ...mail.ses } }),
  }
}

// ---- refusals ---------------------------------------------------------------------------------------------

function checkMail(mail: unknown): Mail {
  if (!isRecord(mail)) {
    throw badMessage('mail', `mail: expected an object as nodemailer's sendMail takes, got ${show(mail)}`)
  }
  if (mail.auth !== undefined && mail.auth !== null) {
    throw badMessage(
      'mail.auth',
      'mail.auth: expected no per-message login, because credentials are not stored; set auth on the transporter',
    )
  }
  const envelope = mail.envelope
  if (isRecord(envelope)) {
    for (const field of ['from', 'to', 'cc', 'bcc']) checkField(envelope[field], `mail.envelope.${field}`)
  } else {
    for (const field of ['from', 'sender', 'to', 'cc', 'bcc']) checkField(mail[field], `mail.${field}`)
  }
  return mail
}

/**
 * nodemailer turns control characters into spaces and drops what has no `@`; here the caller hears of it.
 * A line break after a comma is left: it is how long lists are written.
 */
function checkField(value: unknown, path: string): void {
  if (value === undefined || value === null || value === '' || value === false) return
  if (Array.isArray(value)) {
    value.forEach((one, i) => {
      checkField(one, `${path}[${i}]`)
    })
    return
  }
  if (isRecord(value)) {
    if (Array.isArray(value.group)) checkField(value.group, `${path}.group`)
    else if (typeof value.address === 'string') checkText(value.address, path)
    return
  }
  if (typeof value === 'string') checkText(value, path)
}

function checkText(text: string, path: string): void {
  if (/[\r\n\0]/.test(text) && /[\r\n\0]/.test(text.replace(/,[ \t]*\r?\n[ \t]*/g, ',').trim())) {
    throw badMessage(path, `${path}: expected an address without CR, LF or NUL, got ${show(text)}`)
  }
  // a group, as 'undisclosed-recipients:;', may be without addresses
  if (!text.includes('@') && !text.includes(':')) {
    throw badMessage(
      path,
      `${path}: expected an address with a domain, as 'name@example.com', got ${show(text)}`,
    )
  }
}

/** Before 9.0.1 nodemailer read `raw: { path }` and `raw: { href }` in spite of these flags (GHSA-p6gq-j5cr-w38f). */
function checkRawSource({ transporter }: Target, mail: Mail): void {
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

function tooLarge(limit: number, given: string): SteadymailError {
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

function badMessage(path: string, message: string): SteadymailError {
  return new SteadymailError('BAD_MESSAGE', message, { path })
}

function errorFields(error: unknown): { code: string; message: string } {
  if (!(error instanceof Error)) return { code: '', message: String(error) }
  const { code } = error as { code?: unknown }
  return { code: typeof code === 'string' ? code : '', message: error.message }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

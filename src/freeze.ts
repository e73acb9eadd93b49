// Mail → bytes, once: whatever nodemailer would have put on the wire, so that every retry is identical.
// A raw mail with a plain envelope takes a short path that neither builds nor parses its body; everything
// else is built by a sibling of the user's transporter, with its defaults, plugins and DKIM keys.
// Not here: the sibling itself (sibling.ts), envelopes (envelope.ts), sending (attempt.ts).

import { types } from 'node:util'
import { domainOf } from './address.ts'
import type { WireOptions } from './core/message.ts'
import {
  checkEnvelope,
  checkMail,
  type Envelope,
  isRecord,
  type Mail,
  plainEnvelope,
  prepared,
  readEnvelope,
} from './envelope.ts'
import { render } from './render.ts'
import { checkRawSource, compile, drain, tooLarge, type Workshop, workshopFor } from './sibling.ts'
import type { Target } from './transporter.ts'

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
    const envelope =
      plainEnvelope(fields) ?? readEnvelope((await compile(workshop.envelopes, fields)).message.getEnvelope())
    return frozen(raw, checkEnvelope(envelope), fields, limits, workshop)
  }
  checkRawSource(target, fields)
  const compiled = await compile(workshop.builder(), workshop.isPlain() ? prepared(fields) : fields)
  const envelope = checkEnvelope(readEnvelope(compiled.message.getEnvelope()))
  const bytes = render(compiled.message) ?? (await drain(compiled, limits.maxMessageBytes))
  return frozen(bytes, envelope, compiled.data, limits, workshop)
}

/**
 * The same for a raw mail that needs nothing built or looked up: with a plain envelope, a Message-ID and a Date.
 * `undefined` for any other.
 * @throws SteadymailError `BAD_MESSAGE` as `freeze` does
 */
export function freezeAtOnce(target: Target, mail: unknown, limits: FreezeLimits): Frozen | undefined {
  const fields = checkMail(mail)
  const workshop = workshopFor(target)
  const envelope = isBytes(fields.raw) ? plainEnvelope(fields) : undefined
  if (envelope === undefined) return undefined
  const raw = plainRaw(workshop, fields)
  const headers = raw && headersOf(raw)
  if (headers === undefined || !MESSAGE_ID.test(headers) || !DATE.test(headers)) return undefined
  return described(raw as Buffer, headers, checkEnvelope(envelope), fields, limits)
}

/** Content of a mail, by field; each may be text, bytes, a stream, or an object that says where to read it. */
const CONTENT = [
  'text',
  'html',
  'raw',
  'amp',
  'watchHtml',
  'icalEvent',
  'attachments',
  'alternatives',
] as const

/** Whether all the content of a mail is in memory: no stream, file or URL to read. */
export function isAtHand(mail: unknown): boolean {
  return !isRecord(mail) || !CONTENT.some((field) => isElsewhere(mail[field]))
}

/** @param depth a list, its parts, what is in one; deeper there is nothing that nodemailer would read */
function isElsewhere(content: unknown, depth = 2): boolean {
  if (typeof content !== 'object' || content === null || ArrayBuffer.isView(content)) return false
  if (depth < 0) return false
  if (Array.isArray(content)) return content.some((one) => isElsewhere(one, depth - 1))
  const part: Mail = content as Mail
  if (typeof part.pipe === 'function') return true
  const source = part.path || part.href
  if (source) return typeof source !== 'string' || !/^data:/i.test(source)
  return isElsewhere(part.content, depth - 1) || isElsewhere(part.raw, depth - 1)
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
  const { from, to } = checkEnvelope(
    plain ?? readEnvelope((await compile(workshop.envelopes, fields)).message.getEnvelope()),
  )
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

// ---- raw mails --------------------------------------------------------------------------------------------

/** The bytes of a raw mail that nodemailer would pass on unchanged. */
function plainRaw(workshop: Workshop, mail: Mail): Buffer | undefined {
  const { raw } = mail
  if (!isBytes(raw)) return undefined
  if (raw.length === 0 || mail.dkim || mail.newline || mail.maxRecipients !== undefined) return undefined
  if (isRecord(mail.envelope) ? !workshop.keepsRaw() : !workshop.isPlain()) return undefined
  // a copy, because the caller's buffer may change while the message waits
  return typeof raw === 'string' ? Buffer.from(raw) : Buffer.from(raw)
}

function isBytes(raw: unknown): raw is string | Uint8Array {
  return typeof raw === 'string' || isUint8Array(raw)
}

/** Of whatever realm: Jest gives every test file globals of its own. */
const { isUint8Array } = types

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
  limits: FreezeLimits,
  workshop: Workshop,
): Promise<Frozen> {
  let bytes = body
  let headers = headersOf(bytes)
  if (!MESSAGE_ID.test(headers) || !DATE.test(headers)) {
    const added = await missingHeaders(headers, envelope, workshop)
    headers = `${added}${headers}`
    if (!SIGNATURE.test(headers)) bytes = Buffer.concat([Buffer.from(added), body])
  }
  return described(bytes, headers, envelope, mail, limits)
}

function described(
  bytes: Buffer,
  headers: string,
  envelope: Envelope,
  mail: Mail,
  { maxMessageBytes }: FreezeLimits,
): Frozen {
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

const NOTHING: WireOptions = Object.freeze({})

function wireOf(mail: Mail, { extras }: Envelope): WireOptions {
  if (!extras && !mail.dsn && !mail.requireTLSExtensionEnabled && !mail.ses) return NOTHING
  return {
    ...(isRecord(mail.dsn) && { dsn: { ...mail.dsn } }),
    ...(mail.requireTLSExtensionEnabled === true && { requireTLSExtensionEnabled: true }),
    ...(extras && { envelope: extras }),
    ...(isRecord(mail.ses) && { ses: { ...mail.ses } }),
  }
}

// What nodemailer answered, read into one Reply per recipient. Its error codes differ between majors and
// its top-level code may be any recipient's, so everything here comes from the replies themselves: those in
// rejectedErrors, and those nodemailer noted in the envelope object that was lent to it.
// Not here: the try itself (attempt.ts), or what a reply means (core/classify).

import { addressKey } from './address.ts'
import type { Phase, Reply } from './core/reply.ts'
import type { Target } from './transporter.ts'

/** What became of one recipient in one try. `uncertain`: the message may have been delivered all the same. */
export type RecipientOutcome =
  | { readonly accepted: true; readonly reply: Reply }
  | { readonly accepted: false; readonly reply: Reply; readonly uncertain: boolean }

/** How a transport written for steadymail answers, under `steadymail` of its info or error. */
export interface OwnAnswer {
  readonly recipients: readonly {
    readonly address: string
    readonly accepted: boolean
    readonly reply: Reply
    /** @default false */
    readonly uncertain?: boolean
  }[]
  readonly transcript?: readonly string[]
}

/** The envelope object lent to nodemailer's SMTPConnection, which keeps its progress in it. */
export interface EnvelopeInUse {
  readonly from: string
  readonly to: readonly string[]
  readonly accepted?: unknown
  readonly rejected?: unknown
  readonly rejectedErrors?: unknown
  readonly rcptQueue?: unknown
}

/** How far a try had come. */
export interface Progress {
  readonly kind: Target['kind']
  readonly host: string | undefined
  /** The last one lent; none while there was no usable connection. */
  readonly envelope: EnvelopeInUse | undefined
  /** Whether the connection had carried a message before. */
  readonly reused: boolean
  /** Whether the body was asked for. */
  readonly read: boolean
  /** Whether the body was handed over to its end. */
  readonly handedOver: boolean
}

/** The reply that stands for every recipient without one of its own. */
export interface Failure {
  readonly reply: Reply
  readonly uncertain: boolean
}

interface Given {
  readonly recipients: readonly string[]
  readonly info: unknown
  readonly error: unknown
  readonly failure: Failure | undefined
  readonly envelope: EnvelopeInUse | undefined
  readonly target: Target
  readonly handedOver: boolean
}

type Fields = Readonly<Record<string, unknown>>

export function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** One outcome per recipient, in their order. */
export function readAnswer(given: Given): {
  readonly outcomes: readonly RecipientOutcome[]
  readonly transcript?: readonly string[]
} {
  const own = ownAnswer(given.error) ?? ownAnswer(given.info)
  const outcomes = own ? fromOwn(own, given) : fromNodemailer(given)
  return { outcomes, ...(own?.transcript && { transcript: own.transcript }) }
}

function ownAnswer(value: unknown): OwnAnswer | undefined {
  const own = isRecord(value) ? value.steadymail : undefined
  return isRecord(own) && Array.isArray(own.recipients) ? (own as unknown as OwnAnswer) : undefined
}

function fromOwn(own: OwnAnswer, given: Given): readonly RecipientOutcome[] {
  const byAddress = new Map(own.recipients.map((one) => [addressKey(one.address), one]))
  return given.recipients.map((address) => {
    const said = byAddress.get(addressKey(address))
    if (!said) return elsewise(given)
    const { accepted, reply, uncertain = false } = said
    return accepted ? { accepted, reply } : { accepted, reply, uncertain }
  })
}

/** For a recipient that the answer does not name. */
function elsewise({ failure, info, target }: Given): RecipientOutcome {
  return failure ? { accepted: false, ...failure } : { accepted: true, reply: acceptedReply(info, target) }
}

function fromNodemailer(given: Given): readonly RecipientOutcome[] {
  const { recipients, info, error, envelope, target } = given
  const refusals = listOf(error, 'rejectedErrors') ?? listOf(info, 'rejectedErrors')
  const errors = refusals ?? (given.failure ? listOf(envelope, 'rejectedErrors') : undefined) ?? []
  const rejected = given.failure ? [] : (listOf(info, 'rejected') ?? [])
  const common = elsewise(given)
  if (errors.length === 0 && rejected.length === 0) return recipients.map(() => common)
  const byAddress = new Map<string, RecipientOutcome>()
  for (const one of rejected) {
    const reply: Reply = { text: 'rejected, without a reply', phase: 'rcpt', ...hostOf(target) }
    byAddress.set(addressKey(addressIn(one)), { accepted: false, reply, uncertain: false })
  }
  for (const one of errors) {
    if (!isRecord(one) || typeof one.recipient !== 'string') continue
    const phase = one.code === 'EMESSAGE' ? 'dot' : 'rcpt' // LMTP answers the dot once per recipient
    const reply = { ...replyIn(one, phase), ...hostOf(target) }
    byAddress.set(addressKey(one.recipient), { accepted: false, reply, uncertain: false })
  }
  return recipients.map((address) => byAddress.get(addressKey(address)) ?? common)
}

function acceptedReply(info: unknown, target: Target): Reply {
  const text = isRecord(info) && typeof info.response === 'string' ? info.response : ''
  return { ...parse(text), phase: 'dot', ...hostOf(target) }
}

function hostOf({ host }: { readonly host: string | undefined }): Pick<Reply, 'host'> {
  return host === undefined ? {} : { host }
}

// ---- one failure ------------------------------------------------------------------------------------------

/** The failure of a whole try as a reply, with the phase it came in. */
export function failureOf(error: unknown, progress: Progress): Failure {
  const fields: Fields = isRecord(error) ? error : { message: String(error) }
  const spoken = replyIn(fields, phaseOf(fields, progress))
  const reply = spoken.code === undefined ? (lastWord(progress) ?? spoken) : spoken
  return {
    reply: { ...reply, ...hostOf(progress) },
    uncertain: reply.code === undefined && progress.handedOver && !isCertain(fields, progress),
  }
}

/**
 * nodemailer 7 to 9 go on after a 421 to one recipient, and then report only that the connection was lost.
 */
function lastWord({ envelope, handedOver }: Progress): Reply | undefined {
  if (handedOver) return undefined
  const last = listOf(envelope, 'rejectedErrors')?.findLast(
    (one) => isRecord(one) && one.responseCode === 421,
  )
  return isRecord(last) ? replyIn(last, 'rcpt') : undefined
}

function replyIn(error: Fields, phase: Phase): Reply {
  const response = typeof error.response === 'string' ? error.response : ''
  const parsed = parse(response)
  if (parsed.code !== undefined && parsed.code >= 400) return { ...parsed, phase }
  const text = typeof error.message === 'string' ? error.message : response
  const code = error.responseCode
  if (typeof code === 'number' && code >= 400 && code < 600) return { ...parse(text), text, phase, code }
  return { text, phase, errno: errnoOf(error, text) }
}

/** Where in the session it failed: by what nodemailer says, else by how far it had come. */
function phaseOf({ command, code, response }: Fields, progress: Progress): Phase {
  const said = typeof command === 'string' ? command : ''
  if (code === 'EAUTH' || code === 'ENOAUTH' || code === 'NoAuth' || code === 'EOAUTH2') return 'auth'
  if (/^(EHLO|HELO|LHLO|STARTTLS)/.test(said)) return 'ehlo'
  if (said.startsWith('AUTH')) return 'auth'
  if (said === 'MAIL FROM') return 'mail'
  if (said === 'RCPT TO') return 'rcpt'
  if (said === 'DATA') return code === 'EMESSAGE' ? 'dot' : 'data'
  if (progress.kind === 'sendmail-only') return 'unknown'
  return phaseReached(progress, typeof response === 'string' && response !== '')
}

function phaseReached({ envelope, reused, read, handedOver, kind }: Progress, spoken: boolean): Phase {
  if (handedOver) return 'dot'
  if (read) return 'data'
  if (!envelope) return kind === 'plugin' ? 'unknown' : 'greeting'
  const answered = (listOf(envelope, 'accepted')?.length ?? 0) + (listOf(envelope, 'rejected')?.length ?? 0)
  if (answered === envelope.to.length) return 'data'
  if (answered > 0) return 'rcpt'
  // nothing heard since MAIL: a connection that had been waiting was most likely gone before
  if (reused && !spoken) return 'idle'
  // nodemailer 10 pipelines, and reports a 421 to the first RCPT as one of the connection
  return spoken && Array.isArray(envelope.rejected) ? 'rcpt' : 'mail'
}

/** Whole-message transports say by their error's kind whether they had taken the message. */
function isCertain({ code, name, $metadata, message }: Fields, { kind }: Progress): boolean {
  if (kind !== 'sendmail-only') return false
  if (isRecord($metadata) && $metadata.httpStatusCode !== undefined) return true
  const text = `${String(code ?? '')} ${String(name ?? '')}`
  const lost = /ETIMEDOUT|ECONNRESET|ECONNECTION|ESOCKET|EPIPE|EABORT|AbortError|TimeoutError|NetworkingError/
  return !lost.test(text) || /ECONNREFUSED|ENOTFOUND|EAI_AGAIN/.test(`${text} ${String(message)}`)
}

/** sysexits.h, as sendmail ends with them. */
const EXITS: Readonly<Record<string, string>> = {
  64: 'EX_USAGE',
  65: 'EX_DATAERR',
  66: 'EX_NOINPUT',
  67: 'EX_NOUSER',
  68: 'EX_NOHOST',
  69: 'EX_UNAVAILABLE',
  70: 'EX_SOFTWARE',
  71: 'EX_OSERR',
  72: 'EX_OSFILE',
  73: 'EX_CANTCREAT',
  74: 'EX_IOERR',
  75: 'EX_TEMPFAIL',
  76: 'EX_PROTOCOL',
  77: 'EX_NOPERM',
  78: 'EX_CONFIG',
}

const SYSTEM_CODE = /\b(?:E(?:CONN[A-Z]+|HOSTUNREACH|NETUNREACH|HOSTDOWN|PIPE|ADDR[A-Z]+|ACCES|PERM|MFILE))\b/
const TLS_TROUBLE = /certificate|\bTLS\b|\bSSL\b|CERT_|wrong version number/i

/** The most telling code: nodemailer's own words for DNS, TLS and login, Node's for sockets, the SDK's for SES. */
function errnoOf({ code, originalCode, name }: Fields, text: string): string {
  const said = typeof code === 'string' ? code : ''
  const original = typeof originalCode === 'string' ? originalCode : ''
  const exit = EXITS[/exited with code (\d+)/.exec(text)?.[1] ?? '']
  if (exit) return exit
  if (
    said === 'ESES' ||
    (said === '' && typeof name === 'string' && /^[A-Z]\w+(Exception|Error)$/.test(name))
  ) {
    return typeof name === 'string' && name !== 'Error' ? name : said || 'EUNKNOWN'
  }
  if (said === 'EDNS') return 'EDNS'
  if (said === 'ESOCKET' && TLS_TROUBLE.test(`${original} ${text}`)) return 'ETLS'
  if (said === 'ESOCKET' || said === 'ECONNECTION') {
    const found = SYSTEM_CODE.exec(original)?.[0] ?? SYSTEM_CODE.exec(text)?.[0]
    return found && found !== 'ECONNECTION' ? found : said
  }
  return said || 'ECONNECTION'
}

const CODE = /^([2-5]\d\d)(?=[ -]|$)/
const ENHANCED = /^[2-5]\d\d[ -]([245]\.\d{1,3}\.\d{1,3})(?=[ \r\n]|$)/m

function parse(text: string): Pick<Reply, 'code' | 'enhanced' | 'text'> {
  const code = CODE.exec(text)?.[1]
  const enhanced = ENHANCED.exec(text)?.[1]
  return { ...(code && { code: Number(code) }), ...(enhanced && { enhanced }), text }
}

function addressIn(value: unknown): string {
  return isRecord(value) ? String(value.address) : String(value)
}

function listOf(value: unknown, field: string): readonly unknown[] | undefined {
  const list = isRecord(value) ? value[field] : undefined
  return Array.isArray(list) ? list : undefined
}
